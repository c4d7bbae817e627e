/**
 * The blocks that travel between the stages: columns to Arrow IPC streams and back (docs/decisions/0003-arrow-blocks.md). Any Arrow reader can
 * read them. Equal columns give equal bytes. Decoding throws CorruptStateError on anything that is not exactly such a block.
 */
import type { ReadMemory } from "./arrow/read-memory.ts";
import { decodeColumns, type ArrowTable } from "./arrow/reader.ts";
import { defineSchema, type ArrowColumn, type ArrowField, type ArrowSchema } from "./arrow/schema.ts";
import { encodeColumns, type Allocate, type ArrowMetadata } from "./arrow/writer.ts";
import { corrupt } from "./arrow/flatbuffer.ts";
import {
  WINDOW_KINDS,
  type BytesColumn,
  type CleanColumns,
  type DictionaryColumn,
  type EventColumns,
  type LateColumns,
  type WindowColumns,
} from "./columns.ts";

/** What a block of events.valid says of itself, as schema metadata. */
export interface BlockMeta {
  readonly generation: number;
  /** Where the rows come from: a topic of role `raw`. */
  readonly topic: string;
  readonly partition: number;
  readonly firstSourceOffset: number;
  readonly lastSourceOffset: number;
  readonly rulesVersion: number;
}

const META_KEYS = ["generation", "topic", "partition", "first_offset", "last_offset", "rules_version"] as const;

const EVENT_FIELDS: readonly ArrowField[] = [
  { name: "source_offset", type: "int64" },
  { name: "event_id", type: "fixed16" },
  { name: "event_time", type: "timestamp" },
  { name: "user_id", type: "uint64" },
  { name: "event_type", type: "dictionary16" },
  { name: "source", type: "dictionary16" },
  { name: "session_id", type: "utf8" },
  { name: "value", type: "float64" },
  { name: "device_info", type: "utf8" },
  { name: "geo_location", type: "utf8" },
  { name: "properties", type: "utf8" },
];

const BLOCK = defineSchema([
  ...EVENT_FIELDS,
  { name: "fingerprint", type: "uint32" },
  { name: "verdict", type: "uint8" },
  { name: "reason", type: "dictionary16" },
  { name: "pointer", type: "utf8" },
  { name: "raw_key", type: "binary" },
  { name: "raw", type: "binary" },
  { name: "headers", type: "binary" },
]);

/** What fold version 1 wrote: its records stay readable. */
const CLEAN_FIELDS_1: readonly ArrowField[] = [
  ...EVENT_FIELDS,
  { name: "reason", type: "dictionary16" },
  { name: "timestamp", type: "timestamp" },
  { name: "window_events", type: "uint32" },
  { name: "session_start", type: "timestamp" },
  { name: "session_events", type: "uint32" },
];

/** Also what the table `events` takes, by name. */
export const CLEAN_FIELDS: readonly ArrowField[] = [
  ...CLEAN_FIELDS_1,
  { name: "score", type: "float64" },
  { name: "enrichment", type: "dictionary16" },
];

const LATE_FIELDS: readonly ArrowField[] = [
  { name: "late_kind", type: "dictionary16" },
  { name: "late_window_start", type: "timestamp" },
];

const CLEAN = defineSchema(CLEAN_FIELDS);
const CLEAN_1 = defineSchema(CLEAN_FIELDS_1);
const LATE = defineSchema([...CLEAN_FIELDS, ...LATE_FIELDS]);
const LATE_1 = defineSchema([...CLEAN_FIELDS_1, ...LATE_FIELDS]);

/** Also what the table `windows` takes, by name. */
export const WINDOW_FIELDS: readonly ArrowField[] = [
  { name: "kind", type: "dictionary16" },
  { name: "user_id", type: "uint64" },
  { name: "window_start", type: "timestamp" },
  { name: "window_end", type: "timestamp" },
  { name: "events", type: "uint32" },
  { name: "value_count", type: "uint32" },
  { name: "value_sum", type: "float64" },
  { name: "value_min", type: "float64" },
  { name: "value_max", type: "float64" },
  { name: "first_event", type: "timestamp" },
  { name: "last_event", type: "timestamp" },
];

