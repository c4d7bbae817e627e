/** Records of metrics.partials as objects. */
import { CELL_WIDTH, COUNTERS, decodePartial, FIRST_BUCKET, LATENCY_BUCKETS, VALUE_MAX, VALUE_MIN, type Counter } from "#shared/events/partials.ts"; // prettier-ignore
import type { NaivePartial } from "./naive-minutes.ts";

export function partialRows(value: Uint8Array): NaivePartial[] {
  const { minuteMs, sources, types, numbers } = decodePartial(value);
  return sources.map((source, i) => {
    const cell = numbers.subarray(i * CELL_WIDTH, (i + 1) * CELL_WIDTH);
    const counters = Object.fromEntries(COUNTERS.map((name, at) => [name, cell[at]!])) as Record<Counter, number>;
    const orNull = (number: number): number | null => (Number.isNaN(number) ? null : number);
    const buckets = Array.from({ length: LATENCY_BUCKETS }, (_, at): [number, number] => [at, cell[FIRST_BUCKET + at]!]);
    const latencies = Object.fromEntries(buckets.filter(([, events]) => events > 0));
    return Object.assign(counters, {
      minuteMs,
      source,
      type: types[i]!,
      valueMin: orNull(cell[VALUE_MIN]!),
      valueMax: orNull(cell[VALUE_MAX]!),
      latencies,
    });
  });
}
