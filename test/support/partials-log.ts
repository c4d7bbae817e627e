/** Logs of metrics.partials as the folds write them: per partition records with rising minutes and marks. */
import fc from "fast-check";
import { CELL_WIDTH, COUNTER, FIRST_BUCKET, MINUTE_MS, type PartialCells, VALUE_MAX, VALUE_MIN } from "#shared/events/partials.ts";
import type { ClosedMinute } from "#processor/minutes/minute-merge.ts";

export interface PartialRecord {
  readonly offset: number;
  readonly markMs: number;
  readonly cells: PartialCells | null;
}

export interface CellFacts {
  readonly source: string;
  readonly type: string;
  readonly events: number;
  readonly value: number;
}

export function partialCells(minuteMs: number, facts: readonly CellFacts[]): PartialCells {
  const numbers = new Float64Array(facts.length * CELL_WIDTH);
  for (const [i, { events, value }] of facts.entries()) {
    const cell = numbers.subarray(i * CELL_WIDTH, (i + 1) * CELL_WIDTH);
    cell[COUNTER.total] = events;
    cell[COUNTER.clean] = events;
    cell[COUNTER.clean_bytes] = events * 100;
    cell[COUNTER.value_count] = Number.isNaN(value) ? 0 : 1;
    cell[COUNTER.value_sum] = Number.isNaN(value) ? 0 : value;
    cell[VALUE_MIN] = value;
    cell[VALUE_MAX] = value;
    cell[FIRST_BUCKET + 3] = events;
  }
  return { minuteMs, sources: facts.map(({ source }) => source), types: facts.map(({ type }) => type), numbers };
}

const cellsArbitrary: fc.Arbitrary<readonly CellFacts[]> = fc.uniqueArray(
  fc.record({
    source: fc.constantFrom("", "web", "api"),
    type: fc.constantFrom("", "click", "view"),
    events: fc.integer({ min: 1, max: 1_000 }),
    value: fc.oneof(fc.double({ min: -1e6, max: 1e6, noNaN: true }), fc.constant(Number.NaN)),
  }),
  { selector: ({ source, type }) => `${source}/${type}`, minLength: 1, maxLength: 4 },
);

/** Of one partition: each step goes on by some minutes; without rows it is a mark only. */
const partitionArbitrary: fc.Arbitrary<readonly PartialRecord[]> = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 4 }), fc.option(cellsArbitrary), fc.integer({ min: 0, max: 2 })), { maxLength: 8, size: "max" })
  .map((steps) => {
    let minute = 100;
    let offset = 0;
    return steps.map(([ahead, facts, hole]) => {
      const minuteMs = minute * MINUTE_MS;
      minute += ahead;
      offset += 1 + hole;
      return { offset, markMs: minute * MINUTE_MS, cells: facts === null ? null : partialCells(minuteMs, facts) };
    });
  });

export const partialsArbitrary: fc.Arbitrary<readonly (readonly PartialRecord[])[]> = fc.array(partitionArbitrary, {
  minLength: 1,
  maxLength: 4,
  size: "max",
});

/** Total and sum of values by minute, source and type, the slow way. Partitions without a record never had an event. */
export function naiveMinutes(log: readonly (readonly PartialRecord[])[]): Map<string, { events: number; valueSum: number }> {
  const untilMs = Math.min(...log.flatMap((records) => (records.length === 0 ? [] : [records.at(-1)!.markMs])));
  const sums = new Map<string, { events: number; valueSum: number }>();
  for (const { cells } of log.flat()) {
    if (cells === null || cells.minuteMs >= untilMs) continue;
    for (const [i, source] of cells.sources.entries()) {
      const key = JSON.stringify([cells.minuteMs, source, cells.types[i]]);
      const sum = sums.get(key) ?? { events: 0, valueSum: 0 };
      sum.events += cells.numbers[i * CELL_WIDTH + COUNTER.total]!;
      sum.valueSum += cells.numbers[i * CELL_WIDTH + COUNTER.value_sum]!;
      sums.set(key, sum);
    }
  }
  return sums;
}

export function closedSums(minutes: readonly ClosedMinute[]): Map<string, { events: number; valueSum: number }> {
  return new Map(
    minutes.flatMap(({ minuteMs, cells }) =>
      cells.map(({ source, type, numbers }) => [
        JSON.stringify([minuteMs, source, type]),
        { events: numbers[COUNTER.total]!, valueSum: numbers[COUNTER.value_sum]! },
      ]),
    ),
  );
}
