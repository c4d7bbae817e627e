import { describe, expect, test } from "vitest";
import type { FoldOptions } from "#processor/model/ports.ts";
import { SCORE_DEFAULTS, SCORE_LIMIT, score } from "#processor/state/score.ts";
import { Tile } from "#processor/state/tile.ts";
import { UserTable } from "#processor/state/user-table.ts";
import { hashUser } from "#processor/state/key-hash.ts";
import { CapacityError } from "#shared/kernel/errors.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

const T0 = 1_700_002_800_000;
const HOUR_MS = 3_600_000;

/** Scores of values one after the other. */
function scores(values: readonly number[], options = SCORE_DEFAULTS): { scores: number[]; mean: number; variance: number; values: number } {
  const words = new Int32Array(1);
  const doubles = new Float64Array(2);
  const events = { value: Float64Array.from(values), score: new Float64Array(values.length) };
  for (let i = 0; i < values.length; i++) score(options, events, i, words, 0, doubles, 0);
  return { scores: [...events.score], mean: doubles[0]!, variance: doubles[1]!, values: words[0]! };
}

function valued(values: readonly (number | null)[], more: (n: number) => Partial<EventRow> = () => ({})): LogEntry {
  const rows = values.map((value, n): EventRow => ({ sourceOffset: n, eventId: n + 1, eventTimeMs: T0 + n, userId: 7, value, ...more(n) }));
  return { kind: "block", logTimeMs: T0, rows };
}

describe("a score", () => {
  test("is the distance from the plain mean in plain standard deviations while all values count alike", () => {
    const few = scores([2, 4, 4, 4, 5, 5, 7, 9, 11], { ...SCORE_DEFAULTS, warmUp: 8 });
    expect(few.scores.slice(0, 8).every(Number.isNaN)).toBe(true);
    // Mean 5, standard deviation 2: the textbook's eight numbers.
    expect(few.scores[8]).toBeCloseTo(3, 12);
  });

  test("forgets with the weight alpha once that exceeds 1/n", () => {
    const { mean, variance } = scores([0, 0, 8], { ...SCORE_DEFAULTS, alpha: 0.5, warmUp: 100 });
    expect([mean, variance]).toEqual([4, 16]);
  });

  test("of one outlier does not hide the next one, and a lasting shift becomes the usual", () => {
    const usual = Array.from({ length: 200 }, (_, i) => 100 + (i % 7));
    const twice = scores([...usual, 10_000, 10_000]).scores.slice(-2);
    expect(twice[0]).toBeGreaterThan(1_000);
    expect(twice[1]).toBeGreaterThan(1_000);
    const shifted = scores([...usual, ...Array.from({ length: 400 }, (_, i) => 160 + (i % 7))]).scores;
    expect(shifted[200]).toBeGreaterThan(20);
    expect(Math.abs(shifted.at(-1)!)).toBeLessThan(2);
  });

  test("is finite behind values that never varied, zeros included, and none is NaN after the warm-up", () => {
    const constant = scores([...Array.from({ length: 30 }, () => 50), 50, 51, 60]).scores;
    expect(constant[30]).toBe(0);
    expect(constant[31]).toBeCloseTo(2, 9);
    expect(constant[32]).toBeGreaterThan(15);
    expect(scores([...Array.from({ length: 30 }, () => 0), 0, 3, -3]).scores.slice(30, 32)).toEqual([0, SCORE_LIMIT]);
  });

  test("begins again where a double can no longer hold the variance", () => {
    const { values, mean, variance, scores: found } = scores([1e200, -1e200, 5, 1e308, -1e308, 7]);
    expect([values, Number.isFinite(mean), Number.isFinite(variance)]).toEqual([expect.any(Number), true, true]);
    expect(found.every((one) => Number.isNaN(one) || Math.abs(one) <= SCORE_LIMIT)).toBe(true);
  });
});

describe("clean rows", () => {
  const options: FoldOptions = { ...FOLD_OPTIONS, score: { ...SCORE_DEFAULTS, warmUp: 4, threshold: 3 } };

  test("carry the score, and beyond the threshold the reason anomaly.score, on either side", () => {
    const { output } = runFold([valued([10, 12, 10, 12, 12, 14, null, 0])], options);
    expect(output.clean.map((row) => [row.score, row.reason])).toEqual([
      ...Array.from({ length: 4 }, () => [null, null]),
      [expect.closeTo(1, 9), null],
      [expect.closeTo(2.8 / Math.sqrt(0.96), 9), null],
      [null, null],
      [expect.any(Number), "anomaly.score"],
    ]);
    expect(output.clean[7]!.score).toBeLessThan(-3);
    expect(output.counts).toMatchObject({ raw: 8, clean: 8 });
  });

  test("keep the validator's reason when both have something to say", () => {
    const { output } = runFold(
      [valued([10, 12, 10, 12, 900], (n) => (n === 4 ? { verdict: "warning", reason: "rule.flag" } : {}))],
      options,
    );
    expect(output.clean[4]).toMatchObject({ reason: "rule.flag", score: expect.closeTo(889, 6) as number });
  });

  test("of another user, duplicates and late events leave a user's score alone", () => {
    const rows: LogEntry = {
      kind: "block",
      logTimeMs: T0,
      rows: [
        ...[10, 12, 10, 12].map((value, n): EventRow => ({ sourceOffset: n, eventId: n, eventTimeMs: T0 + 400_000, userId: 7, value })),
        { sourceOffset: 4, eventId: 3, eventTimeMs: T0 + 400_000, userId: 7, value: 12 },
        { sourceOffset: 5, eventId: 50, eventTimeMs: T0, userId: 7, value: 900 },
        { sourceOffset: 6, eventId: 51, eventTimeMs: T0 + 400_000, userId: 8, value: 900 },
        { sourceOffset: 7, eventId: 52, eventTimeMs: T0 + 400_000, userId: 7, value: 14 },
      ],
    };
    const { output } = runFold([rows], options);
    expect(output.counts).toMatchObject({ clean: 6, duplicate: 1, late: 1 });
    expect(output.late[0]!.score).toBeNull();
    expect(output.clean.at(-1)!.score).toBeCloseTo(3, 9);
  });
});

