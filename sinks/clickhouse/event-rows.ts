/**
 * Rows of one cut as Arrow, one batch per month of event time: what the table's partitions are, so that each insert is one part (decision
 * 0004). A function of the logged rows alone: every retry and every zombie builds the same bytes.
 */
import type { ArrowColumn, ArrowField } from "#shared/events/arrow/schema.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import type { BytesColumn, CleanColumns, DictionaryColumn } from "#shared/events/columns.ts";

export interface Provenance {
  readonly lane: string;
  readonly generation: number;
  readonly partition: number;
}

/** The rows of one record: its columns and the number of its first row. */
export interface RowSource {
  readonly columns: CleanColumns;
  readonly oseq: number;
}

export interface MonthBlock {
  /** 202611 */
  readonly month: number;
  readonly rows: number;
  readonly bytes: Uint8Array;
}

const FIELDS: readonly ArrowField[] = [
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
  { name: "reason", type: "dictionary16" },
  { name: "timestamp", type: "timestamp" },
  { name: "window_events", type: "uint32" },
  { name: "session_start", type: "timestamp" },
  { name: "session_events", type: "uint32" },
  { name: "lane", type: "dictionary16" },
  { name: "gen", type: "uint16" },
  { name: "p", type: "uint16" },
  { name: "oseq", type: "int64" },
  { name: "cut", type: "int64" },
  { name: "source_offset", type: "int64" },
];
const SCHEMA = defineSchema(FIELDS);

/** Which rows of which source, in order. */
interface Selection {
  readonly rows: number;
  readonly source: Int32Array;
  readonly row: Int32Array;
}

export function monthBlocks(sources: readonly RowSource[], cut: number, provenance: Provenance): MonthBlock[] {
  const months = new Map<number, number>();
  for (const { columns } of sources) {
    for (let row = 0; row < columns.rows; row++) {
      const month = monthOf(columns.eventTimeMs[row]!);
      months.set(month, (months.get(month) ?? 0) + 1);
    }
  }
  return [...months]
    .toSorted(([a], [b]) => a - b)
    .map(([month, rows]) => ({ month, rows, bytes: encodeRows(sources, select(sources, month, rows), cut, provenance) }));
}

/** The last answer is remembered: rows of one month come in long runs. */
let knownFromMs = 1;
let knownToMs = 0;
let knownMonth = 0;

function monthOf(timeMs: number): number {
  if (timeMs >= knownFromMs && timeMs < knownToMs) return knownMonth;
  const date = new Date(timeMs);
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth();
  knownFromMs = Date.UTC(year, month);
  knownToMs = Date.UTC(year, month + 1);
  knownMonth = year * 100 + month + 1;
  return knownMonth;
}

function select(sources: readonly RowSource[], month: number, rows: number): Selection {
  const source = new Int32Array(rows);
  const row = new Int32Array(rows);
  let at = 0;
  for (let i = 0; i < sources.length; i++) {
    const { columns } = sources[i]!;
    for (let r = 0; r < columns.rows; r++) {
      if (monthOf(columns.eventTimeMs[r]!) !== month) continue;
      source[at] = i;
      row[at++] = r;
    }
  }
  return { rows, source, row };
}

function encodeRows(
  sources: readonly RowSource[],
  selection: Selection,
  cut: number,
  { lane, generation, partition }: Provenance,
): Uint8Array {
  const { rows } = selection;
  const pick = <T extends CopyTarget>(target: T, width: number, from: (columns: CleanColumns) => T): T => {
    gatherNumbers(
      target,
      width,
      selection,
      sources.map(({ columns }) => from(columns)),
    );
    return target;
  };
  const oseq = new Float64Array(rows);
  for (let i = 0; i < rows; i++) oseq[i] = sources[selection.source[i]!]!.oseq + selection.row[i]!;
  const bytes = (from: (columns: CleanColumns) => BytesColumn): BytesColumn =>
    gatherBytes(
      selection,
      sources.map(({ columns }) => from(columns)),
    );
  const codes = (from: (columns: CleanColumns) => DictionaryColumn): DictionaryColumn =>
    gatherDictionary(
      selection,
      sources.map(({ columns }) => from(columns)),
    );
  const columns: ArrowColumn[] = [
    pick(new Uint8Array(rows * 16), 16, (c) => c.eventId),
    pick(new Float64Array(rows), 1, (c) => c.eventTimeMs),
    pick(new Uint32Array(rows * 2), 2, (c) => c.userId),
    codes((c) => c.eventType),
    codes((c) => c.source),
    bytes((c) => c.sessionId),
    pick(new Float64Array(rows), 1, (c) => c.value),
    bytes((c) => c.deviceInfo),
    bytes((c) => c.geoLocation),
    bytes((c) => c.properties),
    codes((c) => c.reason),
    pick(new Float64Array(rows), 1, (c) => c.logTimeMs),
    pick(new Uint32Array(rows), 1, (c) => c.windowEvents),
    pick(new Float64Array(rows), 1, (c) => c.sessionStartMs),
    pick(new Uint32Array(rows), 1, (c) => c.sessionEvents),
    { codes: new Int16Array(rows), values: [lane] },
    new Uint16Array(rows).fill(generation),
    new Uint16Array(rows).fill(partition),
    oseq,
    new Float64Array(rows).fill(cut),
    pick(new Float64Array(rows), 1, (c) => c.sourceOffset),
  ];
  return encodeColumns(SCHEMA, rows, columns);
}

type CopyTarget = Uint8Array | Uint32Array | Float64Array;

function gatherNumbers(target: CopyTarget, width: number, { rows, source, row }: Selection, from: readonly CopyTarget[]): void {
  let at = 0;
  for (let i = 0; i < rows; i++) {
    const values = from[source[i]!]!;
    const start = row[i]! * width;
    for (let k = 0; k < width; k++) target[at++] = values[start + k]!;
  }
}

function gatherBytes({ rows, source, row }: Selection, from: readonly BytesColumn[]): BytesColumn {
  const offsets = new Int32Array(rows + 1);
  const validity = new Uint8Array((rows + 7) >> 3);
  let size = 0;
  for (let i = 0; i < rows; i++) {
    const column = from[source[i]!]!;
    const r = row[i]!;
    if (column.validity === null || (column.validity[r >> 3]! & (1 << (r & 7))) !== 0) {
      validity[i >> 3]! |= 1 << (i & 7);
      size += column.offsets[r + 1]! - column.offsets[r]!;
    }
    offsets[i + 1] = size;
  }
  const bytes = new Uint8Array(size);
  for (let i = 0; i < rows; i++) {
    const length = offsets[i + 1]! - offsets[i]!;
    if (length === 0) continue;
    const column = from[source[i]!]!;
    const start = column.offsets[row[i]!]!;
    bytes.set(column.bytes.subarray(start, start + length), offsets[i]);
  }
  return { offsets, bytes, validity };
}

/** One dictionary for all sources, in order of first source. */
function gatherDictionary({ rows, source, row }: Selection, from: readonly DictionaryColumn[]): DictionaryColumn {
  const known = new Map<string, number>();
  const translations = from.map(({ values }) =>
    Int16Array.from(values, (value) => {
      const code = known.get(value) ?? known.size;
      known.set(value, code);
      return code;
    }),
  );
  const codes = new Int16Array(rows);
  for (let i = 0; i < rows; i++) {
    const code = from[source[i]!]!.codes[row[i]!]!;
    codes[i] = code < 0 ? -1 : translations[source[i]!]![code]!;
  }
  return { codes, values: [...known.keys()] };
}