const WINDOWS = defineSchema(WINDOW_FIELDS);

export function encodeBlock(columns: EventColumns, meta: BlockMeta, allocate?: Allocate): Uint8Array {
  const metadata: ArrowMetadata = [
    ["generation", String(meta.generation)],
    ["topic", meta.topic],
    ["partition", String(meta.partition)],
    ["first_offset", String(meta.firstSourceOffset)],
    ["last_offset", String(meta.lastSourceOffset)],
    ["rules_version", String(meta.rulesVersion)],
  ];
  const tail = [columns.fingerprint, columns.verdict, columns.reason, columns.pointer, columns.rawKey, columns.raw, columns.headers];
  return encodeColumns(BLOCK, columns.rows, [...eventColumns(columns), ...tail], metadata, allocate);
}

/** With `memory` the columns are valid until it is used again. */
export function decodeBlock(bytes: Uint8Array, memory?: ReadMemory): { columns: EventColumns; meta: BlockMeta } {
  const { rows, columns, metadata } = decodeColumns(BLOCK, bytes, memory);
  const texts = META_KEYS.map((key) => metadata.get(key));
  const [generation, , partition, firstSourceOffset, lastSourceOffset, rulesVersion] = texts.map(Number);
  const topic = texts[1];
  const numbers = [generation, partition, firstSourceOffset, lastSourceOffset, rulesVersion];
  if (topic === undefined || !numbers.every((number) => Number.isSafeInteger(number))) throw corrupt("lacks its generation or position");
  return {
    columns: {
      rows,
      ...decodedEvent(columns),
      fingerprint: columns[11] as Uint32Array,
      verdict: columns[12] as Uint8Array,
      reason: columns[13] as DictionaryColumn,
      pointer: columns[14] as BytesColumn,
      rawKey: columns[15] as BytesColumn,
      raw: columns[16] as BytesColumn,
      headers: columns[17] as BytesColumn,
    },
    meta: {
      generation: generation!,
      topic,
      partition: partition!,
      firstSourceOffset: firstSourceOffset!,
      lastSourceOffset: lastSourceOffset!,
      rulesVersion: rulesVersion!,
    },
  };
}

export function encodeClean(columns: CleanColumns, allocate?: Allocate): Uint8Array {
  return encodeColumns(CLEAN, columns.rows, cleanColumns(columns), [], allocate);
}

export function decodeClean(bytes: Uint8Array): CleanColumns {
  return decodedClean(decodeEither(CLEAN, CLEAN_1, bytes));
}

export function encodeLate(columns: LateColumns): Uint8Array {
  return encodeColumns(LATE, columns.rows, [
    ...cleanColumns(columns),
    kindCodes(columns.lateKind, columns.rows),
    columns.lateWindowStartMs,
  ]);
}

export function decodeLate(bytes: Uint8Array): LateColumns {
  const table = decodeEither(LATE, LATE_1, bytes);
  return {
    ...decodedClean(table),
    lateKind: decodedKinds(table.columns.at(-2) as DictionaryColumn),
    lateWindowStartMs: table.columns.at(-1) as Float64Array,
  };
}

/** @throws CorruptStateError what the newer schema says of the bytes, if they are of neither. */
function decodeEither(newer: ArrowSchema, older: ArrowSchema, bytes: Uint8Array): ArrowTable {
  try {
    return decodeColumns(newer, bytes);
  } catch (thrown) {
    try {
      return decodeColumns(older, bytes);
    } catch {
      throw thrown;
    }
  }
}

export function encodeWindows(columns: WindowColumns, allocate?: Allocate): Uint8Array {
  return encodeColumns(
    WINDOWS,
    columns.rows,
    [
      kindCodes(columns.kind, columns.rows),
      columns.userId,
      columns.windowStartMs,
      columns.windowEndMs,
      columns.events,
      columns.valueCount,
      columns.valueSum,
      columns.valueMin,
      columns.valueMax,
      columns.firstEventMs,
      columns.lastEventMs,
    ],
    [],
    allocate,
  );
}

