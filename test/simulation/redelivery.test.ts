import { describe, expect, test } from "vitest";
import { type RedeliveryReport, runRedelivery } from "./redelivery.ts";

const SEEDS = 500;
const CONTROL_SEEDS = 40;
/** WEIR_SEED=<seed> runs that one alone. */
const ONLY = process.env["WEIR_SEED"];

function replay({ seed, violations }: RedeliveryReport): string {
  return `WEIR_SEED=${seed} vitest run --project simulation test/simulation/redelivery.test.ts\n${violations.join("\n")}`;
}

describe("the event source mapping redelivers, overlaps, kills and lets zombies finish", () => {
  test(`the fold has one row per source offset, in order, in ${SEEDS} runs`, async () => {
    const sum: Record<string, number> = {};
    const [from, to] = ONLY === undefined ? [1, SEEDS] : [Number(ONLY), Number(ONLY)];
    for (let seed = from; seed <= to; seed++) {
      const report = await runRedelivery(seed);
      if (report.violations.length > 0) expect.fail(replay(report));
      for (const [fact, count] of Object.entries(report.facts)) sum[fact] = (sum[fact] ?? 0) + count;
    }
    if (ONLY !== undefined) return;
    // A run in which nothing happened proves nothing.
    for (const fact of ["kills", "zombieBlocks", "lostSends", "moves"]) expect(sum[fact], JSON.stringify(sum)).toBeGreaterThan(SEEDS / 2);
    expect(sum["redelivered"], JSON.stringify(sum)).toBeGreaterThan(10 * SEEDS);
    expect(sum["furtherBlocks"], JSON.stringify(sum)).toBeGreaterThan(20);
  });

  test("a run is a function of its seed", async () => {
    expect(await runRedelivery(11)).toEqual(await runRedelivery(11));
  });
});

describe("the check notices when a rule is broken", () => {
  test.each([
    ["trim off", 0.9 * CONTROL_SEEDS],
    // Needs a lost or overtaken block that nobody delivers again.
    ["acks ignored", CONTROL_SEEDS / 4],
  ] as const)("%s", async (control, atLeast) => {
    let caught = 0;
    for (let seed = 1; seed <= CONTROL_SEEDS; seed++) if ((await runRedelivery(seed, control)).violations.length > 0) caught++;
    expect(caught, `runs of ${CONTROL_SEEDS} that show it`).toBeGreaterThanOrEqual(atLeast);
  });
});
