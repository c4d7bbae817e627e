import fc from "fast-check";
import { expect, test } from "vitest";
import { type ClosedMinute, MinuteMerge } from "#processor/minutes/minute-merge.ts";
import { minuteRecords } from "#processor/minutes/minute-output.ts";
import { decodePartial, encodePartial } from "#shared/events/partials.ts";
import { closedSums, naiveMinutes, partialsArbitrary, type PartialRecord } from "#test/support/partials-log.ts";

type Log = readonly (readonly PartialRecord[])[];

const emptyOf = (log: Log): ReadonlySet<number> => new Set(log.flatMap((records, partition) => (records.length === 0 ? [partition] : [])));

const begin = (log: Log): MinuteMerge =>
  new MinuteMerge({ closedMs: -Infinity, partitions: log.map(() => ({ markMs: -Infinity, offset: 0 })) });

/** All of it, in one order, without a restart. */
function undisturbed(log: Log): ClosedMinute[] {
  const merge = begin(log);
  for (const [partition, records] of log.entries()) for (const record of records) merge.add(partition, record);
  return merge.close(merge.dueMs(emptyOf(log)));
}

/** The next record of a chosen partition each time; sometimes a close, after which a successor may begin at what was committed, or before. */
function disturbed(log: Log, choices: readonly number[]): ClosedMinute[] {
  const empty = emptyOf(log);
  const out: ClosedMinute[] = [];
  let merge = begin(log);
  let committed = { closedMs: -Infinity, partitions: merge.marks() };
  const close = (): void => {
    const dueMs = merge.dueMs(empty);
    if (dueMs <= merge.closedMs) return;
    out.push(...merge.close(dueMs));
    committed = { closedMs: merge.closedMs, partitions: merge.marks() };
  };
  const step = (partition: number): boolean => {
    const record = log[partition]!.find(({ offset }) => offset >= merge.offset(partition));
    if (record === undefined) return false;
    merge.add(partition, record);
    return true;
  };
  for (const choice of choices) {
    if (choice % 5 === 3) close();
    else if (choice % 5 === 4) merge = new MinuteMerge(committed);
    else step(choice % log.length);
  }
  for (let partition = 0; partition < log.length; partition++) while (step(partition)) if (partition % 2 === 1) close();
  close();
  return out;
}

test("any interleaving of the partitions and any restarts give the same minutes, byte for byte", () => {
  fc.assert(
    fc.property(partialsArbitrary, fc.array(fc.nat(59), { minLength: 20, maxLength: 60, size: "max" }), (log, choices) => {
      const bytesOf = (minutes: readonly ClosedMinute[]): unknown[] =>
        minutes.flatMap(minuteRecords).map(({ value }) => Buffer.from(value).toString("hex"));
      expect(bytesOf(disturbed(log, choices))).toEqual(bytesOf(undisturbed(log)));
    }),
    { numRuns: 300 },
  );
});

test("the minutes are the naive sums of the partials, up to where all partitions have come", () => {
  fc.assert(
    fc.property(partialsArbitrary, (log) => {
      const found = closedSums(undisturbed(log));
      const expected = naiveMinutes(log);
      expect([...found.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
      for (const [key, { events, valueSum }] of expected) {
        expect(found.get(key)!.events).toBe(events);
        expect(found.get(key)!.valueSum).toBeCloseTo(valueSum, 5);
      }
    }),
    { numRuns: 200 },
  );
});

test("partials come back from their bytes as they were", () => {
  fc.assert(
    fc.property(partialsArbitrary, (log) => {
      for (const { cells } of log.flat()) if (cells !== null) expect(decodePartial(encodePartial(cells))).toEqual(cells);
    }),
    { numRuns: 50 },
  );
});
