import { expect, test } from "vitest";
import { Pacer } from "#loadgen/pacer.ts";

test("what is due follows time, whatever the ticks", () => {
  const pacer = new Pacer({ ratePerSecond: 1_500, startMs: 100 });
  let sent = 0;
  for (const nowMs of [100, 101, 103.7, 120, 119, 600, 1_100]) sent += pacer.take(nowMs, Number.POSITIVE_INFINITY);
  expect(sent).toBe(1_500);
  expect(pacer.forgotten).toBe(0);
});

test("a rate below one per second still sends", () => {
  const pacer = new Pacer({ ratePerSecond: 0.5, startMs: 0 });
  expect(pacer.take(1_999, 10)).toBe(0);
  expect(pacer.take(2_000, 10)).toBe(1);
});

test("what exceeds one burst stays due", () => {
  const pacer = new Pacer({ ratePerSecond: 1_000, startMs: 0 });
  expect(pacer.take(1_000, 400)).toBe(400);
  expect(pacer.take(1_000, 400)).toBe(400);
  expect(pacer.take(1_000, 400)).toBe(200);
});

test("a debt beyond the bound is forgotten, counted and not sent later", () => {
  const pacer = new Pacer({ ratePerSecond: 1_000, startMs: 0, debtMsMax: 2_000 });
  expect(pacer.take(10_000, Number.POSITIVE_INFINITY)).toBe(2_000);
  expect(pacer.forgotten).toBe(8_000);
  expect(pacer.take(10_500, Number.POSITIVE_INFINITY)).toBe(500);
});
