/**
 * Reads an Arrow IPC stream of one record batch into columns. Values are views of the input where its alignment allows (uint, float64,
 * fixed, text, codes); int64 and timestamp become doubles.
 *
 * I1 Whatever the bytes: a CorruptStateError, or columns in which every offset and code may be followed without a check.
 * I2 Work and memory are bounded by the length of the input.
 */
import type { BytesColumn } from "../columns.ts";
import { FlatReader, corrupt } from "./flatbuffer.ts";
import { HEADER, WIDTH, isDictionary, isNullable, readFields, readMetadata, type ArrowColumn, type ArrowField, type ArrowSchema, type ArrowType } from "./schema.ts"; // prettier-ignore
import { ReadMemory } from "./read-memory.ts";
import { countNulls } from "./writer.ts";

export interface ArrowTable {
  readonly fields: readonly ArrowField[];
  readonly rows: number;
  /** In the order of the fields. */
  readonly columns: readonly ArrowColumn[];
  readonly metadata: ReadonlyMap<string, string>;
}

interface Message {
  readonly kind: number;
  readonly reader: FlatReader;
  /** The table behind the message: schema, record batch or dictionary batch. */
  readonly header: number;
  readonly body: Uint8Array;
}

const NO_BYTES = new Uint8Array(0);
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Reads a stream whose columns must be those of `schema`. With `memory` they are valid until that is used again. @throws CorruptStateError */
export function decodeColumns(schema: ArrowSchema, bytes: Uint8Array, memory = new ReadMemory()): ArrowTable {
  return guard(() => readStream(bytes, schema, memory));
}

/** The engine's own bounds checks are the second line behind ours. */
function guard<T>(read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    if (thrown instanceof RangeError) throw corrupt(`a length is impossible (${thrown.message})`);
    throw thrown;
  }
}

function readStream(bytes: Uint8Array, expected: ArrowSchema | null, memory: ReadMemory): ArrowTable {
  memory.begin();
  // One copy of a stream that begins anywhere (a value inside a fetched batch) makes every column a view. Never a Buffer: its slice is none.
  const start = bytes.byteOffset;
  const stream = new MessageStream(start % 8 === 0 ? new Uint8Array(bytes.buffer, start, bytes.length) : memory.copyOf(bytes));
  const head = stream.next();
  if (head?.kind !== HEADER.schema) throw corrupt("does not begin with a schema");
  const { fields, dictionaryIds } = readSchema(head, expected);
  const dictionaries = new Map<number, readonly string[]>();
  for (let message = stream.next(); message !== null; message = stream.next()) {
    if (message.kind === HEADER.dictionaryBatch) {
      readDictionary(message, dictionaries, dictionaryIds, memory);
    } else if (message.kind === HEADER.recordBatch) {
      const batch = new Batch(message.reader, message.header, message.body, fields.length, memory);
      const columns = fields.map((field, index) => batch.column(field, dictionaries.get(dictionaryIds[index]!)));
      if (stream.next() !== null) throw corrupt("holds more than one batch");
      stream.end();
      return { fields, rows: batch.rows, columns, metadata: readMetadata(head.reader, head.header) };
    } else throw corrupt("holds a message of an unknown kind");
  }
  throw corrupt("holds no record batch");
}

