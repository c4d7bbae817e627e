import { describe, expect, test } from "vitest";
import type { EventRow, WindowRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

const T0 = 1_700_002_800_000;
const GAP_MS = 30_000;

/** Sessions of user 7 after events at these times, all of them within the bound, and a drain. */
function sessionsOf(offsetsMs: readonly number[], outOfOrdernessMs = 200_000): [startMs: number, endMs: number, events: number][] {
  const rows = offsetsMs.map((offsetMs, i): EventRow => ({
    sourceOffset: i,
    eventId: i + 1,
    eventTimeMs: T0 + offsetMs,
    userId: 7,
    value: offsetMs,
  }));
  const log: LogEntry[] = [{ kind: "block", logTimeMs: T0, rows }, { kind: "drain", logTimeMs: T0 }]; // prettier-ignore
  return runFold(log, { ...FOLD_OPTIONS, outOfOrdernessMs })
    .output.windows.filter((row) => row.kind === "session_30s")
    .map(span);
}

function span(row: WindowRow): [number, number, number] {
  return [row.windowStartMs - T0, row.windowEndMs - T0, row.events];
}

describe("a session", () => {
  test("takes an event one millisecond short of the gap, and not one at exactly the gap, on either side", () => {
    expect(sessionsOf([0, GAP_MS - 1])).toEqual([[0, 2 * GAP_MS - 1, 2]]);
    expect(sessionsOf([0, GAP_MS])).toEqual([[0, GAP_MS, 1], [GAP_MS, 2 * GAP_MS, 1]]); // prettier-ignore
    expect(sessionsOf([GAP_MS - 1, 0])).toEqual([[0, 2 * GAP_MS - 1, 2]]);
    expect(sessionsOf([GAP_MS, 0])).toEqual([[0, GAP_MS, 1], [GAP_MS, 2 * GAP_MS, 1]]); // prettier-ignore
  });

  test("merges with its neighbour when an event bridges them: three become one, and it emits once", () => {
    expect(sessionsOf([0, 40_000, 20_000])).toEqual([[0, 70_000, 3]]);
    expect(sessionsOf([40_000, 0, 20_000])).toEqual([[0, 70_000, 3]]);
  });

  test("stays apart when a bridge misses one side by the gap", () => {
    expect(sessionsOf([0, 50_000, 20_000])).toEqual([[0, 50_000, 2], [50_000, 80_000, 1]]); // prettier-ignore
  });

  test("keeps several open at once and merges the right two", () => {
    expect(sessionsOf([0, 100_000, 60_000, 150_000, 80_000])).toEqual([
      [0, 30_000, 1],
      [60_000, 130_000, 3],
      [150_000, 180_000, 1],
    ]);
  });

  test("covers an event that lies inside it", () => {
    expect(sessionsOf([0, 25_000, 50_000, 10_000])).toEqual([[0, 80_000, 4]]);
  });

  test("of 1,000 merges in the worst order is one session", () => {
    const apart = Array.from({ length: 1_001 }, (_, i) => i * 40_000);
    const bridges = Array.from({ length: 1_000 }, (_, i) => i * 40_000 + 20_000);
    const shuffled = bridges.toSorted((a, b) => ((a * 7919) % 104_729) - ((b * 7919) % 104_729));
    expect(sessionsOf([...apart, ...shuffled], 50_000_000)).toEqual([[0, 40_030_000, 2_001]]);
  });

  test.each([
    [
      "of the same block",
      [
        [0, 0],
        [1, 55_000],
        [2, 29_000],
      ],
      [],
    ],
    [
      "of the next block",
      [
        [0, 0],
        [1, 55_000],
      ],
      [[2, 29_000]],
    ],
    [
      "behind a block that was folded row by row",
      [
        [0, 70_000, 8],
        [1, 0],
        [2, 55_000],
      ],
      [[3, 29_000]],
    ],
  ])("is bridged by an event older than the newest %s, restored in between or not", (_name, first, second) => {
    const rows = (from: number[][]): EventRow[] =>
      from.map(([sourceOffset, offsetMs, userId]) => ({
        sourceOffset: sourceOffset!,
        eventId: sourceOffset! + 1,
        eventTimeMs: T0 + offsetMs!,
        userId: userId ?? 7,
      }));
    const log: LogEntry[] = [{ kind: "block", logTimeMs: T0, rows: rows(first) }, { kind: "block", logTimeMs: T0, rows: rows(second) }, { kind: "drain", logTimeMs: T0 }]; // prettier-ignore
    for (const restores of [() => false, () => true]) {
      const { output } = runFold(log, { ...FOLD_OPTIONS, outOfOrdernessMs: 60_000 }, { restores });
      const sessions = output.windows.filter((row) => row.kind === "session_30s" && row.userId === 7n);
      expect(sessions.map(({ events }) => events)).toEqual([3]);
    }
  });

  test("of a late bridge stays as it was emitted: the event is late", () => {
    const at = (sourceOffset: number, offsetMs: number, userId = 7): EventRow => ({
      sourceOffset,
      eventId: sourceOffset + 1,
      eventTimeMs: T0 + offsetMs,
      userId,
    });
    const rows = [at(0, 0), at(1, 40_000), at(2, 80_000, 8), at(3, 10_000)];
    const { output } = runFold([{ kind: "block", logTimeMs: T0, rows }]);
    expect(output.windows.map(span)).toEqual([[0, 30_000, 1], [40_000, 70_000, 1]]); // prettier-ignore
    expect(output.late.map((row) => row.sourceOffset)).toEqual([3]);
  });

  test("that grew while its timer ran closes at its new end, and its row serves others meanwhile", () => {
    const offsets = Array.from({ length: 400 }, (_, i) => i * 1_000);
    expect(sessionsOf(offsets, 5_000)).toEqual([[0, 429_000, 400]]);
  });

  test("is never empty, and no user has one without an event", () => {
    const late: EventRow[] = [
      { sourceOffset: 0, eventId: 1, eventTimeMs: T0 + 400_000, userId: 1 },
      { sourceOffset: 1, eventId: 2, eventTimeMs: T0, userId: 2 },
    ];
    const { output } = runFold([{ kind: "block", logTimeMs: T0, rows: late }, { kind: "drain", logTimeMs: T0 }]); // prettier-ignore
    expect(output.windows.every((row) => row.userId === 1n && row.events === 1)).toBe(true);
  });

  test("of many users ending in the same millisecond close by user id", () => {
    const rows = Array.from({ length: 300 }, (_, i): EventRow => ({
      sourceOffset: i,
      eventId: i + 1,
      eventTimeMs: T0 + (i % 3),
      userId: (i * 7_919) % 100_003,
    }));
    const { output } = runFold([{ kind: "block", logTimeMs: T0, rows }, { kind: "drain", logTimeMs: T0 }]); // prettier-ignore
    const sessions = output.windows.filter((row) => row.kind === "session_30s");
    const ordered = sessions.toSorted((a, b) => a.windowEndMs - b.windowEndMs || Number(a.userId - b.userId));
    expect(sessions).toHaveLength(300);
    expect(sessions).toEqual(ordered);
  });
});
