import { describe, expect, test } from "vitest";
import { columnKit } from "./fold-kit.ts";
import { type Control, NEGATIVE_CONTROLS } from "./negative-controls.ts";
import { type Report, runScenario } from "./scenario.ts";
import { Random } from "./world.ts";

const SEEDS = 2_000;
const SEEDS_A_TEST = 250;
const COLUMN_SEEDS = 100;
const CONTROL_SEEDS = 60;

function replay(report: Report, which: string): string {
  return `seed ${report.seed} (replay: npm run soak -- ${which} ${report.seed} 1)\n${report.violations.join("\n")}`;
}

function addFacts(sum: Record<string, number>, report: Report): void {
  for (const [fact, count] of Object.entries(report.facts)) sum[fact] = (sum[fact] ?? 0) + count;
}

describe("one partition under kills, freezes, overtaking owners, lost and late requests, bad snapshots and cut logs", () => {
  const firsts = Array.from({ length: SEEDS / SEEDS_A_TEST }, (_, i) => 1 + i * SEEDS_A_TEST);

  test.each(firsts)(`outputs come out exactly once, in ${SEEDS_A_TEST} runs from seed %i on`, async (first) => {
    const sum: Record<string, number> = {};
    for (let seed = first; seed < first + SEEDS_A_TEST; seed++) {
      const report = await runScenario({ seed });
      if (report.violations.length > 0) expect.fail(replay(report, "model"));
      addFacts(sum, report);
    }
    // A run in which nothing happened proves nothing.
    for (const fact of ["kills", "freezes", "damages", "fenced"])
      expect(sum[fact], `${fact} in seeds from ${first} on`).toBeGreaterThan(SEEDS_A_TEST / 10);
    expect(sum["rows"]).toBeGreaterThan(10 * SEEDS_A_TEST);
    expect(sum["refused"], "refusals are the exception").toBeLessThan(SEEDS_A_TEST / 10);
  });

  test("the real fold's outputs come out exactly once", async () => {
    for (let seed = 1; seed <= COLUMN_SEEDS; seed++) {
      const report = await runScenario({ seed, kit: columnKit(new Random(seed)) });
      if (report.violations.length > 0) expect.fail(replay(report, "column"));
    }
  });
});

describe("a kill before any step of the owner", () => {
  test("is recovered from without a lost or doubled row", async () => {
    const undisturbed = await runScenario({ seed: 7, blocks: 8, killAtStep: -1 });
    expect(undisturbed.violations).toEqual([]);
    expect(undisturbed.facts.kills).toBe(0);
    for (let killAtStep = 0; killAtStep < undisturbed.facts.steps; killAtStep++) {
      const report = await runScenario({ seed: 7, blocks: 8, killAtStep });
      if (report.violations.length > 0) expect.fail(`kill at step ${killAtStep}\n${report.violations.join("\n")}`);
      if (killAtStep < undisturbed.facts.steps / 2) expect(report.facts.owners).toBe(2);
    }
  });
});

describe("a run is a function of its seed", () => {
  test("twice the same seed gives the same steps, log and facts", async () => {
    expect(await runScenario({ seed: 11 })).toEqual(await runScenario({ seed: 11 }));
  });
});

describe("the check notices when a rule is broken", () => {
  test.each(Object.keys(NEGATIVE_CONTROLS) as Control[])("%s", async (control) => {
    let caught = 0;
    for (let seed = 1; seed <= CONTROL_SEEDS; seed++) {
      const { violations } = await runScenario({ seed, ...NEGATIVE_CONTROLS[control]() });
      // Seen downstream, not only in our own progress.
      if (violations.some((violation) => /^(clean|windows|dlq): /.test(violation))) caught += 1;
    }
    expect(caught, `runs of ${CONTROL_SEEDS} that show it`).toBeGreaterThanOrEqual(3);
  });
});
