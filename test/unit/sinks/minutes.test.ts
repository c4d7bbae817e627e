import fc from "fast-check";
import { expect, test } from "vitest";
import { metricKey } from "#shared/read/hot-keys.ts";
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { decodeMinuteRows } from "#sinks/minutes/minute-rows.ts";
import { QualityGauge } from "#sinks/minutes/quality-gauge.ts";
import { sharesOf } from "#sinks/minutes/quality-shares.ts";
import { MetricBatch } from "#sinks/redis/metric-batch.ts";
import { costRow, metricRow, MINUTE_MS, minuteBlock, type MinuteRow, qualityRow } from "#test/support/minute-blocks.ts";

const NOW_MS = MINUTE_MS + 61_000;

/** Key -> [minute, value, count]. */
function hot(...records: readonly (readonly [kind: "metrics" | "quality" | "cost", rows: readonly MinuteRow[]])[]): Map<string, unknown[]> {
  const batch = new MetricBatch("live");
  for (const [kind, rows] of records) batch.add(minuteBlock(kind, rows), NOW_MS, kind);
  const values = batch.values(NOW_MS);
  expect(values).toHaveLength(batch.size);
  return new Map(
    values.map(([name, key, ttl, ...rest]) => {
      expect([name, ttl]).toEqual(["metric", 600]);
      return [String(key), rest];
    }),
  );
}

test("quality is told of all, of each source and of each type, as shares of sums", () => {
  const values = hot([
    "quality",
    [
      qualityRow({ total: 900, accurate: 891 }),
      qualityRow({ total: 100, accurate: 100, event_type: "purchase" }),
      qualityRow({ total: 990, accurate: 990, source: "mobile" }),
      qualityRow({ total: 10, accurate: 10, source: null, event_type: null }),
    ],
  ]);
  const accuracy = new Map([...values].filter(([key]) => key.startsWith("metric:quality.accuracy")));
  expect(accuracy).toEqual(
    new Map([
      ["metric:quality.accuracy", [MINUTE_MS, 99.55, 2_000]],
      ["metric:quality.accuracy:web", [MINUTE_MS, 99.1, 1_000]],
      ["metric:quality.accuracy:web:click", [MINUTE_MS, 99, 900]],
      ["metric:quality.accuracy:web:purchase", [MINUTE_MS, 100, 100]],
      ["metric:quality.accuracy:mobile", [MINUTE_MS, 100, 990]],
      ["metric:quality.accuracy:mobile:click", [MINUTE_MS, 100, 990]],
    ]),
  );
  expect(values.get("metric:quality.uniqueness")).toEqual([MINUTE_MS, 100, 2_000]);
});

test("cost is added up by source and destination", () => {
  const values = hot([
    "cost",
    [costRow({}), costRow({ destination: "redis", usd: 0.5, bytes: 1_000 }), costRow({ source: "api", usd: 1 })],
  ]);
  expect(values.get("metric:cost.usd")).toEqual([MINUTE_MS, 1.75, 30]);
  expect(values.get("metric:cost.usd:web")).toEqual([MINUTE_MS, 0.75, 20]);
  expect(values.get("metric:cost.usd:web:redis")).toEqual([MINUTE_MS, 0.5, 10]);
  expect(values.get("metric:cost.bytes:api")).toEqual([MINUTE_MS, 4_000, 10]);
});

test("of a series the newest minute is kept, in whatever order minutes come", () => {
  const [old, late] = [metricRow({ value: 1 }), metricRow({ value: 2, minute: MINUTE_MS + 60_000 })];
  const expected = new Map([["metric:events:web:click", [MINUTE_MS + 60_000, 2, 10]]]);
  expect(hot(["metrics", [old]], ["metrics", [late]])).toEqual(expected);
  expect(hot(["metrics", [late]], ["metrics", [old]])).toEqual(expected);
});

test("a series without a value has an empty one; one without source and type is named by its metric alone", () => {
  const values = hot(["metrics", [metricRow({ source: null, event_type: null, value: null, count: 0 })]]);
  expect(values).toEqual(new Map([["metric:events", [MINUTE_MS, "", 0]]]));
});

test("different series have different keys, whatever their names hold", () => {
  const part = fc.string({ unit: fc.constantFrom("a", ":", "%", "3", "A"), maxLength: 4 });
  const name = fc.tuple(fc.constantFrom("events", "m"), part, part);
  const canonical = (parts: readonly string[]): string => JSON.stringify(parts);
  fc.assert(
    fc.property(name, name, (a, b) => {
      expect(metricKey("live", a) === metricKey("live", b)).toBe(canonical(a) === canonical(b));
      expect(metricKey("x", a)).toBe(`x:${metricKey("live", a)}`);
    }),
  );
});

test("a planted defect of known share is measured back exactly, however its rows lie in sources and types", () => {
  const group = fc.record({
    source: fc.constantFrom("web", "api", null),
    total: fc.integer({ min: 1, max: 1e6 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.constantFrom(...QUALITY_DIMENSIONS), fc.array(group, { minLength: 1, maxLength: 12 }), (dimension, groups) => {
      const bad = groups.map(({ total, share }) => Math.floor(total * share));
      const rows = groups.map(({ source, total }, i) =>
        qualityRow({ source, event_type: `t${i}`, total, [dimension.column]: total - bad[i]! }),
      );
      const { total, percents } = sharesOf(decodeMinuteRows("quality", minuteBlock("quality", rows)));
      const planted = (100 * bad.reduce((a, b) => a + b, 0)) / total;
      for (const [i, { name }] of QUALITY_DIMENSIONS.entries())
        expect(Math.abs(percents[i]! - (name === dimension.name ? 100 - planted : 100)), name).toBeLessThan(1e-9);
    }),
  );
});

test("gauges show the newest minute, go away when minutes stop, and an old minute read again is no news", () => {
  const gauge = new QualityGauge();
  const see = (minute: number, accurate: number, loggedMs: number): void =>
    gauge.see(decodeMinuteRows("quality", minuteBlock("quality", [qualityRow({ total: 100, minute, accurate })])), loggedMs);
  const accuracy = (nowMs: number): unknown => gauge.series(nowMs).find(({ name }) => name === "QualityAccuracy")?.value;
  expect(gauge.series(NOW_MS)).toEqual([]);
  see(MINUTE_MS, 90, NOW_MS);
  expect(accuracy(NOW_MS)).toBe(90);
  see(MINUTE_MS - 60_000, 10, NOW_MS);
  expect(accuracy(NOW_MS)).toBe(90);
  expect(gauge.series(NOW_MS).map(({ name }) => name)).toEqual(QUALITY_DIMENSIONS.map(({ metric }) => metric));
  expect(gauge.series(NOW_MS + 601_000)).toEqual([]);
});

test("a record of another kind, or of none, stops the sink", () => {
  for (const kind of ["events", "constructor", undefined])
    expect(() => decodeMinuteRows(kind, minuteBlock("cost", [costRow({})]))).toThrow(
      expect.objectContaining({ code: "OUTPUT_UNPLACED" }) as Error,
    );
  expect(() => decodeMinuteRows("quality", minuteBlock("cost", [costRow({})]))).toThrow(/columns/);
});
