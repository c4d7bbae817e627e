import { expect, test } from "vitest";
import { TimeLag } from "#processor/observe/time-lag.ts";

test("at the end of the log the lag is 0, however long nothing came", () => {
  const lag = new TimeLag();
  lag.saw(10, 0);
  lag.saw(10, 60_000);
  expect(lag.lagMs(10, 60_000)).toBe(0);
});

test("an event after a long silence lags since it came, not since the event before it", () => {
  const lag = new TimeLag();
  for (let atMs = 0; atMs <= 60_000; atMs += 1_000) lag.saw(10, atMs);
  lag.saw(11, 61_000);
  expect(lag.lagMs(10, 61_500)).toBeLessThanOrEqual(1_500);
});

test("between two looks a straight line is assumed", () => {
  const lag = new TimeLag();
  lag.saw(0, 0);
  lag.saw(100, 10_000);
  expect(lag.lagMs(30, 10_000)).toBe(7_000);
  expect(lag.lagMs(100, 10_000)).toBe(0);
});

test("behind the first look it is at least since then", () => {
  const lag = new TimeLag();
  lag.saw(1_000, 5_000);
  expect(lag.lagMs(1, 8_000)).toBe(3_000);
});

test("it stays exact to its looks over hours of standing still, in bounded memory", () => {
  const lag = new TimeLag();
  let end = 0;
  for (let atMs = 0; atMs < 4 * 3_600_000; atMs += 500) lag.saw((end = atMs), atMs);
  const nowMs = 4 * 3_600_000;
  // One offset per millisecond: the lag of position p is now - p.
  for (const position of [1_000, 3_600_000, end - 10_000, end - 600]) {
    expect(Math.abs(lag.lagMs(position, nowMs) - (nowMs - position)), String(position)).toBeLessThan(60_000);
  }
  lag.forget(end - 5_000);
  expect(Math.abs(lag.lagMs(end - 5_000, nowMs) - (nowMs - end + 5_000))).toBeLessThan(1_000);
});