class MessageStream {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** null = end mark. */
  next(): Message | null {
    if (this.#at + 8 > this.#bytes.length) throw corrupt("ends without an end mark");
    if (this.#view.getUint32(this.#at, true) !== 0xffffffff) throw corrupt("has no message where one must begin");
    const metadataLength = this.#view.getInt32(this.#at + 4, true);
    this.#at += 8;
    if (metadataLength === 0) return null;
    if (metadataLength < 0 || this.#at + metadataLength > this.#bytes.length) throw corrupt("is cut short");
    const reader = new FlatReader(this.#bytes.subarray(this.#at, this.#at + metadataLength));
    this.#at += metadataLength;
    const message = reader.root();
    const kindAt = reader.slot(message, 1);
    const bodyAt = reader.slot(message, 3);
    const bodyLength = bodyAt === 0 ? 0 : reader.i64(bodyAt);
    if (this.#at + bodyLength > this.#bytes.length) throw corrupt("is cut short");
    const body = this.#bytes.subarray(this.#at, this.#at + bodyLength);
    this.#at += bodyLength;
    return { kind: kindAt === 0 ? 0 : reader.u8(kindAt), reader, header: reader.slotRef(message, 2), body };
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw corrupt("goes on behind its end mark");
  }
}

function readSchema(head: Message, expected: ArrowSchema | null): { fields: readonly ArrowField[]; dictionaryIds: readonly number[] } {
  const read = readFields(head.reader, head.header);
  if (expected === null) return read;
  const same = read.fields.length === expected.fields.length && read.fields.every((field, index) => isSame(field, expected.fields[index]!));
  if (!same) throw corrupt(`has the columns ${describe(read.fields)} where ${describe(expected.fields)} belong`);
  return read;
}

function isSame(a: ArrowField, b: ArrowField): boolean {
  return a.name === b.name && a.type === b.type;
}

function describe(fields: readonly ArrowField[]): string {
  return fields.map((field) => `${field.name} ${field.type}`).join(", ");
}

function readDictionary(
  message: Message,
  dictionaries: Map<number, readonly string[]>,
  known: readonly number[],
  memory: ReadMemory,
): void {
  const { reader, header, body } = message;
  const idAt = reader.slot(header, 0);
  const id = idAt === 0 ? 0 : reader.i64(idAt);
  const deltaAt = reader.slot(header, 2);
  if (!known.includes(id) || dictionaries.has(id) || (deltaAt !== 0 && reader.u8(deltaAt) !== 0))
    throw corrupt("holds a dictionary twice or for no column");
  const batch = new Batch(reader, reader.slotRef(header, 1), body, 1, memory);
  const { offsets, bytes, validity } = batch.column({ name: "dictionary", type: "utf8" }, undefined) as BytesColumn;
  if (validity !== null) throw corrupt("holds a dictionary with nulls");
  const values: string[] = [];
  for (let index = 0; index < batch.rows; index++) {
    try {
      values.push(decoder.decode(bytes.subarray(offsets[index], offsets[index + 1])));
    } catch {
      throw corrupt("holds a dictionary value that is not UTF-8");
    }
  }
  dictionaries.set(id, values);
}

class Batch {
  readonly rows: number;
  readonly #memory: ReadMemory;
  readonly #reader: FlatReader;
  readonly #body: Uint8Array;
  readonly #nodes: number;
  readonly #buffers: number;
  readonly #bufferCount: number;
  #node = 0;
  #buffer = 0;

  constructor(reader: FlatReader, table: number, body: Uint8Array, columns: number, memory: ReadMemory) {
    this.#memory = memory;
    this.#reader = reader;
    this.#body = body;
    const rowsAt = reader.slot(table, 0);
    this.rows = rowsAt === 0 ? 0 : reader.i64(rowsAt);
    if (this.rows > 0x7fff_fffe) throw corrupt("has an impossible number of rows");
    const nodes = reader.slotRef(table, 1);
    if (reader.vector(nodes, 16) !== columns) throw corrupt("has other columns than its schema");
    this.#nodes = nodes + 4;
    const buffers = reader.slotRef(table, 2);
    this.#bufferCount = reader.vector(buffers, 16);
    this.#buffers = buffers + 4;
    if (reader.slot(table, 3) !== 0) throw corrupt("is compressed inside");
  }

  /** Columns must be asked for in order. */
  column(field: ArrowField, dictionary: readonly string[] | undefined): ArrowColumn {
    const node = this.#nodes + 16 * this.#node++;
    if (this.#reader.i64(node) !== this.rows) throw corrupt(`column ${field.name} has another number of rows`);
    const nullCount = this.#reader.i64(node + 8);
    const validity = this.#validity(field, nullCount);
    const { type } = field;
    if (WIDTH[type] === 0) return this.#bytesColumn(field.name, validity);
    const data = this.#next(field.name, this.rows * WIDTH[type]);
    if (isDictionary(type)) {
      if (dictionary === undefined) throw corrupt(`column ${field.name} has no dictionary`);
      return readCodes(type, data, this.rows, validity, dictionary, field.name);
    }
    return readValues(type, data, this.rows, validity, field.name, this.#memory);
  }

  #validity(field: ArrowField, nullCount: number): Uint8Array | null {
    const length = (this.rows + 7) >> 3;
    const buffer = this.#next(field.name, 0);
    if (nullCount === 0) return null;
    if (!isNullable(field.type)) throw corrupt(`column ${field.name} must not have nulls`);
    if (buffer.length < length) throw corrupt(`column ${field.name} is cut short`);
    const validity = buffer.subarray(0, length);
    if (countNulls(validity, this.rows) !== nullCount) throw corrupt(`column ${field.name} counts its nulls wrong`);
    return validity;
  }

  #bytesColumn(name: string, validity: Uint8Array | null): BytesColumn {
    const { rows } = this;
    const offsetsBuffer = this.#next(name, rows === 0 ? 0 : (rows + 1) * 4);
    const bytes = this.#next(name, 0);
    // A batch without rows may come without offsets (Columnar.html, variable-size binary layout).
    const offsets = offsetsBuffer.length === 0 ? new Int32Array(1) : int32(offsetsBuffer, rows + 1);
    let wrong = offsets[0]!;
    for (let row = 0; row < rows; row++) wrong |= offsets[row + 1]! - offsets[row]!;
    if (wrong < 0 || offsets[rows]! < offsets[0]! || offsets[rows]! > bytes.length)
      throw corrupt(`column ${name} has offsets outside its bytes`);
    return { offsets, bytes, validity };
  }

  /** The next buffer, at least so long. */
  #next(name: string, length: number): Uint8Array {
    if (this.#buffer >= this.#bufferCount) throw corrupt("has too few buffers");
    const at = this.#buffers + 16 * this.#buffer++;
    const start = this.#reader.i64(at);
    const size = this.#reader.i64(at + 8);
    if (start + size > this.#body.length || size < length) throw corrupt(`column ${name} is cut short`);
    return size === 0 ? NO_BYTES : this.#body.subarray(start, start + size);
  }
}

/** The same bytes at a position that a typed array accepts: themselves, or a copy. */
function aligned(bytes: Uint8Array, size: number): Uint8Array {
  return bytes.byteOffset % size === 0 ? bytes : bytes.slice();
}

function int32(data: Uint8Array, length: number): Int32Array {
  const { buffer, byteOffset } = aligned(data, 4);
  return new Int32Array(buffer, byteOffset, length);
}

function readValues(
  type: ArrowType,
  data: Uint8Array,
  rows: number,
  validity: Uint8Array | null,
  name: string,
  memory: ReadMemory,
): ArrowColumn {
  switch (type) {
    case "int64":
    case "timestamp":
      return readInt64(data, rows, name, memory);
    case "float64": {
      const { buffer, byteOffset } = aligned(data, 8);
      return readDoubles(new Float64Array(buffer, byteOffset, rows), validity);
    }
    case "uint64":
    case "uint32": {
      const { buffer, byteOffset } = aligned(data, 4);
      return new Uint32Array(buffer, byteOffset, type === "uint64" ? rows * 2 : rows);
    }
    case "uint16": {
      const { buffer, byteOffset } = aligned(data, 2);
      return new Uint16Array(buffer, byteOffset, rows);
    }
    default:
      return data.subarray(0, rows * WIDTH[type]);
  }
}

function readInt64(data: Uint8Array, rows: number, name: string, memory: ReadMemory): Float64Array {
  const words = int32(data, rows * 2);
  const values = memory.doubles(rows);
  let outside = 0;
  for (let row = 0; row < rows; row++) {
    const high = words[row * 2 + 1]!;
    outside |= (high + 0x20_0000) >>> 22;
    values[row] = high * 0x1_0000_0000 + (words[row * 2]! >>> 0);
  }
  if (outside !== 0) throw corrupt(`column ${name} has a number beyond 2^53`);
  return values;
}

/** Other writers leave anything in null slots; ours is NaN already, and then the view stands. */
function readDoubles(values: Float64Array, validity: Uint8Array | null): Float64Array {
  if (validity === null) return values;
  let result = values;
  for (let row = 0; row < values.length; row++) {
    if ((validity[row >> 3]! & (1 << (row & 7))) !== 0 || Number.isNaN(values[row]!)) continue;
    if (result === values) result = values.slice();
    result[row] = Number.NaN;
  }
  return result;
}

function readCodes(
  type: ArrowType,
  data: Uint8Array,
  rows: number,
  validity: Uint8Array | null,
  values: readonly string[],
  name: string,
): ArrowColumn {
  const { buffer, byteOffset } = aligned(data, WIDTH[type]);
  let codes = type === "dictionary8" ? new Int8Array(buffer, byteOffset, rows) : new Int16Array(buffer, byteOffset, rows);
  const last = values.length - 1;
  let wrong = 0;
  if (validity === null) {
    for (let row = 0; row < rows; row++) wrong |= codes[row]! | (last - codes[row]!);
  } else {
    codes = codes.slice();
    for (let row = 0; row < rows; row++) {
      if ((validity[row >> 3]! & (1 << (row & 7))) === 0) codes[row] = -1;
      else wrong |= codes[row]! | (last - codes[row]!);
    }
  }
  if (wrong < 0) throw corrupt(`column ${name} has a code outside its dictionary`);
  return { codes, values };
}
