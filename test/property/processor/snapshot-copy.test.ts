import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createFold, restoreFold, type ColumnFold } from "#processor/fold/partition-fold.ts";
import type { FoldOptions, StateCopy } from "#processor/model/ports.ts";
import { ID_ROW_BYTES, IdTable } from "#processor/state/id-table.ts";
import { hashEventId } from "#processor/state/key-hash.ts";
import { sealSnapshotFile } from "#processor/state/snapshot-file.ts";
import { eventColumns } from "#test/support/event-batch.ts";
import { enrichmentBytes, FOLD_OPTIONS, inputRecord } from "#test/support/fold-run.ts";
import { logArbitrary } from "#test/support/log-arbitrary.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

const budgets = fc.array(fc.constantFrom(0, 1, 100, 4_096, 65_536), { minLength: 1, maxLength: 20 });
const optionsArbitrary: fc.Arbitrary<FoldOptions> = fc.constantFrom(
  { ...FOLD_OPTIONS, dedupHorizonMs: 1_000 },
  { ...FOLD_OPTIONS, outOfOrdernessMs: 400_000, hopping: "hopping_5m_1m" as const },
  { ...FOLD_OPTIONS, outOfOrdernessMs: 0, hopping: "hopping_1h_5m" as const },
);

/** In memory that holds something else. */
function begin(fold: ColumnFold): StateCopy {
  return fold.copyState((sizeBytes) => new Uint8Array(sizeBytes).fill(0xa5))!;
}

function finished(copy: StateCopy): Uint8Array {
  while (!copy.step(777));
  sealSnapshotFile(copy.state);
  return copy.state;
}

function apply(fold: ColumnFold, log: readonly LogEntry[], first: number, options: FoldOptions, after: (record: number) => void): void {
  for (const [i, entry] of log.entries()) {
    fold.apply(inputRecord(entry, first + i, options), entry.kind === "enrichment" ? enrichmentBytes(entry.table) : undefined);
    fold.discardOutputs();
    after(i);
  }
}

describe("a snapshot copied while the fold goes on", () => {
  test("is byte for byte the state at the record where it began, and the fold ends as if nothing had been copied", () => {
    fc.assert(
      fc.property(logArbitrary, optionsArbitrary, fc.nat(), budgets, (log, options, boundary, steps) => {
        const at = boundary % log.length;
        const fold = createFold(options);
        apply(fold, log.slice(0, at), 0, options, () => undefined);
        const whole = fold.snapshot();
        const copy = begin(fold);
        apply(fold, log.slice(at), at, options, (record) => void copy.step(steps[record % steps.length]!));
        const copied = finished(copy);
        expect(Buffer.compare(copied, whole)).toBe(0);
        const straight = createFold(options);
        apply(straight, log, 0, options, () => undefined);
        const end = fold.snapshot();
        expect(Buffer.compare(end, straight.snapshot())).toBe(0);
        const restored = restoreFold(options, copied);
        apply(restored, log.slice(at), at, options, () => undefined);
        expect(Buffer.compare(restored.snapshot(), end)).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  test("is so with many users, closing windows, late bridges and forgotten users, and the next copy is right as well", () => {
    fc.assert(
      fc.property(fc.integer(), budgets, fc.integer({ min: 0, max: 400_000 }), (seed, steps, disorderMs) => {
        const options: FoldOptions = { ...FOLD_OPTIONS, outOfOrdernessMs: disorderMs, dedupHorizonMs: 60_000, hopping: "hopping_5m_1m" };
        const random = randomOf(seed);
        const fold = createFold(options);
        const meta = { topic: "events.raw", partition: options.partition, rulesVersion: 1 };
        let nowMs = 1_700_000_000_000;
        let offset = 0;
        let copy: StateCopy | null = null;
        let whole: Uint8Array | null = null;
        let compared = 0;
        for (let block = 0; block < 24; block++) {
          // Now and then a day, so that users are forgotten and their rows used again.
          nowMs += random() < 0.1 ? 90_000_000 : Math.floor(random() * 90_000);
          const rows = Array.from({ length: 60 }, () => ({
            sourceOffset: offset,
            eventId: ++offset,
            eventTimeMs: nowMs - Math.floor(random() * (disorderMs + 20_000)),
            userId: 1 + Math.floor(random() * 300),
            value: random() * 100,
          }));
          fold.applyColumns(eventColumns(rows), nowMs, meta);
          fold.discardOutputs();
          if (copy !== null && (copy.step(steps[block % steps.length]!) || block % 8 === 7)) {
            expect(Buffer.compare(finished(copy), whole!)).toBe(0);
            compared++;
            copy = null;
          }
          if (copy === null) {
            whole = fold.snapshot();
            copy = begin(fold);
          }
        }
        expect(compared).toBeGreaterThan(0);
      }),
      { numRuns: 30 },
    );
  });

  test("keeps ids that have expired and whose memory would have been used again", () => {
    const rows = 40_000;
    const table = new IdTable(1_000, 1_000_000);
    const see = (id: number): number => table.see(id, 1, 2, 3, hashEventId(id, 1, 2, 3), id);
    table.advance(10_000, 0);
    for (let id = 0; id < rows; id++) see(id);
    const whole = new Uint8Array(rows * ID_ROW_BYTES);
    table.copyTo(whole);
    const copied = new Uint8Array(whole.length).fill(0xa5);
    const copy = table.startCopy(copied);
    copy.step(1_000);
    table.advance(20_000, rows);
    expect(table.rows).toBe(0);
    for (let id = 0; id < 3 * rows; id++) see(rows + id);
    while (copy.step(4_096) > 0);
    expect(Buffer.compare(copied, whole)).toBe(0);
  });
});

function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
