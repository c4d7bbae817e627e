import { expect, test } from "vitest";
import { MinuteMerge } from "#processor/minutes/minute-merge.ts";
import { MINUTE_MS } from "#shared/events/partials.ts";
import { partialCells } from "#test/support/partials-log.ts";

const cells = (minute: number) => partialCells(minute * MINUTE_MS, [{ source: "web", type: "click", events: 1, value: 1 }]);
const minutes = (closed: ReturnType<MinuteMerge["close"]>): number[] => closed.map(({ minuteMs }) => minuteMs / MINUTE_MS);
const NONE = { markMs: -Infinity, offset: 0 };
const nobody: ReadonlySet<number> = new Set();

test("a successor knows no more of a partition than it has read again", () => {
  const first = new MinuteMerge({ closedMs: -Infinity, partitions: [NONE, NONE] });
  first.add(0, { offset: 0, markMs: 101 * MINUTE_MS, cells: cells(100) });
  first.add(0, { offset: 1, markMs: 105 * MINUTE_MS, cells: cells(101) });
  first.add(1, { offset: 0, markMs: 101 * MINUTE_MS, cells: cells(100) });
  expect(minutes(first.close(first.dueMs(nobody)))).toEqual([100]);
  const successor = new MinuteMerge({ closedMs: first.closedMs, partitions: first.marks() });
  // The other partition is far ahead before minute 101 has been read again.
  successor.add(1, { offset: 1, markMs: 105 * MINUTE_MS, cells: cells(104) });
  expect(minutes(successor.close(successor.dueMs(nobody)))).toEqual([]);
  successor.add(0, { offset: 1, markMs: 105 * MINUTE_MS, cells: cells(101) });
  expect(minutes(successor.close(successor.dueMs(nobody)))).toEqual([101, 104]);
});

test("a partition without a mark holds every minute back, unless it never had an event", () => {
  const merge = new MinuteMerge({ closedMs: -Infinity, partitions: [NONE, NONE] });
  merge.add(0, { offset: 0, markMs: 101 * MINUTE_MS, cells: cells(100) });
  expect(merge.silent()).toEqual([1]);
  expect(minutes(merge.close(merge.dueMs(nobody)))).toEqual([]);
  expect(minutes(merge.close(merge.dueMs(new Set([1]))))).toEqual([100]);
});

test("rows of a minute that is closed are counted in the first open one, not lost", () => {
  const merge = new MinuteMerge({ closedMs: -Infinity, partitions: [NONE, NONE] });
  merge.add(0, { offset: 0, markMs: 101 * MINUTE_MS, cells: cells(100) });
  merge.close(merge.dueMs(new Set([1])));
  merge.add(1, { offset: 0, markMs: 102 * MINUTE_MS, cells: cells(99) });
  merge.add(0, { offset: 1, markMs: 102 * MINUTE_MS, cells: cells(101) });
  const [closed, ...more] = merge.close(merge.dueMs(nobody));
  expect(more).toEqual([]);
  expect(closed).toMatchObject({ minuteMs: 101 * MINUTE_MS, cells: [{ source: "web", type: "click" }] });
  expect(closed!.cells[0]!.numbers[0]).toBe(2);
});
