/** The bench's numbers are worth something only if its queries are right: equal to naive ones, on events that are NEXMark's. */
import { expect, test } from "vitest";
import { EVENTS_PER_SECOND, KIND, nexmarkBatches } from "../../bench/nexmark-events.ts";
import { runQuery } from "../../bench/nexmark.ts";
import { QUERIES, type QueryName } from "../../bench/nexmark-queries.ts";
import { REFERENCES } from "../../bench/nexmark-reference.ts";

test.each(Object.keys(QUERIES) as QueryName[])("%s gives the rows of the naive query", (query) => {
  // 36 s of event time: windows close, hop and merge; no round number, so that the last one is cut short.
  const events = 36 * EVENTS_PER_SECOND + 4_321;
  const ours = runQuery(QUERIES[query](), events);
  const naive = runQuery(REFERENCES[query](), events);
  expect(ours.rows).toBeGreaterThan(3);
  expect(ours.digest).toBe(naive.digest);
});

test("events have NEXMark's shares: 1, 3 and 46 of 50, half of the bids on the hot auction, three of four by the hot bidder", () => {
  const counts = [0, 0, 0];
  let bids = 0;
  let onHot = 0;
  let byHot = 0;
  let lastMs = -Infinity;
  for (const { rows, kind, auction, person, timeMs } of nexmarkBatches(200_000, 1_000)) {
    for (let row = 0; row < rows; row++) {
      counts[kind[row]!]! += 1;
      expect(timeMs[row]! >= lastMs).toBe(true);
      lastMs = timeMs[row]!;
      if (kind[row] !== KIND.bid) continue;
      bids += 1;
      if ((auction[row]! - 1_000) % 100 === 0) onHot += 1;
      if ((person[row]! - 1_000) % 100 === 1) byHot += 1;
    }
  }
  expect(counts).toEqual([4_000, 12_000, 184_000]);
  expect(onHot / bids).toBeGreaterThan(0.49);
  expect(onHot / bids).toBeLessThan(0.52);
  expect(byHot / bids).toBeGreaterThan(0.74);
  expect(byHot / bids).toBeLessThan(0.77);
});
