import { expect, test } from "vitest";
import {
  addReadings,
  EMPTY_READING,
  Histogram,
  octavesMs,
  quantileMs,
  readingSince,
  representativesMs,
} from "#shared/telemetry/histogram.ts";

function histogramOf(values: readonly number[]): Histogram {
  const histogram = new Histogram();
  for (const value of values) histogram.record(value);
  return histogram;
}

/** From 0.05 ms to 50 s, unevenly. */
const VALUES = Array.from({ length: 10_000 }, (_, i) => 0.05 * 1_000_000 ** (((i * 7_919) % 10_000) / 10_000));
const SORTED = VALUES.toSorted((a, b) => a - b);

test("a percentile is off by 5 % at most, over six orders of magnitude", () => {
  const reading = histogramOf(VALUES).read();
  for (const share of [0.01, 0.1, 0.5, 0.9, 0.99, 0.999]) {
    const exact = SORTED[Math.ceil(share * SORTED.length) - 1]!;
    expect(Math.abs(quantileMs(reading, share) / exact - 1), `p${share * 100}`).toBeLessThan(0.05);
  }
});

test("nothing recorded has no percentile, and what is below or above all buckets still counts", () => {
  expect(quantileMs(EMPTY_READING, 0.5)).toBeNaN();
  expect(representativesMs(EMPTY_READING, 10)).toEqual([]);
  const reading = histogramOf([0, 1e-9, 1e9]).read();
  expect(reading.count).toBe(3);
  expect(reading.counts.reduce((sum, count) => sum + count, 0)).toBe(3);
  expect(quantileMs(reading, 0)).toBeLessThan(0.01);
});

test("two readings added are the reading of both, and their difference is what came since", () => {
  const first = histogramOf(VALUES.slice(0, 4_000)).read();
  const second = histogramOf(VALUES.slice(4_000)).read();
  const both = addReadings(first, second);
  expect(both.counts).toEqual(histogramOf(VALUES).read().counts);
  expect(readingSince(both, first).counts).toEqual(second.counts);
});

test("representatives have the percentiles of what they stand for", () => {
  const values = representativesMs(histogramOf(VALUES).read(), 40);
  expect(values).toHaveLength(40);
  expect(Math.abs(values[19]! / SORTED[4_875]! - 1)).toBeLessThan(0.1);
  expect(representativesMs(histogramOf([3, 3]).read(), 40)).toHaveLength(2);
});

test("octaves for Prometheus never fall and end with everything that fits", () => {
  const octaves = octavesMs(histogramOf(VALUES).read());
  for (let i = 1; i < octaves.length; i++) {
    expect(octaves[i]![1]).toBeGreaterThanOrEqual(octaves[i - 1]![1]);
    expect(octaves[i]![0]).toBeCloseTo(octaves[i - 1]![0] * 2);
  }
  for (const [boundMs, seen] of octaves) expect(seen).toBe(VALUES.filter((value) => value <= boundMs).length);
});
