/** A closed minute as records of metrics.minutes: metrics, quality, cost, in this order, each only with rows. */
import { type CostRow, encodeCostRows, encodeMetricRows, encodeQualityRows, type MetricRow, type MinuteKind, type QualityRow } from "#shared/events/minutes.ts"; // prettier-ignore
import {
  bucketStartMs,
  COUNTER,
  FIRST_BUCKET,
  LATENCY_BUCKETS,
  MINUTE_MS,
  rejectedIn,
  VALUE_MAX,
  VALUE_MIN,
} from "#shared/events/partials.ts";
import { type Destination, DESTINATIONS, PRICES } from "#shared/events/prices.ts";
import type { ClosedMinute, MergedCell } from "./minute-merge.ts";

const GIB = 2 ** 30;

export interface MinuteRecord {
  readonly kind: MinuteKind;
  readonly rows: number;
  readonly value: Uint8Array;
}

export function minuteRecords(minute: ClosedMinute): MinuteRecord[] {
  const metrics = metricRows(minute);
  const quality = qualityRows(minute);
  const cost = costRows(minute);
  const records: MinuteRecord[] = [
    { kind: "metrics", rows: metrics.length, value: encodeMetricRows(metrics) },
    { kind: "quality", rows: quality.length, value: encodeQualityRows(quality) },
    { kind: "cost", rows: cost.length, value: encodeCostRows(cost) },
  ];
  return records.filter(({ rows }) => rows > 0);
}

/** `count` is how many events the value is made of. Counts by outcome are there only where there are such events. */
export function metricRows({ minuteMs, cells }: ClosedMinute): MetricRow[] {
  return cells.flatMap(({ source, type, numbers }) => {
    const of = (name: keyof typeof COUNTER): number => numbers[COUNTER[name]]!;
    const rows: MetricRow[] = [];
    const add = (metric: string, value: number, count: number): void => {
      if (count > 0) rows.push({ minuteMs, metric, source, eventType: type, value, count });
    };
    const total = of("total");
    const rejected = rejectedIn(numbers);
    add("events", total, total);
    add("rate_per_s", total / (MINUTE_MS / 1_000), total);
    add("error_ratio", rejected / total, total);
    for (const name of ["clean", "duplicate", "late"] as const) add(name, of(name), of(name));
    add("rejected", rejected, rejected);
    const values = of("value_count");
    add("value_sum", of("value_sum"), values);
    add("value_mean", of("value_sum") / values, values);
    add("value_min", numbers[VALUE_MIN]!, values);
    add("value_max", numbers[VALUE_MAX]!, values);
    const timed = of("clean") + of("late");
    add("latency_mean_ms", of("latency_sum_ms") / timed, timed);
    add("latency_p50_ms", latencyQuantile(numbers, timed, 0.5), timed);
    add("latency_p99_ms", latencyQuantile(numbers, timed, 0.99), timed);
    return rows;
  });
}

/** The bucket's upper bound: the quantile is not above it, and seldom more than half below. */
export function latencyQuantile(numbers: Float64Array, timed: number, share: number): number {
  const rank = Math.ceil(timed * share);
  let seen = 0;
  for (let bucket = 0; bucket < LATENCY_BUCKETS - 1; bucket++) {
    seen += numbers[FIRST_BUCKET + bucket]!;
    if (seen >= rank) return Math.max(0, bucketStartMs(bucket + 1) - 1);
  }
  return bucketStartMs(LATENCY_BUCKETS - 1);
}

export function qualityRows({ minuteMs, cells }: ClosedMinute): QualityRow[] {
  return cells.map(({ source, type, numbers }) => {
    const total = numbers[COUNTER.total]!;
    const without = (name: "incomplete" | "inconsistent" | "untimely" | "duplicate" | "inaccurate"): number =>
      total - numbers[COUNTER[name]]!;
    return {
      minuteMs,
      source,
      eventType: type,
      total,
      complete: without("incomplete"),
      consistent: without("inconsistent"),
      timely: without("untimely"),
      unique: without("duplicate"),
      accurate: without("inaccurate"),
    };
  });
}

/** Cells are in the order of source. */
export function costRows({ minuteMs, cells }: ClosedMinute): CostRow[] {
  const bySource = new Map<string, MergedCell[]>();
  for (const cell of cells) bySource.set(cell.source, [...(bySource.get(cell.source) ?? []), cell]);
  return [...bySource].flatMap(([source, own]) =>
    DESTINATIONS.flatMap((destination) => {
      const [events, bytes] = sentTo(destination, own);
      const { usdPerGib, usdPerMillionEvents } = PRICES[destination];
      const usd = (bytes / GIB) * usdPerGib + (events / 1e6) * usdPerMillionEvents;
      return events === 0 ? [] : [{ minuteMs, source, destination, events, bytes, usd }];
    }),
  );
}

function sentTo(destination: Destination, cells: readonly MergedCell[]): [events: number, bytes: number] {
  const sum = (name: keyof typeof COUNTER): number => cells.reduce((all, { numbers }) => all + numbers[COUNTER[name]]!, 0);
  if (destination === "late") return [sum("late"), sum("late_bytes")];
  if (destination !== "dlq") return [sum("clean"), sum("clean_bytes")];
  return [cells.reduce((all, { numbers }) => all + rejectedIn(numbers), 0), sum("dead_letter_bytes")];
}