test("a user whose score is forgotten is still found in the windows and the session that are open", () => {
  const at = (sourceOffset: number, userId: number, logHours: number, value: number): LogEntry => ({
    kind: "block",
    logTimeMs: T0 + logHours * HOUR_MS,
    rows: [{ sourceOffset, eventId: sourceOffset, eventTimeMs: T0 + sourceOffset, userId, value }],
  });
  const log = [at(0, 7, 0, 1), at(1, 7, 0, 2), at(2, 8, 30, 1), at(3, 9, 60, 1), at(4, 7, 90, 3)];
  const options = { ...FOLD_OPTIONS, historical: true, score: { ...SCORE_DEFAULTS, warmUp: 1 } };
  for (const restores of [() => false, () => true]) {
    const { output } = runFold([...log, { kind: "drain", logTimeMs: T0 + 90 * HOUR_MS }], options, { restores });
    expect(output.clean.map((row) => [row.windowEvents, row.sessionEvents, row.score === null])).toEqual([
      [1, 1, true],
      [2, 2, false],
      [1, 1, true],
      [1, 1, true],
      [3, 3, true],
    ]);
    expect(output.windows.filter(({ userId }) => userId === 7n).map(({ kind, events }) => [kind, events])).toEqual([
      ["session_30s", 3],
      ["tumbling_5m", 3],
      ["tumbling_1h", 3],
    ]);
  }
});

describe("the table of users", () => {
  const add = (table: UserTable, user: number, value = 1): number => {
    const tile = new Tile();
    tile.userRow[0] = table.meet(user, 0, hashUser(user, 0));
    tile.value[0] = value;
    table.score(tile, 0);
    return tile.score[0]!;
  };
  const options = { ...SCORE_DEFAULTS, warmUp: 1, forgetMs: 24 * HOUR_MS };

  test("forgets a user by age alone: a day of log time at least, an hour more at most, however little was looked at", () => {
    for (const budget of [0, 1_000]) {
      const table = new UserTable(options, 100);
      table.advance(50 * HOUR_MS + HOUR_MS - 1, budget);
      add(table, 1, 5);
      table.advance(75 * HOUR_MS - 1, budget);
      expect(add(table, 1, 5)).toBe(0);
      table.advance(74 * HOUR_MS + 25 * HOUR_MS - 1, budget);
      expect(add(table, 1, 5)).toBe(0);
      table.advance(98 * HOUR_MS + 25 * HOUR_MS, budget);
      expect(add(table, 1, 5)).toBeNaN();
    }
  });

  test("takes the rows of forgotten users again, so that it never exceeds the users of a day", () => {
    const table = new UserTable(options, 10_000);
    for (let hour = 0; hour < 200; hour++) {
      table.advance(hour * HOUR_MS, 10_000);
      for (let user = 0; user < 100; user++) add(table, hour * 100 + user);
    }
    expect(table.live).toBe(2_500);
    expect(table.rows).toBe(2_500);
  });

  test("frees what is forgotten before it says that it is full, naming the setting", () => {
    const table = new UserTable(options, 10);
    table.advance(0, 0);
    for (let user = 0; user < 10; user++) add(table, user);
    table.advance(25 * HOUR_MS, 0);
    for (let user = 10; user < 20; user++) add(table, user);
    expect(() => add(table, 20)).toThrow(CapacityError);
    expect(() => add(table, 20)).toThrow("state table users is full: 10 rows");
  });

  test("copies to and from bytes in the middle of a pass, free rows included", () => {
    const table = new UserTable(options, 100_000);
    for (let user = 0; user < 40_000; user++) {
      if (user % 10_000 === 0) table.advance(user * 3 * HOUR_MS, 1_000);
      add(table, user, user % 13);
    }
    const bytes = new Uint8Array(table.rows * 32);
    table.copyTo(bytes);
    const copy = new UserTable(options, 100_000);
    copy.copyFrom(bytes, { freeHead: table.freeHead, sweptTo: table.sweptTo, logTimeMs: 30_000 * 3 * HOUR_MS });
    expect(copy.live).toBe(table.live);
    for (const one of [table, copy]) one.advance(30_001 * 3 * HOUR_MS, 100_000);
    for (let user = 39_000; user < 41_000; user++) expect(add(copy, user, 20)).toEqual(add(table, user, 20));
    const [a, b] = [new Uint8Array(table.rows * 32), new Uint8Array(copy.rows * 32)];
    table.copyTo(a);
    copy.copyTo(b);
    expect(Buffer.compare(a, b)).toBe(0);
  });
});
