/** The fuzzer is a check, so it is checked: faults planted in the reference must be found within its bound, and nothing without them. */
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { Random } from "#test/simulation/world.ts";
import { type ReferenceRecord, type ReferenceRow, ReferenceValidator } from "#test/support/reference/validator.ts";
import { Coverage } from "../../fuzz/coverage.ts";
import { fuzz } from "../../fuzz/engine.ts";
import { isFuzzedModule, TARGETS, targetNames, validatorTarget } from "../../fuzz/targets.ts";

/** The same in every run of the tests; `npm run fuzz` draws new ones. */
const SEED = Number(process.env["WEIR_SEED"] ?? 20_261_124);
const RUNS = 40_000;
const reference = new ReferenceValidator(loadSeedRelease(), DEFAULT_LIMITS);

/** Each is wrong about few events only. */
const FAULTS: readonly (readonly [what: string, wrong: (row: ReferenceRow, record: ReferenceRecord) => ReferenceRow])[] = [
  ["a lone surrogate is told as bad syntax", (row) => (row.reason === "encoding.surrogate" ? { ...row, reason: "json.syntax" } : row)],
  ["a pointer counts items from one", (row) => ({ ...row, pointer: row.pointer?.replace(/\/0(?=\/|$)/, "/1") ?? null })],
  [
    "a position is one too far",
    (row) => (row.reason === "encoding" && row.pointer !== "@0" ? { ...row, pointer: `${row.pointer!}1` } : row),
  ],
  ["user ids lose what is beyond 2^32", (row) => ({ ...row, userId: row.userId === null ? null : row.userId & 0xffffffffn })],
  ["a fraction of a second is lost", (row) => ({ ...row, eventTimeMs: row.eventTimeMs - (row.eventTimeMs % 1_000) })],
  ["a time in another unit is told as too old", (row) => (row.reason === "time.unit" ? { ...row, reason: "time.ancient" } : row)],
];

describe(`the fuzzer, seed ${SEED},`, () => {
  it.each(FAULTS)("finds within its bound that %s, and makes the input small", async (_what, wrong) => {
    const target = validatorTarget((record) => wrong(reference.row(record), record));
    const { finding } = await fuzz(target, { random: new Random(SEED), runs: RUNS });
    expect(finding).not.toBeNull();
    expect(finding!.smallest.length).toBeLessThanOrEqual(finding!.input.length);
    expect(await target.check(finding!.smallest)).not.toBeNull();
  });

  it("finds nothing in any target in a short run guided by coverage, and reaches ever more of the code", async () => {
    for (const name of targetNames()) {
      const coverage = new Coverage(isFuzzedModule);
      try {
        const { finding, corpus, runs } = await fuzz(TARGETS[name]!(), { random: new Random(SEED), runs: 200, coverage });
        expect(finding, `${name}: ${finding?.problem ?? ""} ${Buffer.from(finding?.smallest ?? []).toString("hex")}`).toBeNull();
        expect(runs).toBeGreaterThanOrEqual(200);
        expect(corpus).toBeGreaterThan(1);
        expect(coverage.reached).toBeGreaterThan(5);
      } finally {
        coverage.close();
      }
    }
  });

  it("without coverage runs the same inputs for the same seed", async () => {
    const inputs = async (): Promise<string[]> => {
      const seen: string[] = [];
      const target = { ...validatorTarget(), check: (bytes: Uint8Array) => (seen.push(Buffer.from(bytes).toString("hex")), null) };
      await fuzz(target, { random: new Random(SEED), runs: 300 });
      return seen;
    };
    expect(await inputs()).toEqual(await inputs());
  });
});
