/**
 * Writes one record batch as an Arrow IPC stream: schema, dictionaries, batch, end mark (arrow.apache.org/docs/format/Columnar.html).
 *
 * I1 Equal columns give equal bytes: padding, null slots of floats and codes and the rest of bitmaps are fixed.
 * I2 Nothing is allocated per row.
 */
import { assert } from "../../kernel/assert.ts";
import type { BytesColumn } from "../columns.ts";
import { writeI64 } from "./flatbuffer.ts";
import {
  HEADER,
  WIDTH,
  batchTemplate,
  isDictionary,
  schemaMessage,
  type ArrowColumn,
  type ArrowDictionary,
  type ArrowSchema,
} from "./schema.ts";

assert(new Uint8Array(new Uint32Array([1]).buffer)[0] === 1, "this machine is not little-endian, and Arrow streams are written as memory");

export type ArrowMetadata = readonly (readonly [key: string, value: string])[];

const CONTINUATION = 0xffffffff;
const DICTIONARY = batchTemplate(HEADER.dictionaryBatch, 1, 3);
const encoder = new TextEncoder();

/** So many bytes, of any content, that begin at a multiple of 8 in their buffer. */
export type Allocate = (sizeBytes: number) => Uint8Array;

const allocateFresh: Allocate = (sizeBytes) => new Uint8Array(Buffer.allocUnsafeSlow(sizeBytes).buffer);

interface Layout {
  /** Null count per column. */
  readonly nulls: Float64Array;
  /** Length in bytes of each buffer of the batch. */
  readonly lengths: Float64Array;
}

/** `columns` in the order of the schema's fields; they may be longer than `rows`. */
export function encodeColumns(
  schema: ArrowSchema,
  rows: number,
  columns: readonly ArrowColumn[],
  metadata: ArrowMetadata = [],
  allocate: Allocate = allocateFresh,
): Uint8Array {
  assert(columns.length === schema.fields.length, "one column per field");
  const head = schemaMessage(schema, metadata);
  const layout = measure(schema, rows, columns);
  let bodyLength = 0;
  for (const length of layout.lengths) bodyLength += pad8(length);
  let size = 8 + head.length + 8 + schema.batch.bytes.length + bodyLength + 8;
  const dictionaries: (DictionaryBody | null)[] = [];
  for (let index = 0; index < columns.length; index++) {
    if (!isDictionary(schema.fields[index]!.type)) dictionaries.push(null);
    else {
      const body = dictionaryBody((columns[index] as ArrowDictionary).values);
      dictionaries.push(body);
      size += 8 + DICTIONARY.bytes.length + body.bytes.length;
    }
  }
  // Not zeroed: every byte below is written, padding included (I1).
  const out = new StreamBuffer(allocate(size));
  out.message(head);
  for (let index = 0; index < columns.length; index++) {
    const body = dictionaries[index]!;
    if (body === null) continue;
    const at = out.message(DICTIONARY.bytes);
    writeI64(out.view, at + DICTIONARY.bodyLengthAt, body.bytes.length);
    writeI64(out.view, at + DICTIONARY.idAt, index);
    writeI64(out.view, at + DICTIONARY.rowsAt, body.rows);
    writeI64(out.view, at + DICTIONARY.nodesAt, body.rows);
    let position = 0;
    for (let buffer = 0; buffer < 3; buffer++) {
      writeI64(out.view, at + DICTIONARY.buffersAt + buffer * 16, position);
      writeI64(out.view, at + DICTIONARY.buffersAt + buffer * 16 + 8, body.lengths[buffer]!);
      position += pad8(body.lengths[buffer]!);
    }
    out.copy(body.bytes);
  }
  const at = out.message(schema.batch.bytes);
  writeI64(out.view, at + schema.batch.bodyLengthAt, bodyLength);
  writeI64(out.view, at + schema.batch.rowsAt, rows);
  for (let index = 0; index < columns.length; index++) {
    writeI64(out.view, at + schema.batch.nodesAt + index * 16, rows);
    writeI64(out.view, at + schema.batch.nodesAt + index * 16 + 8, layout.nulls[index]!);
  }
  let position = 0;
  for (let buffer = 0; buffer < layout.lengths.length; buffer++) {
    writeI64(out.view, at + schema.batch.buffersAt + buffer * 16, position);
    writeI64(out.view, at + schema.batch.buffersAt + buffer * 16 + 8, layout.lengths[buffer]!);
    position += pad8(layout.lengths[buffer]!);
  }
  for (let index = 0; index < columns.length; index++) {
    writeColumn(out, schema.fields[index]!.type, rows, columns[index]!, layout.nulls[index]!);
  }
  out.view.setUint32(out.at, CONTINUATION, true);
  out.view.setUint32(out.at + 4, 0, true);
  assert(out.at + 8 === size, "the stream has the measured size");
  return out.bytes;
}