export function decodeWindows(bytes: Uint8Array): WindowColumns {
  const { rows, columns } = decodeColumns(WINDOWS, bytes);
  return {
    rows,
    kind: decodedKinds(columns[0] as DictionaryColumn),
    userId: columns[1] as Uint32Array,
    windowStartMs: columns[2] as Float64Array,
    windowEndMs: columns[3] as Float64Array,
    events: columns[4] as Uint32Array,
    valueCount: columns[5] as Uint32Array,
    valueSum: columns[6] as Float64Array,
    valueMin: columns[7] as Float64Array,
    valueMax: columns[8] as Float64Array,
    firstEventMs: columns[9] as Float64Array,
    lastEventMs: columns[10] as Float64Array,
  };
}

type SharedColumns = Pick<
  EventColumns,
  | "sourceOffset"
  | "eventId"
  | "eventTimeMs"
  | "userId"
  | "eventType"
  | "source"
  | "sessionId"
  | "value"
  | "deviceInfo"
  | "geoLocation"
  | "properties"
>;

/** In the order of {@link EVENT_FIELDS}. */
function eventColumns(columns: SharedColumns): ArrowColumn[] {
  return [
    columns.sourceOffset,
    columns.eventId,
    columns.eventTimeMs,
    columns.userId,
    columns.eventType,
    columns.source,
    columns.sessionId,
    columns.value,
    columns.deviceInfo,
    columns.geoLocation,
    columns.properties,
  ];
}

function decodedEvent(columns: readonly ArrowColumn[]): SharedColumns {
  return {
    sourceOffset: columns[0] as Float64Array,
    eventId: columns[1] as Uint8Array,
    eventTimeMs: columns[2] as Float64Array,
    userId: columns[3] as Uint32Array,
    eventType: columns[4] as DictionaryColumn,
    source: columns[5] as DictionaryColumn,
    sessionId: columns[6] as BytesColumn,
    value: columns[7] as Float64Array,
    deviceInfo: columns[8] as BytesColumn,
    geoLocation: columns[9] as BytesColumn,
    properties: columns[10] as BytesColumn,
  };
}

/** In the order of {@link CLEAN_FIELDS}. */
function cleanColumns(columns: CleanColumns): ArrowColumn[] {
  return [
    ...eventColumns(columns),
    columns.reason,
    columns.logTimeMs,
    columns.windowEvents,
    columns.sessionStartMs,
    columns.sessionEvents,
    columns.score,
    columns.enrichment,
  ];
}

function decodedClean({ rows, fields, columns }: ArrowTable): CleanColumns {
  const isOld = fields[16]?.name !== "score";
  return {
    rows,
    ...decodedEvent(columns),
    reason: columns[11] as DictionaryColumn,
    logTimeMs: columns[12] as Float64Array,
    windowEvents: columns[13] as Uint32Array,
    sessionStartMs: columns[14] as Float64Array,
    sessionEvents: columns[15] as Uint32Array,
    score: isOld ? new Float64Array(rows).fill(Number.NaN) : (columns[16] as Float64Array),
    enrichment: isOld ? { codes: new Int16Array(rows).fill(-1), values: [] } : (columns[17] as DictionaryColumn),
  };
}

function kindCodes(kinds: Uint8Array, rows: number): DictionaryColumn {
  const codes = new Int16Array(rows);
  for (let row = 0; row < rows; row++) codes[row] = kinds[row]!;
  return { codes, values: WINDOW_KINDS };
}

function decodedKinds({ codes, values }: DictionaryColumn): Uint8Array {
  const known = values.map((value) => (WINDOW_KINDS as readonly string[]).indexOf(value));
  if (known.includes(-1)) throw corrupt("names a window kind that this reader does not know");
  const kinds = new Uint8Array(codes.length);
  for (let row = 0; row < codes.length; row++) {
    if (codes[row]! < 0) throw corrupt("has a window without a kind");
    kinds[row] = known[codes[row]!]!;
  }
  return kinds;
}
