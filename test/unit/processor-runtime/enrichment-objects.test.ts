import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createFold } from "#processor/fold/partition-fold.ts";
import { neededWith } from "#processor/runtime/enrichment-objects.ts";
import { encodeControl } from "#shared/events/control.ts";
import { enrichmentKey } from "#shared/events/enrichment-table.ts";
import { CorruptStateError, TransientError } from "#shared/kernel/errors.ts";

const OPTIONS = {
  generation: 1,
  partition: 0,
  historical: false,
  outOfOrdernessMs: 0,
  idleMarginMs: 0,
  dedupHorizonMs: 60_000,
  cutRows: 100,
  cutMs: 1_000,
};
const TABLE = new TextEncoder().encode(JSON.stringify({ version: 3, key: "source", rows: { web: { region: "eu" } } }));
const NAME = { version: 3, sha256: createHash("sha256").update(TABLE).digest("hex") };

function recordOf(control: Parameters<typeof encodeControl>[0]): Parameters<typeof neededWith>[0] {
  const { value, headers } = encodeControl(control);
  return { offset: 0, timestampMs: 0, value, headers: headers ?? [] };
}

const NAMING = recordOf({ kind: "enrichment", ...NAME });

describe("what a record needs before it can be folded", () => {
  test("is nothing for a tick", () => {
    expect(neededWith(recordOf({ kind: "tick", now: 5 }), createFold(OPTIONS))).toBeNull();
  });

  test("is the table that an enrichment record names, which the fold then takes", async () => {
    const fold = createFold(OPTIONS);
    const asked: string[] = [];
    const table = await neededWith(NAMING, fold, (key) => {
      asked.push(key);
      return Promise.resolve(TABLE);
    });
    expect(asked).toEqual([enrichmentKey(NAME)]);
    expect(() => fold.apply(NAMING, table!)).not.toThrow();
  });

  test("is waited for while it is not there", async () => {
    const needed = neededWith(NAMING, createFold(OPTIONS), () => Promise.resolve(null));
    await expect(needed).rejects.toBeInstanceOf(TransientError);
    await expect(needed).rejects.toMatchObject({ code: "ENRICHMENT_MISSING" });
  });

  test("is refused when it is not the one that the log names", async () => {
    const needed = neededWith(NAMING, createFold(OPTIONS), () => Promise.resolve(TABLE.slice(1)));
    await expect(needed).rejects.toBeInstanceOf(CorruptStateError);
  });
});
