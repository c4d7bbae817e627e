import { tableFromIPC } from "apache-arrow";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ReadMemory } from "#shared/events/arrow/read-memory.ts";
import {
  decodeBlock,
  decodeClean,
  decodeLate,
  decodeWindows,
  encodeBlock,
  encodeClean,
  encodeLate,
  encodeWindows,
} from "#shared/events/block.ts";
import {
  type BytesColumn,
  type CleanColumns,
  type DictionaryColumn,
  type EventColumns,
  type LateColumns,
  WINDOW_KINDS,
  type WindowColumns,
} from "#shared/events/columns.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

const META = { generation: 3, topic: "events.raw", partition: 7, firstSourceOffset: 5, lastSourceOffset: 9e15, rulesVersion: 2 };

const text = fc.option(fc.string({ unit: "grapheme", maxLength: 12 }), { nil: null });
const word = fc.integer({ min: 0, max: 0xffffffff });
const row = fc.record({
  offset: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  id: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  time: fc.integer({ min: -8.64e15, max: 8.64e15 }),
  low: word,
  high: word,
  type: fc.constantFrom("page_view", "click", null),
  value: fc.option(fc.double({ noNaN: true }), { nil: Number.NaN }),
  text,
  other: text,
  blob: fc.option(fc.uint8Array({ maxLength: 20 }), { nil: null }),
  count: word,
  small: fc.integer({ min: 0, max: 2 }),
});
type Row = typeof row extends fc.Arbitrary<infer T> ? T : never;
const rows = fc.array(row, { maxLength: 40 });

function bytesOf(values: readonly (string | Uint8Array | null)[]): BytesColumn {
  const parts = values.map((value) => Buffer.from(value ?? ""));
  const offsets = new Int32Array(values.length + 1);
  for (const [i, part] of parts.entries()) offsets[i + 1] = offsets[i]! + part.length;
  const validity = new Uint8Array((values.length + 7) >> 3);
  for (const [i, value] of values.entries()) if (value !== null) validity[i >> 3]! |= 1 << (i & 7);
  return { offsets, bytes: new Uint8Array(Buffer.concat(parts)), validity };
}

function dictionaryOf(values: readonly (string | null)[]): DictionaryColumn {
  const known = [...new Set(values.filter((value) => value !== null))];
  return { codes: Int16Array.from(values, (value) => (value === null ? -1 : known.indexOf(value))), values: known };
}

const doubles = (all: readonly Row[], of: (one: Row) => number): Float64Array => Float64Array.from(all, of);

function sharedColumns(all: readonly Row[]) {
  return {
    rows: all.length,
    sourceOffset: doubles(all, (one) => one.offset),
    eventId: new Uint8Array(Buffer.concat(all.map((one) => one.id))),
    eventTimeMs: doubles(all, (one) => one.time),
    userId: Uint32Array.from(all.flatMap((one) => [one.low, one.high])),
    eventType: dictionaryOf(all.map((one) => one.type)),
    source: dictionaryOf(all.map((one) => one.text)),
    sessionId: bytesOf(all.map((one) => one.text)),
    value: doubles(all, (one) => one.value),
    deviceInfo: bytesOf(all.map((one) => one.other)),
    geoLocation: bytesOf(all.map((one) => one.text)),
    properties: bytesOf(all.map((one) => one.other ?? "{}")),
    reason: dictionaryOf(all.map((one) => one.other)),
  };
}

function eventColumns(all: readonly Row[]): EventColumns {
  return {
    ...sharedColumns(all),
    fingerprint: Uint32Array.from(all, (one) => one.count),
    verdict: Uint8Array.from(all, (one) => one.small),
    pointer: bytesOf(all.map((one) => one.other)),
    rawKey: bytesOf(all.map((one) => one.blob)),
    raw: bytesOf(all.map((one) => one.blob)),
    headers: bytesOf(all.map((one) => one.blob)),
  };
}

function cleanColumns(all: readonly Row[]): CleanColumns {
  return {
    ...sharedColumns(all),
    logTimeMs: doubles(all, (one) => one.time),
    windowEvents: Uint32Array.from(all, (one) => one.count),
    sessionStartMs: doubles(all, (one) => one.time),
    sessionEvents: Uint32Array.from(all, (one) => one.low),
    score: doubles(all, (one) => one.value),
    enrichment: dictionaryOf(all.map((one) => one.other)),
  };
}

function lateColumns(all: readonly Row[]): LateColumns {
  return { ...cleanColumns(all), lateKind: Uint8Array.from(all, (one) => one.small), lateWindowStartMs: doubles(all, (one) => one.time) };
}

function windowColumns(all: readonly Row[]): WindowColumns {
  return {
    rows: all.length,
    kind: Uint8Array.from(all, (one) => one.small),
    userId: Uint32Array.from(all.flatMap((one) => [one.low, one.high])),
    windowStartMs: doubles(all, (one) => one.time),
    windowEndMs: doubles(all, (one) => one.time),
    events: Uint32Array.from(all, (one) => one.count),
    valueCount: Uint32Array.from(all, (one) => one.low),
    valueSum: doubles(all, (one) => one.value),
    valueMin: doubles(all, (one) => one.value),
    valueMax: doubles(all, (one) => one.value),
    firstEventMs: doubles(all, (one) => one.time),
    lastEventMs: doubles(all, (one) => one.time),
  };
}

