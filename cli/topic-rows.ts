/** Records of the topics as rows for a person. Blocks are taken apart; ids beyond 2^53 stay text. */
import { decodeClean, decodeLate, decodeWindows } from "#shared/events/block.ts";
import { type BytesColumn, type CleanColumns, type DictionaryColumn, WINDOW_KINDS } from "#shared/events/columns.ts";
import type { FetchedRecord } from "#shared/clients/kafka/types.ts";

export const TAILS = ["raw", "clean", "windows", "dlq", "late"] as const;
export type Tail = (typeof TAILS)[number];

export type Row = Readonly<Record<string, unknown>>;

export function rowsOf(tail: Tail, partition: number, record: FetchedRecord): Row[] {
  const { value } = record;
  if (tail === "raw") return [{ partition, offset: record.offset, key: text(record.key), value: text(value) }];
  if (tail === "dlq") {
    const headers = Object.fromEntries(record.headers.map(([name, bytes]) => [name, text(bytes)]));
    return [{ partition, offset: record.offset, key: text(record.key), ...headers, value: text(value) }];
  }
  if (value === null) return [];
  if (tail === "windows") return windowRows(partition, value);
  if (tail === "clean") return cleanRows(partition, decodeClean(value));
  const late = decodeLate(value);
  return cleanRows(partition, late).map((row, i) =>
    Object.assign(row, { window: WINDOW_KINDS[late.lateKind[i]!], window_start: time(late.lateWindowStartMs[i]!) }),
  );
}

function cleanRows(partition: number, columns: CleanColumns): Row[] {
  return Array.from({ length: columns.rows }, (_, i) => ({
    partition,
    source_offset: columns.sourceOffset[i],
    event_id: uuid(columns.eventId, 16 * i),
    event_time: time(columns.eventTimeMs[i]!),
    user_id: userId(columns.userId, i),
    event_type: word(columns.eventType, i),
    source: word(columns.source, i),
    session_id: slice(columns.sessionId, i),
    value: Number.isNaN(columns.value[i]!) ? null : columns.value[i],
    properties: slice(columns.properties, i),
    reason: word(columns.reason, i),
    timestamp: time(columns.logTimeMs[i]!),
  }));
}

function windowRows(partition: number, value: Uint8Array): Row[] {
  const columns = decodeWindows(value);
  const orNull = (number: number): number | null => (Number.isNaN(number) ? null : number);
  return Array.from({ length: columns.rows }, (_, i) => ({
    partition,
    kind: WINDOW_KINDS[columns.kind[i]!],
    user_id: userId(columns.userId, i),
    window_start: time(columns.windowStartMs[i]!),
    window_end: time(columns.windowEndMs[i]!),
    events: columns.events[i],
    value_count: columns.valueCount[i],
    value_sum: columns.valueSum[i],
    value_min: orNull(columns.valueMin[i]!),
    value_max: orNull(columns.valueMax[i]!),
  }));
}

function text(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

function time(timeMs: number): string {
  return new Date(timeMs).toISOString();
}

export function uuid(bytes: Uint8Array, at: number): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset + at, 16).toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function userId(words: Uint32Array, i: number): number | string {
  const high = words[2 * i + 1]!;
  return high < 0x20_0000 ? high * 0x1_0000_0000 + words[2 * i]! : String((BigInt(high) << 32n) | BigInt(words[2 * i]!));
}

function word(column: DictionaryColumn, i: number): string | null {
  const code = column.codes[i]!;
  return code < 0 ? null : column.values[code]!;
}

function slice(column: BytesColumn, i: number): string | null {
  if (column.validity !== null && ((column.validity[i >> 3]! >> (i & 7)) & 1) === 0) return null;
  return text(column.bytes.subarray(column.offsets[i], column.offsets[i + 1]));
}
