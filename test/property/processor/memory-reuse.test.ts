import fc from "fast-check";
import { expect, test } from "vitest";
import { createFold } from "#processor/fold/partition-fold.ts";
import type { OutputRecord } from "#processor/model/ports.ts";
import { FOLD_OPTIONS, enrichmentBytes, inputRecord } from "#test/support/fold-run.ts";
import { logArbitrary } from "#test/support/log-arbitrary.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

function copyOf(record: OutputRecord): unknown {
  const bytes = (value: Uint8Array | null): string | null => (value === null ? null : Buffer.from(value).toString("hex"));
  return {
    role: record.role,
    key: bytes(record.key),
    value: bytes(record.value),
    headers: record.headers.map(([key, value]) => [key, bytes(value)]),
  };
}

/** Each output is read before the next take, as a transaction does. */
function outputs(log: readonly LogEntry[], epochRecords: number, options: { readonly reuse: boolean; readonly spoil: boolean }): unknown[] {
  const fold = createFold({ ...FOLD_OPTIONS, cutRows: 3, maxRecordBytes: 9_000, reuseOutputs: options.reuse });
  const found: unknown[] = [];
  const take = (): void => {
    const records = fold.takeOutputs();
    found.push(records.map(copyOf));
  };
  for (const [offset, entry] of log.entries()) {
    const record = inputRecord(entry, offset);
    const enrichment = entry.kind === "enrichment" ? enrichmentBytes(entry.table) : undefined;
    fold.apply(record, enrichment);
    if (options.spoil) {
      record.value?.fill(0xee);
      enrichment?.fill(0xee);
      for (const [, value] of record.headers) value.fill(0xee);
    }
    if ((offset + 1) % epochRecords === 0) take();
  }
  take();
  return found;
}

test("a fold keeps nothing of the records it has folded, and may use the memory of the last epoch's outputs again", () => {
  fc.assert(
    fc.property(logArbitrary, fc.integer({ min: 1, max: 6 }), (log, epochRecords) => {
      const plain = outputs(log, epochRecords, { reuse: false, spoil: false });
      expect(outputs(log, epochRecords, { reuse: true, spoil: true })).toEqual(plain);
    }),
    { numRuns: 60 },
  );
});
