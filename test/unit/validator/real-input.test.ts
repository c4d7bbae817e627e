/** What the project's own sources send, and the verdicts that they expect. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Validator } from "#functions/validator/scanner/validator.ts";
import { flightsEvents } from "#loadgen/flights.ts";
import { createGenerator } from "#loadgen/generator.ts";
import { NOW_MS, seedValidator, verdictOf } from "#test/support/validated-event.ts";

let validator: Validator;
beforeEach(() => {
  validator = seedValidator();
});

describe("the load generator", () => {
  it("gets the verdict that it expects for each of 20,000 events", () => {
    const shares = { late: 0.1, duplicate: 0.1, poison: 0.3, futureClock: 0.1 };
    const generator = createGenerator({ seed: "verdicts", users: 1_000, distribution: "zipf", shares });
    const expected: (string | null)[] = [];
    validator.begin();
    for (let i = 0; i < 20_000; i++) {
      const event = generator.next(NOW_MS + i);
      validator.add(event.value, 0, event.value.length, event.key, null, i, NOW_MS + i);
      expected.push(event.reason);
    }
    const columns = validator.finish();
    expect(expected.map((_, row) => verdictOf(columns, row).reason)).toEqual(expected);
    expect(new Set(expected).size).toBeGreaterThan(10);
  });
});

describe("the flights data set", () => {
  it("is accepted whole, the delay being the value", () => {
    let rows = 0;
    const rejected: unknown[] = [];
    for (const { line, key } of flightsEvents()) {
      if (rows === 20_000) break;
      const bytes = Buffer.from(line);
      validator.begin();
      validator.add(bytes, 0, bytes.length, Buffer.from(key), null, rows++, NOW_MS);
      const columns = validator.finish();
      if (validator.rejects > 0) rejected.push({ line, ...verdictOf(columns) });
      expect(columns.value[0]).toBe((JSON.parse(line) as { properties: { delay: number } }).properties.delay);
    }
    expect(rejected).toEqual([]);
  });
});
