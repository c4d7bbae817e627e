/** Types and schemas of the columns that travel as Arrow, and their metadata (format/Schema.fbs, format/Message.fbs of Apache Arrow). */
import { assert } from "../../kernel/assert.ts";
import type { BytesColumn } from "../columns.ts";
import { FlatBuilder, FlatReader, corrupt, type Slot } from "./flatbuffer.ts";

/** Few distinct strings; -1 = null. */
export interface ArrowDictionary {
  readonly codes: Int8Array | Int16Array;
  readonly values: readonly string[];
}

/** What holds the values of each type. 64-bit columns and NaN as in shared/events/columns.ts. */
export interface ColumnOf {
  readonly int64: Float64Array;
  /** Pairs of words, low first. */
  readonly uint64: Uint32Array;
  readonly uint32: Uint32Array;
  readonly uint16: Uint16Array;
  readonly uint8: Uint8Array;
  /** Milliseconds, UTC. */
  readonly timestamp: Float64Array;
  /** NaN = null. */
  readonly float64: Float64Array;
  /** 16 bytes a row. */
  readonly fixed16: Uint8Array;
  readonly utf8: BytesColumn;
  readonly binary: BytesColumn;
  readonly dictionary8: ArrowDictionary;
  readonly dictionary16: ArrowDictionary;
}

export type ArrowType = keyof ColumnOf;
export type ArrowColumn = ColumnOf[ArrowType];

/** float64, utf8, binary and dictionaries are nullable, the others never. */
export interface ArrowField {
  readonly name: string;
  readonly type: ArrowType;
}

export const HEADER = { schema: 1, dictionaryBatch: 2, recordBatch: 3 } as const;
const METADATA_V5 = 4;
/** Of fields and of metadata pairs: bounds the work on vectors whose items all point at one long text. */
const MAX_ITEMS = 1_024;
const TYPE = { int: 2, float: 3, binary: 4, utf8: 5, timestamp: 10, fixed: 15 } as const;

/** Bytes per row of the first data buffer; 0 = variable, see {@link bufferCount}. */
export const WIDTH: Readonly<Record<ArrowType, number>> = {
  int64: 8,
  uint64: 8,
  uint32: 4,
  uint16: 2,
  uint8: 1,
  timestamp: 8,
  float64: 8,
  fixed16: 16,
  utf8: 0,
  binary: 0,
  dictionary8: 1,
  dictionary16: 2,
};

export function isDictionary(type: ArrowType): boolean {
  return type === "dictionary8" || type === "dictionary16";
}

export function isNullable(type: ArrowType): boolean {
  return type === "float64" || WIDTH[type] === 0 || isDictionary(type);
}

/** Validity and data; validity, offsets and data for variable length. */
export function bufferCount(type: ArrowType): number {
  return WIDTH[type] === 0 ? 3 : 2;
}

export interface ArrowSchema {
  readonly fields: readonly ArrowField[];
  /** The metadata of the fields, which is the same in every stream: the end of each schema message. */
  readonly tail: Uint8Array;
  /** Distance of the vector of fields from the end. */
  readonly fieldsRef: number;
  readonly batch: BatchTemplate;
}

/** Metadata of a record batch of a known shape, with the places of what changes. */
export interface BatchTemplate {
  readonly bytes: Uint8Array;
  readonly bodyLengthAt: number;
  readonly idAt: number;
  readonly rowsAt: number;
  /** First struct; 16 bytes each. */
  readonly nodesAt: number;
  readonly buffersAt: number;
}

/** Build once per kind of stream, at module level. */
export function defineSchema(fields: readonly ArrowField[]): ArrowSchema {
  assert(new Set(fields.map((field) => field.name)).size === fields.length, "column names must differ");
  const builder = new FlatBuilder();
  const fieldsRef = builder.refs(fields.map((field, index) => writeField(builder, field, index)));
  const buffers = fields.reduce((sum, field) => sum + bufferCount(field.type), 0);
  return { fields, tail: builder.tail(), fieldsRef, batch: batchTemplate(HEADER.recordBatch, fields.length, buffers) };
}

function writeField(builder: FlatBuilder, field: ArrowField, index: number): number {
  const name = builder.string(field.name);
  const children = builder.refs([]);
  const [typeKind, typeSlots] = typeOf(builder, field.type);
  const type = builder.table(typeSlots);
  let dictionary: Slot | null = null;
  if (isDictionary(field.type)) {
    const indexType = builder.table([
      ["i32", WIDTH[field.type] * 8],
      ["u8", 1],
    ]);
    dictionary = [
      "ref",
      builder.table([
        ["i64", index],
        ["ref", indexType],
        ["u8", 0],
      ]),
    ];
  }
  return builder.table([
    ["ref", name],
    ["u8", isNullable(field.type) ? 1 : 0],
    ["u8", typeKind],
    ["ref", type],
    dictionary,
    ["ref", children],
  ]);
}

function typeOf(builder: FlatBuilder, type: ArrowType): [kind: number, slots: Slot[]] {
  switch (type) {
    case "int64":
      return [TYPE.int, [["i32", 64], ["u8", 1]]]; // prettier-ignore
    case "uint64":
    case "uint32":
    case "uint16":
    case "uint8":
      return [TYPE.int, [["i32", WIDTH[type] * 8], ["u8", 0]]]; // prettier-ignore
    case "timestamp":
      return [TYPE.timestamp, [["i16", 1], ["ref", builder.string("UTC")]]]; // prettier-ignore
    case "float64":
      return [TYPE.float, [["i16", 2]]];
    case "fixed16":
      return [TYPE.fixed, [["i32", 16]]];
    case "binary":
      return [TYPE.binary, []];
    case "utf8":
    case "dictionary8":
    case "dictionary16":
      return [TYPE.utf8, []];
  }
}

