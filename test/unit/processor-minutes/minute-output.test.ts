import { expect, test } from "vitest";
import { MinuteMerge } from "#processor/minutes/minute-merge.ts";
import { costRows, latencyQuantile, metricRows, minuteRecords, qualityRows } from "#processor/minutes/minute-output.ts";
import { decodeStagePosition, encodeStagePosition } from "#processor/minutes/stage-position.ts";
import { bucketStartMs, CELL_WIDTH, COUNTER, FIRST_BUCKET, LATENCY_BUCKETS, latencyBucket, MINUTE_MS } from "#shared/events/partials.ts";
import { PRICES } from "#shared/events/prices.ts";
import { decodeMinuteRows } from "#sinks/minutes/minute-rows.ts";
import { partialCells } from "#test/support/partials-log.ts";

const MINUTE = 100 * MINUTE_MS;

function minuteOf(...facts: Parameters<typeof partialCells>[1]) {
  const merge = new MinuteMerge({ closedMs: -Infinity, partitions: [{ markMs: -Infinity, offset: 0 }] });
  const cells = partialCells(MINUTE, facts);
  merge.add(0, { offset: 0, markMs: MINUTE + MINUTE_MS, cells });
  return merge.close(merge.dueMs(new Set()))[0]!;
}

const cell = (source: string, type: string, events = 4, value = 2.5) => ({ source, type, events, value });

test("every latency falls into the bucket that holds it", () => {
  for (const ms of [0, 1, 2, 3, 4, 5, 6, 7, 8, 99, 1_000, 59_999, 524_287, 1_048_574]) {
    const bucket = latencyBucket(ms);
    expect(bucketStartMs(bucket)).toBeLessThanOrEqual(ms);
    if (bucket < LATENCY_BUCKETS - 1) expect(bucketStartMs(nextUsed(bucket))).toBeGreaterThan(ms);
  }
  expect([latencyBucket(-5), latencyBucket(1e12)]).toEqual([0, LATENCY_BUCKETS - 1]);
});

/** The second half of the first octave holds nothing: both begin at 0. */
function nextUsed(bucket: number): number {
  return bucket === 0 ? 2 : bucket + 1;
}

test("quantiles are upper bounds of the buckets that hold them", () => {
  const numbers = new Float64Array(CELL_WIDTH);
  numbers[FIRST_BUCKET + latencyBucket(10)] = 98;
  numbers[FIRST_BUCKET + latencyBucket(1_000)] = 2;
  expect(latencyQuantile(numbers, 100, 0.5)).toBeGreaterThanOrEqual(10);
  expect(latencyQuantile(numbers, 100, 0.5)).toBeLessThan(15);
  expect(latencyQuantile(numbers, 100, 0.99)).toBeGreaterThanOrEqual(1_000);
  expect(latencyQuantile(numbers, 100, 0.99)).toBeLessThan(1_500);
});

test("each dimension of quality is what is left of the total", () => {
  const minute = minuteOf(cell("web", "click", 10));
  const { numbers } = minute.cells[0]!;
  numbers[COUNTER.incomplete] = 1;
  numbers[COUNTER.inconsistent] = 2;
  numbers[COUNTER.untimely] = 3;
  numbers[COUNTER.duplicate] = 4;
  numbers[COUNTER.inaccurate] = 5;
  const counts = { total: 10, complete: 9, consistent: 8, timely: 7, unique: 6, accurate: 5 };
  expect(qualityRows(minute)).toEqual([{ minuteMs: MINUTE, source: "web", eventType: "click", ...counts }]);
});

test("cost is bytes times the price of where they went, by source over its types", () => {
  const minute = minuteOf(cell("web", "click", 4), cell("web", "view", 6), cell("api", "click", 1));
  const rows = costRows(minute);
  expect(rows.map(({ source, destination, events, bytes }) => [source, destination, events, bytes])).toEqual([
    ["api", "clickhouse", 1, 100],
    ["api", "redis", 1, 100],
    ["api", "clean", 1, 100],
    ["web", "clickhouse", 10, 1_000],
    ["web", "redis", 10, 1_000],
    ["web", "clean", 10, 1_000],
  ]);
  expect(rows.at(-1)!.usd).toBeCloseTo((1_000 / 2 ** 30) * PRICES.clean.usdPerGib, 12);
});

test("a metric without events to measure has no row", () => {
  const names = metricRows(minuteOf(cell("web", "click", 3, Number.NaN))).map(({ metric }) => metric);
  expect(names).toContain("events");
  expect(names).not.toContain("value_mean");
  expect(names).not.toContain("late");
});

test("the sinks read what is written", () => {
  const read = minuteRecords(minuteOf(cell("", "click"), cell("web", ""))).map(({ kind, rows, value }) => {
    const decoded = decodeMinuteRows(kind, value);
    expect(decoded.rows).toBe(rows);
    return decoded.kind;
  });
  expect(read).toEqual(["metrics", "quality", "cost"]);
});

test("a position comes back as it was, and anything else is refused", () => {
  const position = { closedMs: MINUTE, markMs: -Infinity, oseq: 7 };
  const place = { topic: "t", partition: 0, offset: 3, metadata: encodeStagePosition(position) };
  expect(decodeStagePosition(place, 0)).toEqual({ ...position, offset: 3 });
  for (const metadata of ["", "{}", "null", "{", '{"v":2,"closedMs":1,"markMs":1,"oseq":1}'])
    expect(() => decodeStagePosition({ ...place, metadata }, 0)).toThrow("not readable");
});
