/** Builds the columns of a block from plain row objects, and reads columns back: for tests, where clarity counts and speed does not. */
import type { BytesColumn, CleanColumns, DictionaryColumn, EventColumns, LateColumns, WindowColumns } from "#shared/events/columns.ts";
import { VERDICT, WINDOW_KINDS } from "#shared/events/columns.ts";
import { encodeHeaders } from "#shared/events/headers.ts";
import { murmur2 } from "#shared/events/partitioner.ts";

export interface EventRow {
  readonly sourceOffset: number;
  /** A number n stands for the id whose last bytes hold n. */
  readonly eventId?: number | Uint8Array;
  readonly eventTimeMs?: number;
  readonly userId?: number | bigint;
  readonly eventType?: string | null;
  readonly source?: string | null;
  readonly sessionId?: string | null;
  readonly value?: number | null;
  readonly deviceInfo?: string | null;
  readonly geoLocation?: string | null;
  readonly properties?: string | null;
  /** Default: made from the other fields, so that equal events have equal fingerprints. */
  readonly fingerprint?: number;
  readonly verdict?: keyof typeof VERDICT;
  readonly reason?: string | null;
  readonly pointer?: string | null;
  readonly rawKey?: string | Uint8Array | null;
  readonly raw?: string | Uint8Array | null;
  readonly headers?: readonly (readonly [key: string, value: Uint8Array])[] | null;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function eventIdOf(id: number | Uint8Array): Uint8Array {
  if (typeof id !== "number") return id;
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(8, Math.floor(id / 4294967296));
  view.setUint32(12, id >>> 0);
  return bytes;
}

export function bytesColumn(values: readonly (string | Uint8Array | null)[]): BytesColumn {
  const parts = values.map((value) => (typeof value === "string" ? encoder.encode(value) : value));
  const offsets = new Int32Array(values.length + 1);
  for (const [i, part] of parts.entries()) offsets[i + 1] = offsets[i]! + (part?.length ?? 0);
  const bytes = new Uint8Array(offsets[values.length]!);
  for (const [i, part] of parts.entries()) if (part !== null) bytes.set(part, offsets[i]);
  if (!values.includes(null)) return { offsets, bytes, validity: null };
  const validity = new Uint8Array(Math.ceil(values.length / 8));
  for (const [i, value] of values.entries()) if (value !== null) validity[i >> 3]! |= 1 << (i & 7);
  return { offsets, bytes, validity };
}

export function dictionaryColumn(values: readonly (string | null)[]): DictionaryColumn {
  const distinct = [...new Set(values.filter((value) => value !== null))];
  return { codes: Int16Array.from(values, (value) => (value === null ? -1 : distinct.indexOf(value))), values: distinct };
}

function words(userId: number | bigint): [number, number] {
  const id = BigInt(userId);
  return [Number(id & 0xffffffffn), Number(id >> 32n)];
}

function fingerprintOf(row: EventRow): number {
  const { sourceOffset: _offset, fingerprint, verdict: _verdict, reason: _reason, headers: _headers, eventId = 0, ...rest } = row;
  if (fingerprint !== undefined) return fingerprint;
  const text = JSON.stringify([Array.from(eventIdOf(eventId)), rest], (_key, value: unknown) =>
    typeof value === "bigint" ? value.toString() : value,
  );
  return murmur2(encoder.encode(text)) >>> 0;
}

export function eventColumns(rows: readonly EventRow[]): EventColumns {
  const eventId = new Uint8Array(rows.length * 16);
  const userId = new Uint32Array(rows.length * 2);
  for (const [i, row] of rows.entries()) {
    eventId.set(eventIdOf(row.eventId ?? 0), i * 16);
    userId.set(words(row.userId ?? 0), i * 2);
  }
  return {
    rows: rows.length,
    sourceOffset: Float64Array.from(rows, (row) => row.sourceOffset),
    eventId,
    eventTimeMs: Float64Array.from(rows, (row) => row.eventTimeMs ?? 0),
    userId,
    eventType: dictionaryColumn(rows.map((row) => (row.eventType === undefined ? "click" : row.eventType))),
    source: dictionaryColumn(rows.map((row) => row.source ?? null)),
    sessionId: bytesColumn(rows.map((row) => row.sessionId ?? null)),
    value: Float64Array.from(rows, (row) => row.value ?? Number.NaN),
    deviceInfo: bytesColumn(rows.map((row) => row.deviceInfo ?? null)),
    geoLocation: bytesColumn(rows.map((row) => row.geoLocation ?? null)),
    properties: bytesColumn(rows.map((row) => (row.properties === undefined ? "{}" : row.properties))),
    fingerprint: Uint32Array.from(rows, fingerprintOf),
    verdict: Uint8Array.from(rows, (row) => VERDICT[row.verdict ?? "ok"]),
    reason: dictionaryColumn(rows.map((row) => row.reason ?? null)),
    pointer: bytesColumn(rows.map((row) => row.pointer ?? null)),
    rawKey: bytesColumn(rows.map((row) => row.rawKey ?? null)),
    raw: bytesColumn(rows.map((row) => row.raw ?? null)),
    headers: bytesColumn(rows.map((row) => (row.headers === undefined || row.headers === null ? null : encodeHeaders(row.headers)))),
  };
}

/** A row of events.clean as an object. */
export interface CleanRow {
  readonly sourceOffset: number;
  readonly eventId: string;
  readonly eventTimeMs: number;
  readonly userId: bigint;
  readonly eventType: string | null;
  readonly source: string | null;
  readonly sessionId: string | null;
  readonly value: number | null;
  readonly deviceInfo: string | null;
  readonly geoLocation: string | null;
  readonly properties: string | null;
  readonly reason: string | null;
  readonly logTimeMs: number;
  readonly windowEvents: number;
  readonly sessionStartMs: number;
  readonly sessionEvents: number;
  readonly score: number | null;
  readonly enrichment: string | null;
}

export interface LateRow extends CleanRow {
  readonly lateKind: (typeof WINDOW_KINDS)[number];
  readonly lateWindowStartMs: number;
}

export interface WindowRow {
  readonly kind: (typeof WINDOW_KINDS)[number];
  readonly userId: bigint;
  readonly windowStartMs: number;
  readonly windowEndMs: number;
  readonly events: number;
  readonly valueCount: number;
  readonly valueSum: number;
  readonly valueMin: number | null;
  readonly valueMax: number | null;
  readonly firstEventMs: number;
  readonly lastEventMs: number;
}

export function textAt(column: BytesColumn, row: number): string | null {
  if (column.validity !== null && (column.validity[row >> 3]! & (1 << (row & 7))) === 0) return null;
  return decoder.decode(column.bytes.subarray(column.offsets[row], column.offsets[row + 1]));
}

export function wordAt(column: DictionaryColumn, row: number): string | null {
  const code = column.codes[row]!;
  return code === -1 ? null : column.values[code]!;
}

function numberAt(column: Float64Array, row: number): number | null {
  return Number.isNaN(column[row]) ? null : column[row]!;
}

export function userIdAt(column: Uint32Array, row: number): bigint {
  return (BigInt(column[row * 2 + 1]!) << 32n) | BigInt(column[row * 2]!);
}

export function cleanRows(columns: CleanColumns): CleanRow[] {
  return Array.from({ length: columns.rows }, (_, i) => ({
    sourceOffset: columns.sourceOffset[i]!,
    eventId: Array.from(columns.eventId.subarray(i * 16, i * 16 + 16), (byte) => byte.toString(16).padStart(2, "0")).join(""),
    eventTimeMs: columns.eventTimeMs[i]!,
    userId: userIdAt(columns.userId, i),
    eventType: wordAt(columns.eventType, i),
    source: wordAt(columns.source, i),
    sessionId: textAt(columns.sessionId, i),
    value: numberAt(columns.value, i),
    deviceInfo: textAt(columns.deviceInfo, i),
    geoLocation: textAt(columns.geoLocation, i),
    properties: textAt(columns.properties, i),
    reason: wordAt(columns.reason, i),
    logTimeMs: columns.logTimeMs[i]!,
    windowEvents: columns.windowEvents[i]!,
    sessionStartMs: columns.sessionStartMs[i]!,
    sessionEvents: columns.sessionEvents[i]!,
    score: numberAt(columns.score, i),
    enrichment: wordAt(columns.enrichment, i),
  }));
}

export function lateRows(columns: LateColumns): LateRow[] {
  return cleanRows(columns).map((row, i) =>
    Object.assign(row, { lateKind: WINDOW_KINDS[columns.lateKind[i]!]!, lateWindowStartMs: columns.lateWindowStartMs[i]! }),
  );
}

export function windowRows(columns: WindowColumns): WindowRow[] {
  return Array.from({ length: columns.rows }, (_, i) => ({
    kind: WINDOW_KINDS[columns.kind[i]!]!,
    userId: userIdAt(columns.userId, i),
    windowStartMs: columns.windowStartMs[i]!,
    windowEndMs: columns.windowEndMs[i]!,
    events: columns.events[i]!,
    valueCount: columns.valueCount[i]!,
    valueSum: columns.valueSum[i]!,
    valueMin: numberAt(columns.valueMin, i),
    valueMax: numberAt(columns.valueMax, i),
    firstEventMs: columns.firstEventMs[i]!,
    lastEventMs: columns.lastEventMs[i]!,
  }));
}