class StreamBuffer {
  readonly bytes: Uint8Array;
  readonly words: Int32Array;
  readonly view: DataView;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Appends the metadata of a message and returns its position, so that the caller can patch it. */
  message(metadata: Uint8Array): number {
    this.view.setUint32(this.at, CONTINUATION, true);
    this.view.setInt32(this.at + 4, metadata.length, true);
    this.at += 8;
    const at = this.at;
    this.copy(metadata);
    return at;
  }

  copy(source: Uint8Array): void {
    this.bytes.set(source, this.at);
    this.at += source.length;
    this.pad();
  }

  pad(): void {
    while ((this.at & 7) !== 0) this.bytes[this.at++] = 0;
  }
}

function measure(schema: ArrowSchema, rows: number, columns: readonly ArrowColumn[]): Layout {
  const nulls = new Float64Array(columns.length);
  const lengths = new Float64Array(buffersOf(schema));
  let buffer = 0;
  for (let index = 0; index < columns.length; index++) {
    const { name, type } = schema.fields[index]!;
    const column = columns[index]!;
    const width = WIDTH[type];
    let nullCount = 0;
    if (type === "float64") nullCount = countNaN(column as Float64Array, rows);
    else if (isDictionary(type)) nullCount = countNegative((column as ArrowDictionary).codes, rows);
    else if (width === 0) nullCount = countNulls((column as BytesColumn).validity, rows);
    nulls[index] = nullCount;
    lengths[buffer++] = nullCount === 0 ? 0 : (rows + 7) >> 3;
    if (width === 0) {
      const { offsets } = column as BytesColumn;
      assert(offsets.length > rows, `column ${name} has too few offsets`);
      lengths[buffer++] = (rows + 1) * 4;
      lengths[buffer++] = offsets[rows]! - offsets[0]!;
    } else {
      const values = isDictionary(type) ? (column as ArrowDictionary).codes : (column as Uint8Array);
      assert(values.byteLength >= rows * width, `column ${name} has too few rows`);
      lengths[buffer++] = rows * width;
    }
  }
  return { nulls, lengths };
}

function buffersOf(schema: ArrowSchema): number {
  let count = 0;
  for (const field of schema.fields) count += WIDTH[field.type] === 0 ? 3 : 2;
  return count;
}

function writeColumn(out: StreamBuffer, type: keyof typeof WIDTH, rows: number, column: ArrowColumn, nullCount: number): void {
  switch (type) {
    case "int64":
    case "timestamp":
      writeDoublesAsInt64(out, column as Float64Array, rows);
      return;
    case "float64":
      if (nullCount > 0) writeNaNBitmap(out, column as Float64Array, rows);
      writeDoubles(out, column as Float64Array, rows, nullCount);
      return;
    case "dictionary8":
    case "dictionary16": {
      const { codes } = column as ArrowDictionary;
      if (nullCount > 0) writeCodeBitmap(out, codes, rows);
      out.copy(new Uint8Array(codes.buffer, codes.byteOffset, rows * WIDTH[type]));
      return;
    }
    case "utf8":
    case "binary":
      writeBytes(out, column as BytesColumn, rows, nullCount);
      return;
    default: {
      const values = column as Uint8Array;
      out.copy(new Uint8Array(values.buffer, values.byteOffset, rows * WIDTH[type]));
    }
  }
}

function writeDoublesAsInt64(out: StreamBuffer, values: Float64Array, rows: number): void {
  const { words } = out;
  let at = out.at >> 2;
  for (let row = 0; row < rows; row++) {
    const value = values[row]!;
    words[at] = value;
    words[at + 1] = Math.floor(value / 0x1_0000_0000);
    at += 2;
  }
  out.at += rows * 8;
}

