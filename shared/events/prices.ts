/**
 * What an event costs by where it goes: per GiB as it is counted in metrics.partials and per million events, US dollars. Change the date with the
 * numbers: what is closed stays as it was priced. These are the marginal prices of storage and transfer, not of the machines that stand there anyway.
 *
 * Of 2026-11-24, us-east-1, on demand. Storage of Kafka brokers 0.10 per GB and month and transfer between zones 0.02 per GB as in the public price
 * list of MSK; gp3 volumes 0.08 per GB and month is the list price as it is generally quoted, not checked against a bill. From these: a Kafka topic 3
 * copies x 7 days (dead letters 30) + 2 transfers, ClickHouse 2 copies x 90 days at a tenth of the size + 2 transfers, Redis 1 transfer.
 */
export const DESTINATIONS = ["clickhouse", "redis", "clean", "dlq", "late"] as const;
export type Destination = (typeof DESTINATIONS)[number];

export interface Price {
  readonly usdPerGib: number;
  readonly usdPerMillionEvents: number;
}

export const PRICES: Readonly<Record<Destination, Price>> = {
  clickhouse: { usdPerGib: 0.088, usdPerMillionEvents: 0 },
  redis: { usdPerGib: 0.02, usdPerMillionEvents: 0 },
  clean: { usdPerGib: 0.11, usdPerMillionEvents: 0 },
  dlq: { usdPerGib: 0.34, usdPerMillionEvents: 0 },
  late: { usdPerGib: 0.11, usdPerMillionEvents: 0 },
};
