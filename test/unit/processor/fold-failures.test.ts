import { describe, expect, test } from "vitest";
import { createFold, restoreFold } from "#processor/fold/partition-fold.ts";
import { CapacityError, CorruptStateError } from "#shared/kernel/errors.ts";
import { InvariantError } from "#shared/kernel/assert.ts";
import { HEADERS } from "#shared/events/names.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, inputRecord, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

const T0 = 1_700_002_800_000;

function rowsFrom(first: number, count: number, more: (n: number) => Partial<EventRow> = () => ({})): LogEntry {
  const rows = Array.from({ length: count }, (_, i): EventRow => {
    const n = first + i;
    return { sourceOffset: n, eventId: n + 1, eventTimeMs: T0 + n, userId: n, ...more(n) };
  });
  return { kind: "block", logTimeMs: T0, rows };
}

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (thrown) {
    return thrown;
  }
  throw new Error("nothing was thrown");
}

describe("the fold stops", () => {
  test("at a gap in the source offsets, naming them", () => {
    const thrown = thrownBy(() => runFold([rowsFrom(5, 2), rowsFrom(9, 1)]));
    expect(thrown).toBeInstanceOf(CorruptStateError);
    expect(thrown).toMatchObject({ code: "SOURCE_GAP", message: "source offsets 7 to 8 of events.raw/3 are missing" });
    expect((thrown as CorruptStateError).hint).toBeDefined();
  });

  test("at a gap inside a block", () => {
    const entry: LogEntry = { kind: "block", logTimeMs: T0, rows: [{ sourceOffset: 0, eventId: 1 }, { sourceOffset: 2, eventId: 2 }] }; // prettier-ignore
    expect(thrownBy(() => runFold([entry]))).toMatchObject({ code: "SOURCE_GAP" });
  });

  test("at a block that does not decode, that is empty, or that comes from elsewhere", () => {
    const record = inputRecord(rowsFrom(0, 1), 0);
    for (const value of [null, new Uint8Array(0), record.value!.slice(0, 100)]) {
      expect(thrownBy(() => createFold(FOLD_OPTIONS).apply({ ...record, value }))).toBeInstanceOf(CorruptStateError);
    }
    const elsewhere = inputRecord(rowsFrom(0, 1), 0, { ...FOLD_OPTIONS, partition: 4 });
    expect(thrownBy(() => createFold(FOLD_OPTIONS).apply(elsewhere))).toMatchObject({ code: "BLOCK_STRANGE" });
    const older = inputRecord(rowsFrom(0, 1), 0, { ...FOLD_OPTIONS, generation: 2 });
    expect(thrownBy(() => createFold(FOLD_OPTIONS).apply(older))).toMatchObject({ code: "BLOCK_STRANGE" });
  });

  test.each([
    ["an unknown kind", "pause", "{}"],
    ["a tick without a time", "tick", "{}"],
    ["rules without a version", "rules", '{"version":"x"}'],
    ["a value that is no JSON", "tick", "{"],
    ["a drain whose value is no object", "drain", "3"],
  ])("at a control record with %s", (_name, kind, value) => {
    const encoder = new TextEncoder();
    const record = { offset: 0, timestampMs: T0, value: encoder.encode(value), headers: [[HEADERS.kind, encoder.encode(kind)]] as const };
    expect(thrownBy(() => createFold(FOLD_OPTIONS).apply(record))).toMatchObject({ code: "CONTROL_UNKNOWN" });
  });

  test.each([
    ["ids", (n: number) => ({ eventId: n + 1, userId: 1 })],
    ["users", (n: number) => ({ eventId: n + 1 })],
    ["session_30s", (n: number) => ({ eventId: n + 1, eventTimeMs: T0 + n * 30_000, userId: 1 })],
  ])("when the table %s is full, naming it and the setting", (table, more) => {
    const options = { ...FOLD_OPTIONS, maxTableRows: 50, outOfOrdernessMs: 3_600_000, dedupHorizonMs: table === "ids" ? 600_000 : 1_000 };
    const log = Array.from({ length: 51 }, (_, i): LogEntry => ({
      ...rowsFrom(i, 1, more),
      logTimeMs: table === "ids" ? T0 : T0 + i * 2_000,
    }));
    runFold(log.slice(0, 50), options);
    const thrown = thrownBy(() => runFold(log, options));
    expect(thrown).toBeInstanceOf(CapacityError);
    expect(thrown).toMatchObject({ code: "STATE_TABLE_FULL", message: `state table ${table} is full: 50 rows` });
    expect((thrown as CapacityError).hint).toContain("WEIR_MAX_TABLE_ROWS");
  });
});

describe("a snapshot", () => {
  const options = { ...FOLD_OPTIONS, outOfOrdernessMs: 400_000 };
  const fold = runFold(
    [rowsFrom(0, 40, (n) => ({ eventTimeMs: T0 + n * 12_000, userId: n % 5, value: n })), { kind: "rules", logTimeMs: T0 + 1, version: 3 }],
    options,
  ).fold;
  const bytes = fold.snapshot();

  test("restores to a fold with the same progress and the same snapshot", () => {
    const restored = restoreFold(options, bytes);
    expect(restored.progress()).toEqual(fold.progress());
    expect(Buffer.compare(restored.snapshot(), bytes)).toBe(0);
  });

  test("restores from bytes at any alignment", () => {
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    expect(Buffer.compare(restoreFold(options, shifted).snapshot(), bytes)).toBe(0);
    const pooled = Buffer.concat([Buffer.alloc(5), bytes]).subarray(5);
    expect(Buffer.compare(restoreFold(options, pooled).snapshot(), bytes)).toBe(0);
  });

  test("is refused when any single byte is wrong, and the damaged section is named", () => {
    const named = new Set<string>();
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.slice();
      damaged[at]! ^= 0x10;
      const thrown = thrownBy(() => restoreFold(options, damaged));
      expect(thrown).toBeInstanceOf(CorruptStateError);
      named.add(/section (\w+)/.exec((thrown as Error).message)?.[1] ?? "none");
    }
    expect([...named].toSorted()).toEqual(expect.arrayContaining(["header", "ids", "session_30s", "state", "tumbling_5m"]));
  });

  test("is refused when it is cut short or longer", () => {
    for (const length of [0, 7, 23, 200, bytes.length - 1])
      expect(thrownBy(() => restoreFold(options, bytes.subarray(0, length)))).toBeInstanceOf(CorruptStateError);
    expect(thrownBy(() => restoreFold(options, Buffer.concat([bytes, Buffer.alloc(8)])))).toBeInstanceOf(CorruptStateError);
  });

  test("of another partition or generation is refused", () => {
    expect(thrownBy(() => restoreFold({ ...options, partition: 4 }, bytes))).toMatchObject({ code: "SNAPSHOT_MISMATCH" });
    expect(thrownBy(() => restoreFold({ ...options, generation: 2 }, bytes))).toMatchObject({ code: "SNAPSHOT_MISMATCH" });
  });

  test("is not taken while outputs wait", () => {
    const waiting = createFold(options);
    waiting.apply(inputRecord(rowsFrom(0, 1), 0));
    expect(thrownBy(() => waiting.snapshot())).toBeInstanceOf(InvariantError);
  });
});
