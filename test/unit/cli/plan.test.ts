import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { run } from "#cli/main.ts";
import { limitsOf, needOf, trafficOf } from "../../../infra/config/capacity.ts";
import { costOf } from "../../../infra/config/cost.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../../../infra/config/environments.ts";
import { priceOf } from "../../../infra/config/prices.ts";

const prod = environmentNamed("prod");
const MILLION = { eventsPerS: 1_000_000, eventBytes: 330 };

async function plan(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = "";
  let err = "";
  const code = await run(["plan", ...args], {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    outIsTerminal: false,
    errIsTerminal: false,
    input: (async function* () {})(),
    stop: new AbortController().signal,
  });
  return { code, out, err };
}

test("prod is configured as the plan for a million events a second says", () => {
  expect(needOf(prod, MILLION)).toMatchObject({
    pollers: prod.validator.pollers,
    partitions: prod.partitions,
    provisionedConcurrency: prod.validator.provisionedConcurrency,
    reservedConcurrency: prod.validator.reservedConcurrency,
    brokers: prod.kafka.brokers,
    tasks: prod.processor.tasks,
  });
  expect(prod.processor.tasksMax).toBe(2 * prod.processor.tasks);
});

describe.each(ENVIRONMENT_NAMES)("%s", (name) => {
  const environment = environmentNamed(name);
  const load = { eventsPerS: environment.alarms.eventsPerS, eventBytes: 330 };

  test("carries the rate that its alarms are made for, but for what docs/DEPLOY.md says", () => {
    // A zone away Express throttles and the log waits; the disks of staging and prod hold days, not the tables' 90.
    const known = name === "dev" ? [] : ["clickhouse disk", ...(name === "prod" ? ["kafka in, a zone away"] : [])];
    const over = limitsOf(environment, load).filter(({ use }) => use > 1);
    expect(over.map((limit) => limit.name)).toEqual(known);
  });

  test("costs less than its budget, and not so much less that the alarm would sleep", () => {
    const usd = costOf(environment, load).reduce((sum, line) => sum + line.usdPerMonth, 0);
    expect(usd).toBeLessThan(environment.budget.monthlyUsd);
    expect(usd).toBeGreaterThan(environment.budget.monthlyUsd * 0.7);
  });
});

test("more events never need less, cost less or fill less", () => {
  const rate = fc.integer({ min: 1, max: 5_000_000 });
  fc.assert(
    fc.property(fc.constantFrom(...ENVIRONMENT_NAMES), rate, rate, fc.integer({ min: 1, max: 4_096 }), (name, one, other, eventBytes) => {
      const environment = environmentNamed(name);
      const less = { eventsPerS: Math.min(one, other), eventBytes };
      const more = { eventsPerS: Math.max(one, other), eventBytes };
      const before = needOf(environment, less);
      const after = needOf(environment, more);
      for (const key of Object.keys(before) as (keyof typeof before)[]) expect(after[key]).toBeGreaterThanOrEqual(before[key]);
      for (const [i, { usdPerMonth }] of costOf(environment, more).entries()) {
        expect(usdPerMonth).toBeGreaterThanOrEqual(costOf(environment, less)[i]!.usdPerMonth);
      }
      const full = new Map(limitsOf(environment, more).map(({ name: limit, use }) => [limit, use]));
      for (const { name: limit, use } of limitsOf(environment, less)) expect(full.get(limit)).toBeGreaterThanOrEqual(use);
    }),
  );
});

test("bytes are counted at each hop", () => {
  const { rawMbPerS, kafkaInMbPerS, kafkaOutMbPerS } = trafficOf({ eventsPerS: 1_000, eventBytes: 337 });
  expect(rawMbPerS).toBeCloseTo(0.337);
  // Half of it by snappy, then 201 bytes as a block, twice in and three times out.
  expect(kafkaInMbPerS).toBeCloseTo(0.1685 + 2 * 0.201);
  expect(kafkaOutMbPerS).toBeCloseTo(0.1685 + 3 * 0.201);
});

test("a part without a price is an error, not free", () => {
  expect(() => priceOf("r9g.huge")).toThrow("no price for r9g.huge");
});

test("the command names what binds first and fails when a part is too small", async () => {
  const { code, out, err } = await plan("--rate", "1000000", "--event-bytes", "330", "--env", "prod");
  expect(code).toBe(3);
  expect(out).toContain("binds first: clickhouse disk");
  expect(err).toContain("too small: clickhouseGibPerReplica");
  const doubled = JSON.parse((await plan("--rate", "2000000", "--json")).out) as { short: string[] };
  expect(doubled.short).toEqual(expect.arrayContaining(["pollers", "brokers", "tasks"]));
  expect((await plan("--env", "dev")).code).toBe(0);
});

test.each([
  [["--env", "test"], "--env"],
  [["--rate", "0"], "--rate"],
  [["--event-bytes", "many"], "--event-bytes"],
])("%j is refused by name", async (args, name) => {
  const { code, err } = await plan(...args);
  expect(code).toBe(2);
  expect(err).toContain(name);
});
