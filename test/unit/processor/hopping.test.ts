import { describe, expect, test } from "vitest";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

const T0 = 1_700_002_800_000;
const MINUTE_MS = 60_000;
const OPTIONS = { ...FOLD_OPTIONS, hopping: "hopping_5m_1m" } as const;

function log(...events: readonly (readonly [atMs: number, value: number | null, userId?: number])[]): LogEntry[] {
  const rows = events.map(([atMs, value, userId = 7], n): EventRow => ({
    sourceOffset: n,
    eventId: n + 1,
    eventTimeMs: T0 + atMs,
    userId,
    value,
  }));
  return [{ kind: "block", logTimeMs: T0, rows }];
}

const DRAIN: LogEntry = { kind: "drain", logTimeMs: T0 };

function hopping(entries: LogEntry[]): { kind: string; minute: number; userId: number; events: number; sum: number }[] {
  return runFold(entries, OPTIONS)
    .output.windows.filter(({ kind }) => kind.startsWith("hopping"))
    .map((row) => ({
      kind: row.kind,
      minute: (row.windowStartMs - T0) / MINUTE_MS,
      userId: Number(row.userId),
      events: row.events,
      sum: row.valueSum,
    }));
}

describe("hopping windows", () => {
  test("count an event in size / hop windows, each emitted once, when the watermark reaches its end", () => {
    const entries = log([0, 1], [4 * MINUTE_MS, 2], [5 * MINUTE_MS + 4_999, null, 8]);
    // The watermark stands at 4:59.999: the windows that end at minutes 1 to 4 have closed.
    expect(hopping(entries).map(({ minute, events, sum }) => [minute, events, sum])).toEqual(
      [-4, -3, -2, -1].map((minute) => [minute, 1, 1]),
    );
    const all = hopping([...entries, DRAIN]).filter(({ userId }) => userId === 7);
    expect(all.map(({ minute, events, sum }) => [minute, events, sum])).toEqual([
      [-4, 1, 1],
      [-3, 1, 1],
      [-2, 1, 1],
      [-1, 1, 1],
      [0, 2, 3],
      [1, 1, 2],
      [2, 1, 2],
      [3, 1, 2],
      [4, 1, 2],
    ]);
  });

  test("tell first and last event and the extremes over all their panes", () => {
    const { output } = runFold([...log([10, 5], [2 * MINUTE_MS + 20, -1], [3 * MINUTE_MS + 30, null]), DRAIN], OPTIONS);
    expect(output.windows.find(({ kind, windowStartMs }) => kind === "hopping_5m_1m" && windowStartMs === T0)).toMatchObject({
      windowEndMs: T0 + 5 * MINUTE_MS,
      events: 3,
      valueCount: 2,
      valueMin: -1,
      valueMax: 5,
      firstEventMs: T0 + 10,
      lastEventMs: T0 + 3 * MINUTE_MS + 30,
    });
  });

  test("close behind five-minute windows and hours and before sessions of the same end, users in the order in which they came", () => {
    const at = 59 * MINUTE_MS + 30_000;
    const { output } = runFold([...log([at, 1, 9], [at, 1, 3]), DRAIN], OPTIONS);
    const last = output.windows.filter(({ windowEndMs }) => windowEndMs === T0 + 60 * MINUTE_MS);
    expect(last.map(({ kind, userId }) => [kind, Number(userId)])).toEqual([
      ...["tumbling_5m", "tumbling_1h", "hopping_5m_1m"].flatMap((kind) => [9, 3].map((user) => [kind, user])),
      ...[3, 9].map((user) => ["session_30s", user]),
    ]);
  });

  test("make an event late whose first window has closed, and name that window", () => {
    const entries = log([MINUTE_MS + 10_000, 1], [MINUTE_MS + 30_000, 1], [MINUTE_MS - 1, 1], [MINUTE_MS, 1]);
    const { output } = runFold(entries, OPTIONS);
    expect(output.late.map((row) => [row.sourceOffset, row.lateKind, (row.lateWindowStartMs - T0) / MINUTE_MS])).toEqual([
      [2, "hopping_5m_1m", -4],
    ]);
    expect(output.counts).toMatchObject({ clean: 3, late: 1 });
    expect(runFold(entries).output.late).toEqual([]);
  });

  test("of a silence longer than themselves are none", () => {
    const windows = hopping([...log([0, 1], [60 * MINUTE_MS, 1]), DRAIN]);
    expect(windows.map(({ minute }) => minute)).toEqual([-4, -3, -2, -1, 0, 56, 57, 58, 59, 60]);
  });
});
