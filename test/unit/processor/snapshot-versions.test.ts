import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { FOLD_VERSION } from "#processor/fold/fold-state.ts";
import { restoreFold } from "#processor/fold/partition-fold.ts";
import { crc32c } from "#processor/state/crc32c.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, inputRecord, readOutputs, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

/** What each version wrote after the same log, kept for ever; a new version adds its own file. */
const FOLDER = join(import.meta.dirname, "../../fixtures/snapshots");
const T0 = 1_700_002_800_000;
const OPTIONS = { ...FOLD_OPTIONS, outOfOrdernessMs: 400_000 };

function events(first: number, count: number): LogEntry {
  const rows = Array.from({ length: count }, (_, i): EventRow => {
    const n = first + i;
    return { sourceOffset: n, eventId: n + 1, eventTimeMs: T0 + n * 12_000, userId: n % 5, value: n };
  });
  return { kind: "block", logTimeMs: T0, rows };
}

const LOG: readonly LogEntry[] = [events(0, 40), { kind: "rules", logTimeMs: T0 + 1, version: 3 }];
const REST: readonly LogEntry[] = [events(30, 40), { kind: "drain", logTimeMs: T0 + 2 }];

function golden(version: number): Uint8Array {
  return new Uint8Array(Buffer.from(readFileSync(join(FOLDER, `fold-${version}.base64`), "utf8"), "base64"));
}

test("this version writes the bytes that it has always written: if this fails on purpose, FOLD_VERSION must grow", () => {
  expect(Buffer.from(runFold(LOG, OPTIONS).fold.snapshot()).equals(golden(FOLD_VERSION))).toBe(true);
});

test.each(Array.from({ length: FOLD_VERSION }, (_, i) => i + 1))(
  "a fold goes on from a snapshot of version %i as if it had made it",
  (version) => {
    const fold = restoreFold(OPTIONS, golden(version));
    const before = runFold(LOG, OPTIONS);
    expect(fold.progress()).toEqual(before.progress);
    for (const [i, entry] of REST.entries()) fold.apply(inputRecord(entry, LOG.length + i));
    const straight = runFold([...LOG, ...REST], OPTIONS);
    const records = [...before.records, ...fold.takeOutputs()];
    expect(readOutputs(records, fold.progress())).toEqual(straight.output);
    expect(straight.output.windows.length).toBeGreaterThan(15);
    expect(fold.progress().hash).toBe(straight.progress.hash);
  },
);

test("a snapshot of a later version is refused, and the message names both", () => {
  const later = golden(FOLD_VERSION);
  const view = new DataView(later.buffer);
  view.setUint32(12, FOLD_VERSION + 1, true);
  const head = Buffer.concat([later.subarray(0, 20), later.subarray(24, 24 + view.getUint32(16, true) * 32)]);
  view.setUint32(20, crc32c(head), true);
  const refused = (): unknown => restoreFold(OPTIONS, later);
  expect(refused).toThrow(CorruptStateError);
  expect(refused).toThrow(`is of fold version ${FOLD_VERSION + 1}, this fold reads 1 to ${FOLD_VERSION}`);
});

test("a snapshot with other hopping windows than the fold's is refused by name", () => {
  const hopping = runFold(LOG, { ...OPTIONS, hopping: "hopping_5m_1m" }).fold.snapshot();
  expect(() => restoreFold(OPTIONS, hopping)).toThrow("is of a fold with hopping_5m_1m hopping windows, not none");
  expect(() => restoreFold({ ...OPTIONS, hopping: "hopping_5m_1m" }, golden(FOLD_VERSION))).toThrow(
    "no hopping windows, not hopping_5m_1m",
  );
});