/** The whole metadata of a schema message. */
export function schemaMessage(schema: ArrowSchema, metadata: readonly (readonly [key: string, value: string])[]): Uint8Array {
  const builder = new FlatBuilder(schema.tail);
  const pairs = metadata.map(([key, value]) => builder.table([["ref", builder.string(key)], ["ref", builder.string(value)]])); // prettier-ignore
  const custom: Slot | null = pairs.length === 0 ? null : ["ref", builder.refs(pairs)];
  const header = builder.table([["i16", 0], ["ref", schema.fieldsRef], custom]); // prettier-ignore
  return builder.finish(builder.table([["i16", METADATA_V5], ["u8", HEADER.schema], ["ref", header], ["i64", 0]])); // prettier-ignore
}

/** For a dictionary batch: one column of text. */
export function batchTemplate(kind: number, nodes: number, buffers: number): BatchTemplate {
  const builder = new FlatBuilder();
  const buffersRef = builder.pairs(buffers);
  const nodesRef = builder.pairs(nodes);
  let header = builder.table([["i64", 0], ["ref", nodesRef], ["ref", buffersRef]]); // prettier-ignore
  if (kind === HEADER.dictionaryBatch) header = builder.table([["i64", 0], ["ref", header], ["u8", 0]]); // prettier-ignore
  const bytes = builder.finish(builder.table([["i16", METADATA_V5], ["u8", kind], ["ref", header], ["i64", 0]])); // prettier-ignore
  const reader = new FlatReader(bytes);
  const message = reader.root();
  const outer = reader.slotRef(message, 2);
  const batch = kind === HEADER.dictionaryBatch ? reader.slotRef(outer, 1) : outer;
  return {
    bytes: bytes.slice(),
    bodyLengthAt: reader.slot(message, 3),
    idAt: reader.slot(outer, 0),
    rowsAt: reader.slot(batch, 0),
    nodesAt: reader.slotRef(batch, 1) + 4,
    buffersAt: reader.slotRef(batch, 2) + 4,
  };
}

/** Fields of a schema message of any writer, with the dictionary id per field (-1 = none). @throws CorruptStateError on a type that is not ours. */
export function readFields(reader: FlatReader, header: number): { fields: ArrowField[]; dictionaryIds: number[] } {
  const vector = reader.slotRef(header, 1);
  const fields: ArrowField[] = [];
  const dictionaryIds: number[] = [];
  const count = reader.vector(vector, 4);
  if (count > MAX_ITEMS) throw corrupt("has too many columns");
  for (let index = 0; index < count; index++) {
    const table = reader.ref(vector + 4 + index * 4);
    const name = reader.string(reader.slotRef(table, 0));
    const dictionaryAt = reader.slot(table, 4);
    const dictionary = dictionaryAt === 0 ? 0 : reader.ref(dictionaryAt);
    fields.push({ name, type: readType(reader, table, dictionary, name) });
    const idAt = dictionary === 0 ? 0 : reader.slot(dictionary, 0);
    dictionaryIds.push(dictionary === 0 ? -1 : idAt === 0 ? 0 : reader.i64(idAt));
  }
  return { fields, dictionaryIds };
}

function readType(reader: FlatReader, field: number, dictionary: number, name: string): ArrowType {
  const kindAt = reader.slot(field, 2);
  const kind = kindAt === 0 ? 0 : reader.u8(kindAt);
  const type = reader.slotRef(field, 3);
  const number = (slot: number): number => {
    const at = reader.slot(type, slot);
    return at === 0 ? 0 : kind === TYPE.float || kind === TYPE.timestamp ? reader.i16(at) : reader.i32(at);
  };
  if (dictionary !== 0) {
    const index = intType(reader, reader.slotRef(dictionary, 1));
    if (kind === TYPE.utf8 && index === "int8") return "dictionary8";
    if (kind === TYPE.utf8 && index === "int16") return "dictionary16";
  } else if (kind === TYPE.int) {
    const int = intType(reader, type);
    if (int !== "int8" && int !== "int16" && int !== undefined) return int;
  } else if (kind === TYPE.utf8) return "utf8";
  else if (kind === TYPE.binary) return "binary";
  else if (kind === TYPE.float && number(0) === 2) return "float64";
  else if (kind === TYPE.timestamp && number(0) === 1) return "timestamp";
  else if (kind === TYPE.fixed && number(0) === 16) return "fixed16";
  throw corrupt(`column ${name} has a type that this reader does not know`);
}

function intType(reader: FlatReader, table: number): "int8" | "int16" | "int64" | "uint8" | "uint16" | "uint32" | "uint64" | undefined {
  const widthAt = reader.slot(table, 0);
  const signedAt = reader.slot(table, 1);
  const width = widthAt === 0 ? 0 : reader.i32(widthAt);
  const signed = signedAt !== 0 && reader.u8(signedAt) !== 0;
  if (width === 64) return signed ? "int64" : "uint64";
  if (width === 32) return signed ? undefined : "uint32";
  if (width === 16) return signed ? "int16" : "uint16";
  if (width === 8) return signed ? "int8" : "uint8";
  return undefined;
}

export function readMetadata(reader: FlatReader, header: number): Map<string, string> {
  const metadata = new Map<string, string>();
  const at = reader.slot(header, 2);
  if (at === 0) return metadata;
  const vector = reader.ref(at);
  const count = reader.vector(vector, 4);
  if (count > MAX_ITEMS) throw corrupt("has too much metadata");
  for (let index = 0; index < count; index++) {
    const pair = reader.ref(vector + 4 + index * 4);
    metadata.set(reader.string(reader.slotRef(pair, 0)), reader.string(reader.slotRef(pair, 1)));
  }
  return metadata;
}
