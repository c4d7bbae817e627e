/** Where a recount begins: at the beginning of the log, or at a time, a while ago or an offset. */
import { offsetsAtTime } from "#shared/clients/kafka/settings.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { topicName, type TopicRole } from "#shared/events/names.ts";
import { durationOption, UsageError } from "./command.ts";

export type Since = { readonly timeMs: number } | { readonly offset: number };

/** Clocks of two brokers may differ by so much: outputs are read from a little earlier than their raw records. */
const SKEW_MS = 60_000;

/** `2026-11-24T10:00:00Z`, `30m`, `12345`. @throws UsageError */
export function sinceOption(text: string | undefined, nowMs: number): Since | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return { offset: Number(text) };
  if (/^\d+(?:\.\d+)?(ms|s|m|h)$/.test(text)) return { timeMs: nowMs - durationOption("since", text, 0) };
  const timeMs = Date.parse(text);
  if (/^\d{4}-\d\d-\d\d/.test(text) && Number.isFinite(timeMs)) return { timeMs };
  throw new UsageError(
    `--since: must be a time such as 2026-11-24T10:00:00Z, a duration such as 30m, or an offset, got ${JSON.stringify(text)}`,
  );
}

export interface Beginning {
  /** First offset of events.raw, by partition. */
  readonly raw: (partition: number) => number;
  /** Where the outputs of those offsets and of their originals begin at the latest, by role and partition. */
  readonly outputs: ReadonlyMap<TopicRole, (partition: number) => number>;
}

const OUTPUTS = ["clean", "late", "dlq", "windows"] as const;

/** @throws UsageError when the offset is not there. */
export async function beginningOf(
  since: Since,
  { kafka, config, partitions }: { readonly kafka: Kafka; readonly config: Config; readonly partitions: readonly number[] },
): Promise<Beginning> {
  const address = await kafkaOptions(config);
  const raw = topicName(config.lane, "raw");
  const timeMs = "timeMs" in since ? since.timeMs : await timeOf(kafka, raw, partitions, since.offset);
  const at = "timeMs" in since ? await offsetsAtTime(address, raw, timeMs) : null;
  const found = await Promise.all(
    OUTPUTS.map((role) => offsetsAtTime(address, topicName(config.lane, role), Math.max(0, timeMs - config.dedupHorizonMs - SKEW_MS))),
  );
  return {
    raw: (partition) => at?.[partition] ?? ("offset" in since ? since.offset : 0),
    outputs: new Map(OUTPUTS.map((role, i) => [role, (partition: number) => found[i]![partition] ?? 0])),
  };
}

async function timeOf(kafka: Kafka, topic: string, partitions: readonly number[], offset: number): Promise<number> {
  const [partition] = partitions;
  if (partition === undefined || partitions.length > 1) throw new UsageError("--since: an offset is of one partition: add --partition P");
  const end = await kafka.listOffset({ topic, partition }, "latest", "read_committed");
  if (offset >= end) throw new UsageError(`--since: partition ${partition} of ${topic} ends at ${end}, got ${offset}`);
  const start = await kafka.listOffset({ topic, partition }, "earliest", "read_committed");
  const [answer] = await kafka.fetch([{ topic, partition, offset: Math.max(start, offset) }], { isolation: "read_committed" });
  return answer?.records[0]?.timestampMs ?? 0;
}