/** Columns as plain values, so that two layouts of the same content are equal. */
function plain(columns: object): Record<string, unknown> {
  const count = (columns as { rows: number }).rows;
  return Object.fromEntries(
    Object.entries(columns).map(([name, column]: [string, unknown]) => {
      if (typeof column === "number") return [name, column];
      if (ArrayBuffer.isView(column)) return [name, [...(column as Float64Array)]];
      if ("codes" in (column as object)) {
        const { codes, values } = column as DictionaryColumn;
        return [name, Array.from(codes, (code) => (code < 0 ? null : values[code]))];
      }
      const { offsets, bytes, validity } = column as BytesColumn;
      return [
        name,
        Array.from({ length: count }, (_, i) =>
          validity !== null && (validity[i >> 3]! & (1 << (i & 7))) === 0
            ? null
            : Buffer.from(bytes.subarray(offsets[i], offsets[i + 1])).toString("hex"),
        ),
      ];
    }),
  );
}

/** At an address that no typed array accepts, as a value inside a fetched batch is. */
function misplaced(bytes: Uint8Array): Uint8Array {
  const larger = Buffer.alloc(bytes.length + 9);
  larger.set(bytes, 3);
  return larger.subarray(3, 3 + bytes.length);
}

describe("blocks", () => {
  test("come back as they were: events with their meta data, clean rows, late rows, windows; wherever they lie in memory", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const events = decodeBlock(misplaced(encodeBlock(eventColumns(all), META)));
        expect(plain(events.columns)).toEqual(plain(eventColumns(all)));
        expect(events.meta).toEqual(META);
        expect(plain(decodeClean(misplaced(encodeClean(cleanColumns(all)))))).toEqual(plain(cleanColumns(all)));
        expect(plain(decodeLate(encodeLate(lateColumns(all))))).toEqual(plain(lateColumns(all)));
        expect(plain(decodeWindows(encodeWindows(windowColumns(all))))).toEqual(plain(windowColumns(all)));
      }),
      { numRuns: 300 },
    );
  });

  test("come back as they were one after the other in the memory of the one before", () => {
    const memory = new ReadMemory();
    fc.assert(
      fc.property(rows, fc.boolean(), (all, isMisplaced) => {
        const bytes = encodeBlock(eventColumns(all), META);
        expect(plain(decodeBlock(isMisplaced ? misplaced(bytes) : bytes, memory).columns)).toEqual(plain(eventColumns(all)));
      }),
      { numRuns: 200 },
    );
  });

  test("are the same bytes for the same columns", () => {
    fc.assert(
      fc.property(rows, (all) => {
        expect(Buffer.compare(encodeClean(cleanColumns(all)), encodeClean(cleanColumns(all)))).toBe(0);
        expect(Buffer.compare(encodeClean(cleanColumns(all)), encodeClean(decodeClean(encodeClean(cleanColumns(all)))))).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test("read the same with the Arrow project's own reader", () => {
    fc.assert(
      fc.property(rows, (all) => {
        const table = tableFromIPC(encodeBlock(eventColumns(all), META));
        expect(table.numRows).toBe(all.length);
        expect(table.schema.metadata.get("topic")).toBe("events.raw");
        for (const [i, one] of all.entries()) {
          const read = table.get(i)!;
          expect(read["source_offset"]).toBe(BigInt(one.offset));
          expect(Buffer.from(read["event_id"] as Uint8Array).equals(Buffer.from(one.id))).toBe(true);
          expect(read["user_id"]).toBe((BigInt(one.high) << 32n) | BigInt(one.low));
          expect(read["event_type"]).toBe(one.type);
          expect(read["session_id"]).toBe(one.text);
          expect(read["value"]).toBe(Number.isNaN(one.value) ? null : one.value);
          expect(read["fingerprint"]).toBe(one.count);
          expect(read["raw"] === null ? null : Buffer.from(read["raw"] as Uint8Array).toString("hex")).toBe(
            one.blob === null ? null : Buffer.from(one.blob).toString("hex"),
          );
        }
        const windows = tableFromIPC(encodeWindows(windowColumns(all)));
        expect(all.map((_, i) => windows.get(i)!["kind"] as string)).toEqual(all.map((one) => WINDOW_KINDS[one.small]));
      }),
      { numRuns: 100 },
    );
  });

  test("damaged anywhere are refused as corrupt or decode to columns that can be walked; never another error, never without end", () => {
    fc.assert(
      fc.property(rows, fc.nat(), fc.integer({ min: 1, max: 255 }), fc.boolean(), (all, place, flip, cut) => {
        const whole = encodeBlock(eventColumns(all), META);
        const damaged = cut ? whole.slice(0, place % whole.length) : whole.slice();
        if (!cut) damaged[place % damaged.length]! ^= flip;
        try {
          plain(decodeBlock(damaged).columns);
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(CorruptStateError);
        }
      }),
      { numRuns: 3_000 },
    );
  });
});