function writeDoubles(out: StreamBuffer, values: Float64Array, rows: number, nullCount: number): void {
  const at = out.at;
  out.copy(new Uint8Array(values.buffer, values.byteOffset, rows * 8));
  if (nullCount === 0) return;
  // One NaN for all null slots (I1): which of the many bit patterns a NaN has depends on the operation that made it.
  const { words } = out;
  for (let row = 0; row < rows; row++) {
    if (!Number.isNaN(values[row]!)) continue;
    words[(at >> 2) + row * 2] = 0;
    words[(at >> 2) + row * 2 + 1] = 0x7ff80000;
  }
}

function writeBytes(out: StreamBuffer, column: BytesColumn, rows: number, nullCount: number): void {
  const { offsets, bytes, validity } = column;
  if (nullCount > 0 && validity !== null) {
    const at = out.at;
    const length = (rows + 7) >> 3;
    out.copy(validity.subarray(0, length));
    if ((rows & 7) !== 0) out.bytes[at + length - 1]! &= (1 << (rows & 7)) - 1;
  }
  const base = offsets[0]!;
  const end = offsets[rows]!;
  assert(base >= 0 && end >= base && end <= bytes.length, "offsets lie inside their bytes");
  if (base === 0) {
    out.copy(new Uint8Array(offsets.buffer, offsets.byteOffset, (rows + 1) * 4));
  } else {
    const { words } = out;
    const at = out.at >> 2;
    for (let row = 0; row <= rows; row++) words[at + row] = offsets[row]! - base;
    out.at += (rows + 1) * 4;
    out.pad();
  }
  if (end > base) out.copy(bytes.subarray(base, end));
}

function writeNaNBitmap(out: StreamBuffer, values: Float64Array, rows: number): void {
  let bits = 0;
  for (let row = 0; row < rows; row++) {
    const value = values[row]!;
    if (value === value) bits |= 1 << (row & 7);
    if ((row & 7) === 7) {
      out.bytes[out.at++] = bits;
      bits = 0;
    }
  }
  if ((rows & 7) !== 0) out.bytes[out.at++] = bits;
  out.pad();
}

function writeCodeBitmap(out: StreamBuffer, codes: Int8Array | Int16Array, rows: number): void {
  let bits = 0;
  for (let row = 0; row < rows; row++) {
    if (codes[row]! >= 0) bits |= 1 << (row & 7);
    if ((row & 7) === 7) {
      out.bytes[out.at++] = bits;
      bits = 0;
    }
  }
  if ((rows & 7) !== 0) out.bytes[out.at++] = bits;
  out.pad();
}

function countNaN(values: Float64Array, rows: number): number {
  let count = 0;
  for (let row = 0; row < rows; row++) {
    const value = values[row]!;
    if (value !== value) count++;
  }
  return count;
}

function countNegative(codes: Int8Array | Int16Array, rows: number): number {
  let count = 0;
  for (let row = 0; row < rows; row++) count += codes[row]! < 0 ? 1 : 0;
  return count;
}

/** Of an Arrow bitmap; null = none. */
export function countNulls(validity: Uint8Array | null, rows: number): number {
  if (validity === null) return 0;
  let present = 0;
  const whole = rows >> 3;
  for (let index = 0; index < whole; index++) present += POPULATION[validity[index]!]!;
  if ((rows & 7) !== 0) present += POPULATION[validity[whole]! & ((1 << (rows & 7)) - 1)]!;
  return rows - present;
}

/** Number of set bits of each byte. */
const POPULATION = new Uint8Array(256);
for (let value = 1; value < 256; value++) POPULATION[value] = (value & 1) + POPULATION[value >> 1]!;

interface DictionaryBody {
  readonly rows: number;
  /** Validity, offsets, text; padded to 8 each. */
  readonly bytes: Uint8Array;
  readonly lengths: readonly [number, number, number];
}

function dictionaryBody(values: readonly string[]): DictionaryBody {
  const texts = values.map((value) => encoder.encode(value));
  const textLength = texts.reduce((sum, text) => sum + text.length, 0);
  const offsetsLength = (values.length + 1) * 4;
  const bytes = new Uint8Array(pad8(offsetsLength) + pad8(textLength));
  const view = new DataView(bytes.buffer);
  let position = 0;
  for (let index = 0; index < texts.length; index++) {
    bytes.set(texts[index]!, pad8(offsetsLength) + position);
    position += texts[index]!.length;
    view.setInt32((index + 1) * 4, position, true);
  }
  return { rows: values.length, bytes, lengths: [0, offsetsLength, textLength] };
}

function pad8(length: number): number {
  return (length + 7) & ~7;
}
