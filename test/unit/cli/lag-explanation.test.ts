import { expect, test } from "vitest";
import { explainLag, type LagFacts, seconds } from "../../../cli/lag-explanation.ts";

const NOW_MS = 1_800_000_000_000;
const RULES = { nowMs: NOW_MS, historical: false, outOfOrdernessMs: 5_000, idleMarginMs: 5_000 };

/** Everything folded, events until just now. */
const CALM: LagFacts = {
  partition: 0,
  rawEnd: 1_000,
  accounted: 1_000,
  validEnd: 10,
  committed: 10,
  hiddenRecords: 0,
  waitingSinceMs: null,
  unvalidatedSinceMs: null,
  watermarkMs: NOW_MS - 5_400,
  logTimeMs: NOW_MS - 400,
  later: { accounted: 1_000, committed: 10, afterMs: 1_000 },
};
const BEHIND: LagFacts = { ...CALM, accounted: 400, committed: 4, waitingSinceMs: NOW_MS - 42_000 };
const why = (facts: LagFacts, rules = RULES): string => explainLag(facts, rules).join("\n");

test("a partition at its end says so, and that its watermark is where it should be", () => {
  expect(why(CALM)).toMatch(/nothing waits[\s\S]*5\.4 s behind, as it should be: 5 s for events out of order/);
});

test("a processor that works is told from one that stands still", () => {
  expect(why({ ...BEHIND, later: { accounted: 700, committed: 7, afterMs: 1_000 } })).toMatch(
    /works through 6 blocks: 300 events\/s, 2 s to go/,
  );
  const still = why({ ...BEHIND, later: { accounted: 400, committed: 4, afterMs: 1_000 } });
  expect(still).toMatch(/stands still: 6 blocks wait, the first since 42 s/);
  expect(still).toContain("waits for what stands above");
});

test("a processor that never committed, and one looked at once, are not accused of more than that", () => {
  const never = { ...BEHIND, committed: -1, accounted: 0, watermarkMs: null };
  expect(why({ ...never, later: { accounted: 0, committed: -1, afterMs: 1_000 } })).toMatch(
    /never committed here: 10 blocks wait[\s\S]*no watermark/,
  );
  expect(why({ ...BEHIND, later: null })).toContain("6 blocks wait for the processor, the first since 42 s");
});

test("events that are in no block are the validator's", () => {
  expect(why({ ...CALM, accounted: 900, unvalidatedSinceMs: NOW_MS - 3_000 })).toMatch(
    /100 events are in no block yet, the first since 3 s: the validator/,
  );
});

test("an open transaction is named, since readers wait for it", () => {
  expect(why({ ...CALM, hiddenRecords: 3 })).toContain("3 records of events.clean are not visible");
});

test("an old watermark of a quiet partition and of a historical lane is explained as that", () => {
  const old = { ...CALM, watermarkMs: NOW_MS - 3 * 3_600_000, logTimeMs: NOW_MS - 3_600_000 };
  expect(why(old)).toMatch(/3 h behind: the partition is quiet since 60 min/);
  expect(why(old, { ...RULES, historical: true })).toContain("closes its last windows by a drain");
});

test("spans of time have the unit that a person would choose", () => {
  expect([0, 12, 3_400, 90_000, 300_000, 9_000_000, 259_200_000].map(seconds)).toEqual([
    "0 ms",
    "12 ms",
    "3.4 s",
    "90 s",
    "5 min",
    "2.5 h",
    "3 d",
  ]);
});
