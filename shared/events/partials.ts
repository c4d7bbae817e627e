/**
 * Records of metrics.partials: what one partition counted in one minute of log time, by source and event type, as an Arrow IPC stream; without a value
 * where only time went by. Headers: `mark`, `gen`, `p`, `oseq`, `count`. Counts are whole, sums of values are the partition's own: merging adds.
 */
import { decodeColumns } from "./arrow/reader.ts";
import { defineSchema, type ArrowColumn, type ArrowField } from "./arrow/schema.ts";
import { encodeColumns } from "./arrow/writer.ts";
import { corrupt } from "./arrow/flatbuffer.ts";
import { type BytesColumn, dictionaryOf, type DictionaryColumn } from "./columns.ts";

export const MINUTE_MS = 60_000;

/**
 * What is counted per source and event type, in the order of the columns. total = clean + duplicate + late + the rejected ones. Sums that merge by
 * adding; minimum and maximum of the values follow them.
 */
export const COUNTERS = [
  "total",
  "clean",
  "duplicate",
  "late",
  /** Dead letters by the stage of their reason: record, encoding, json · schema, rule · identity, key, and conflicts of ids · time. */
  "rejected_form",
  "rejected_schema",
  "rejected_identity",
  "rejected_time",
  /** How many fail each dimension of quality (docs/QUALITY.md); uniqueness fails for `duplicate`. */
  "incomplete",
  "inconsistent",
  "untimely",
  "inaccurate",
  /** Of the rows by where they went. A row: its variable-length texts + 48 for its fixed columns; a reject: its key and value as they came. */
  "clean_bytes",
  "late_bytes",
  "dead_letter_bytes",
  "value_count",
  "latency_sum_ms",
  "value_sum",
] as const;

export type Counter = (typeof COUNTERS)[number];

export const COUNTER = Object.fromEntries(COUNTERS.map((name, i) => [name, i])) as Readonly<Record<Counter, number>>;

/** Dead letters of a cell, whatever the stage of their reason. */
export function rejectedIn(cell: Float64Array): number {
  return cell[COUNTER.rejected_form]! + cell[COUNTER.rejected_schema]! + cell[COUNTER.rejected_identity]! + cell[COUNTER.rejected_time]!;
}

/** Two buckets per power of two of (latency + 1), up to 2^20 ms, in which the last one has no end. */
export const LATENCY_BUCKETS = 40;

/** One cell: counters, then minimum and maximum of the values (NaN = none), then the buckets. */
export const CELL_WIDTH = COUNTERS.length + 2 + LATENCY_BUCKETS;
export const VALUE_MIN = COUNTERS.length;
export const VALUE_MAX = COUNTERS.length + 1;
export const FIRST_BUCKET = COUNTERS.length + 2;

export function latencyBucket(latencyMs: number): number {
  if (latencyMs < 1) return 0;
  const shifted = latencyMs >= 1_048_575 ? 1_048_575 : (latencyMs | 0) + 1;
  const octave = 31 - Math.clz32(shifted);
  return octave * 2 + ((shifted >> (octave - 1)) & 1);
}

/** The smallest latency of the bucket. */
export function bucketStartMs(bucket: number): number {
  const octave = bucket >> 1;
  return 2 ** octave + (bucket & 1) * 2 ** (octave - 1) - 1;
}

/** Cell i has key (sources[i], types[i]) and numbers [i * CELL_WIDTH, (i + 1) * CELL_WIDTH). Empty text = the event named none. */
export interface PartialCells {
  readonly minuteMs: number;
  readonly sources: readonly string[];
  readonly types: readonly string[];
  readonly numbers: Float64Array;
}

const FIELDS: readonly ArrowField[] = [
  { name: "minute", type: "timestamp" },
  { name: "source", type: "dictionary16" },
  { name: "event_type", type: "dictionary16" },
  ...COUNTERS.map((name): ArrowField => ({ name, type: name === "value_sum" ? "float64" : "int64" })),
  { name: "value_min", type: "float64" },
  { name: "value_max", type: "float64" },
  /** LATENCY_BUCKETS counts, 32 bits each, little-endian. */
  { name: "latency_buckets", type: "binary" },
];

const PARTIAL = defineSchema(FIELDS);
const HISTOGRAM_BYTES = LATENCY_BUCKETS * 4;

export function encodePartial({ minuteMs, sources, types, numbers }: PartialCells): Uint8Array {
  const rows = sources.length;
  const column = (at: number): Float64Array => Float64Array.from({ length: rows }, (_, row) => numbers[row * CELL_WIDTH + at]!);
  const buckets = new DataView(new ArrayBuffer(rows * HISTOGRAM_BYTES));
  for (let row = 0; row < rows; row++) {
    const from = row * CELL_WIDTH + FIRST_BUCKET;
    for (let i = 0; i < LATENCY_BUCKETS; i++) buckets.setUint32((row * LATENCY_BUCKETS + i) * 4, numbers[from + i]!, true);
  }
  const histogram: BytesColumn = {
    offsets: Int32Array.from({ length: rows + 1 }, (_, row) => row * HISTOGRAM_BYTES),
    bytes: new Uint8Array(buckets.buffer),
    validity: null,
  };
  const counters = COUNTERS.map((_, i) => column(i));
  const minutes = new Float64Array(rows).fill(minuteMs);
  return encodeColumns(PARTIAL, rows, [
    minutes,
    dictionaryOf(sources),
    dictionaryOf(types),
    ...counters,
    column(VALUE_MIN),
    column(VALUE_MAX),
    histogram,
  ]);
}

/** @throws CorruptStateError on anything but such a block of one minute with at least one cell. */
export function decodePartial(bytes: Uint8Array): PartialCells {
  const { rows, columns } = decodeColumns(PARTIAL, bytes);
  const minutes = columns[0] as Float64Array;
  const minuteMs = minutes[0];
  if (minuteMs === undefined || minutes.some((minute) => minute !== minuteMs) || minuteMs % MINUTE_MS !== 0)
    throw corrupt("is not of one minute");
  const numbers = new Float64Array(rows * CELL_WIDTH);
  for (let i = 0; i < FIRST_BUCKET; i++) {
    const column = columns[3 + i] as Float64Array;
    for (let row = 0; row < rows; row++) numbers[row * CELL_WIDTH + i] = column[row]!;
  }
  fillBuckets(numbers, rows, columns.at(-1) as BytesColumn);
  return { minuteMs, sources: decodedTexts(columns[1]!), types: decodedTexts(columns[2]!), numbers };
}

function fillBuckets(numbers: Float64Array, rows: number, { offsets, bytes }: BytesColumn): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let row = 0; row < rows; row++) {
    const at = offsets[row]!;
    if (offsets[row + 1]! - at !== HISTOGRAM_BYTES) throw corrupt("has a histogram of another size");
    for (let i = 0; i < LATENCY_BUCKETS; i++) numbers[row * CELL_WIDTH + FIRST_BUCKET + i] = view.getUint32(at + i * 4, true);
  }
}

function decodedTexts(column: ArrowColumn): string[] {
  const { codes, values } = column as DictionaryColumn;
  return Array.from(codes, (code) => values[code] ?? "");
}
