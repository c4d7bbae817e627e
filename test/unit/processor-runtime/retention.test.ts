import { expect, test } from "vitest";
import { expiredSnapshots } from "#processor/checkpoint/retention.ts";
import { snapshotAt } from "./start-facts.ts";

const DAY_MS = 86_400_000;
const at = (offset: number, createdAtMs: number) => ({ ...snapshotAt(offset), createdAtMs });
const offsets = (snapshots: readonly { readonly offset: number }[]): number[] =>
  snapshots.map(({ offset }) => offset).toSorted((a, b) => a - b);

test("the newest three stay", () => {
  const snapshots = [1, 2, 3, 4, 5].map((offset) => at(offset * 10, 1_000 + offset));
  expect(offsets(expiredSnapshots(snapshots, { committed: 50, nowMs: 2_000 }))).toEqual([10, 20]);
});

test("the newest of each day stays for as long as the log does", () => {
  const nowMs = 30 * DAY_MS;
  const snapshots = Array.from({ length: 60 }, (_, i) => at(i, nowMs - (60 - i) * (DAY_MS / 4)));
  const kept = snapshots.length - expiredSnapshots(snapshots, { committed: 60, nowMs }).length;
  // Seven days in eighths of a window: the current day's newest are among the three.
  expect(kept).toBeGreaterThanOrEqual(3 + 6);
  expect(kept).toBeLessThanOrEqual(3 + 7);
});

test("what is newer than the commit neither counts nor goes", () => {
  const snapshots = [10, 20, 30, 60, 70, 80, 90].map((offset) => at(offset, 1_000));
  expect(expiredSnapshots(snapshots, { committed: 50, nowMs: 2_000 })).toEqual([]);
});
