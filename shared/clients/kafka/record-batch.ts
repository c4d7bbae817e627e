/**
 * Record batches of message format v2 (kafka.apache.org/documentation/#recordbatch). Layout of a batch, big-endian:
 * 0 base offset i64 · 8 length i32 · 12 leader epoch i32 · 16 magic i8 · 17 CRC32C u32 over all that follows · 21 attributes i16 ·
 * 23 last offset delta i32 · 27 base timestamp i64 · 35 max timestamp i64 · 43 producer id i64 · 51 producer epoch i16 · 53 base sequence i32 ·
 * 57 records i32 · 61 records, compressed as attributes say.
 */
import { crc32c } from "@node-rs/crc32";
import { assert } from "../../kernel/assert.ts";
import { CorruptStateError } from "../../kernel/errors.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { CODEC_IDS, compress, decompress } from "./compression.ts";
import type { Compression, FetchedRecord, OutgoingRecord, RecordHeader } from "./types.ts";

const HEADER_BYTES = 61;
const LENGTH_END = 12;
const CRC_AT = 17;
const ATTRIBUTES_AT = 21;
const CODEC_MASK = 0x07;
const LOG_APPEND_TIME = 0x08;
const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;
const HIGH = 0x1_0000_0000;
/** A value from here on is sent from where it stands: copying it costs more than another piece in the write. */
const REFERENCE_BYTES = 16_384;

export interface BatchProducer {
  readonly producerId: bigint;
  readonly epoch: number;
  readonly sequence: number;
  readonly transactional: boolean;
}

const NO_HEADERS: readonly RecordHeader[] = [];

export const NO_PRODUCER: BatchProducer = { producerId: -1n, epoch: -1, sequence: -1, transactional: false };

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1;
}

function varintBytes(value: number): number {
  let size = 1;
  for (let rest = zigzag(value); rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

function blobBytes(blob: Uint8Array | null): number {
  return blob === null ? 1 : varintBytes(blob.length) + blob.length;
}

/** Length of a record without its own length field. */
function recordBytes(record: OutgoingRecord, offsetDelta: number, timestampDelta: number): number {
  const headers = record.headers ?? NO_HEADERS;
  let size =
    1 +
    varintBytes(timestampDelta) +
    varintBytes(offsetDelta) +
    blobBytes(record.key) +
    blobBytes(record.value) +
    varintBytes(headers.length);
  for (const [key, value] of headers) {
    const keyBytes = Buffer.byteLength(key);
    size += varintBytes(keyBytes) + keyBytes + blobBytes(value);
  }
  return size;
}

function writeVarint(bytes: Buffer, start: number, value: number): number {
  let at = start;
  let rest = zigzag(value);
  while (rest >= 0x80) {
    bytes[at++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  bytes[at++] = rest;
  return at;
}

function writeBlob(bytes: Buffer, start: number, blob: Uint8Array | null): number {
  if (blob === null) return writeVarint(bytes, start, -1);
  const at = writeVarint(bytes, start, blob.length);
  bytes.set(blob, at);
  return at + blob.length;
}

/** A value that is sent from where it stands, behind `at` bytes of the rest. */
interface Reference {
  readonly at: number;
  readonly value: Uint8Array;
}

/** @returns where it ends. Without `references` every value is copied. */
function writeRecord(
  bytes: Buffer,
  start: number,
  record: OutgoingRecord,
  offsetDelta: number,
  timestampDelta: number,
  references: Reference[] | null,
): number {
  let at = writeVarint(bytes, start, recordBytes(record, offsetDelta, timestampDelta));
  bytes[at++] = 0;
  at = writeVarint(bytes, at, timestampDelta);
  at = writeVarint(bytes, at, offsetDelta);
  at = writeBlob(bytes, at, record.key);
  const { value } = record;
  if (references !== null && value !== null && value.length >= REFERENCE_BYTES) {
    at = writeVarint(bytes, at, value.length);
    references.push({ at, value });
  } else at = writeBlob(bytes, at, value);
  const headers = record.headers ?? NO_HEADERS;
  at = writeVarint(bytes, at, headers.length);
  for (const [key, value] of headers) {
    at = writeVarint(bytes, at, Buffer.byteLength(key));
    at += bytes.write(key, at);
    at = writeBlob(bytes, at, value);
  }
  return at;
}

export interface BatchOptions {
  readonly compression: Compression;
  /** For records that name none. */
  readonly defaultTimestampMs: number;
  readonly producer: BatchProducer;
  /** Takes the batch back when it was sent. */
  readonly pool: BufferPool;
}

/** In pieces, for one vectored write. */
export interface EncodedBatch {
  readonly pieces: readonly Uint8Array[];
  readonly sizeBytes: number;
  /** Of the pool; the caller gives it back when the batch was sent. */
  readonly owned: Buffer;
}

/** One batch, of at least one record. Large values must not change until the batch was sent. */
export function encodeBatch(records: readonly OutgoingRecord[], options: BatchOptions): EncodedBatch {
  assert(records.length > 0, "a batch holds at least one record");
  const { compression, defaultTimestampMs, producer, pool } = options;
  const base = records[0]!.timestampMs ?? defaultTimestampMs;
  const plain = compression === "none";
  const references: Reference[] = [];
  let maxTimestampMs = base;
  let size = 0;
  for (let i = 0; i < records.length; i++) {
    const { value, timestampMs = defaultTimestampMs } = records[i]!;
    maxTimestampMs = Math.max(maxTimestampMs, timestampMs);
    const length = recordBytes(records[i]!, i, timestampMs - base);
    size += varintBytes(length) + length;
    if (plain && value !== null && value.length >= REFERENCE_BYTES) size -= value.length;
  }
  const body = pool.take(plain ? HEADER_BYTES + size : size);
  let at = plain ? HEADER_BYTES : 0;
  for (let i = 0; i < records.length; i++)
    at = writeRecord(body, at, records[i]!, i, (records[i]!.timestampMs ?? defaultTimestampMs) - base, plain ? references : null);
  const batch = plain ? body : packed(compression, body, pool);
  const sizeBytes = references.reduce((sum, { value }) => sum + value.length, batch.length);
  writeInt64(batch, 0, 0);
  batch.writeInt32BE(sizeBytes - LENGTH_END, 8);
  batch.writeInt32BE(-1, 12);
  batch[16] = 2;
  batch.writeInt16BE(CODEC_IDS[compression] | (producer.transactional ? TRANSACTIONAL : 0), ATTRIBUTES_AT);
  batch.writeInt32BE(records.length - 1, 23);
  writeInt64(batch, 27, base);
  writeInt64(batch, 35, maxTimestampMs);
  batch.writeBigInt64BE(producer.producerId, 43);
  batch.writeInt16BE(producer.epoch, 51);
  batch.writeInt32BE(producer.sequence, 53);
  batch.writeInt32BE(records.length, 57);
  const pieces = piecesOf(batch, references);
  batch.writeUInt32BE(checksum(pieces), CRC_AT);
  return { pieces, sizeBytes, owned: batch };
}

function piecesOf(batch: Buffer, references: readonly Reference[]): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  let from = 0;
  for (const { at, value } of references) {
    pieces.push(batch.subarray(from, at), value);
    from = at;
  }
  if (from < batch.length) pieces.push(batch.subarray(from));
  return pieces;
}

function checksum(pieces: readonly Uint8Array[]): number {
  let crc = 0;
  for (const [i, piece] of pieces.entries()) crc = crc32c(i === 0 ? piece.subarray(ATTRIBUTES_AT) : piece, crc);
  return crc;
}

/** Compressed, behind room for the head. */
function packed(compression: Compression, body: Buffer, pool: BufferPool): Buffer {
  const content = compress(compression, body);
  const batch = pool.take(HEADER_BYTES + content.length);
  content.copy(batch, HEADER_BYTES);
  pool.give(body);
  return batch;
}

function writeInt64(bytes: Buffer, at: number, value: number): void {
  bytes.writeInt32BE(Math.floor(value / HIGH), at);
  bytes.writeUInt32BE(value - Math.floor(value / HIGH) * HIGH, at + 4);
}

function readInt64(bytes: Buffer, at: number): number {
  return bytes.readInt32BE(at) * HIGH + bytes.readUInt32BE(at + 4);
}

export interface AbortedTransaction {
  readonly producerId: bigint;
  readonly firstOffset: number;
}

export interface DecodedBatches {
  readonly records: FetchedRecord[];
  /** Behind the last complete batch, or the offset asked for when there was none. */
  readonly nextOffset: number;
  /** Whether records are views of the answer itself. Those of compressed batches are not. */
  readonly viewsAnswer: boolean;
}

/**
 * Decodes what a fetch answered. `aborted` is the broker's list for this answer; under read_uncommitted pass none. A transaction is aborted from
 * its first offset up to its abort marker: ranges open when a batch at or behind `firstOffset` comes and close at the producer's marker, so
 * several aborts of one producer, and markers in a later answer, are each treated right.
 */
export function decodeBatches(bytes: Buffer, fromOffset: number, aborted: readonly AbortedTransaction[], where: string): DecodedBatches {
  const records: FetchedRecord[] = [];
  const pending = aborted.toSorted((a, b) => a.firstOffset - b.firstOffset);
  const aborting = new Set<bigint>();
  let nextAborted = 0;
  let nextOffset = fromOffset;
  let viewsAnswer = false;
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const end = at + LENGTH_END + bytes.readInt32BE(at + 8);
    if (end > bytes.length) break;
    if (end < at + HEADER_BYTES) throw corrupt(where, readInt64(bytes, at), "has an impossible length");
    const baseOffset = readInt64(bytes, at);
    if (bytes[at + 16] !== 2) throw corrupt(where, baseOffset, `has format ${bytes[at + 16]}, not 2`);
    if (crc32c(bytes.subarray(at + ATTRIBUTES_AT, end)) !== bytes.readUInt32BE(at + CRC_AT))
      throw corrupt(where, baseOffset, "fails its CRC");
    const attributes = bytes.readInt16BE(at + ATTRIBUTES_AT);
    const lastOffset = baseOffset + bytes.readInt32BE(at + 23);
    const producerId = bytes.readBigInt64BE(at + 43);
    while (nextAborted < pending.length && pending[nextAborted]!.firstOffset <= lastOffset)
      aborting.add(pending[nextAborted++]!.producerId);
    if ((attributes & CONTROL) !== 0) {
      if (isAbortMarker(bytes.subarray(at + HEADER_BYTES, end))) aborting.delete(producerId);
    } else if ((attributes & TRANSACTIONAL) === 0 || !aborting.has(producerId)) {
      decodeRecords(bytes.subarray(at, end), baseOffset, attributes, fromOffset, records, where);
      viewsAnswer ||= (attributes & CODEC_MASK) === 0;
    }
    nextOffset = Math.max(nextOffset, lastOffset + 1);
    at = end;
  }
  return { records, nextOffset, viewsAnswer };
}

/** Key of a control record: version i16, type i16 (0 abort, 1 commit). */
function isAbortMarker(body: Buffer): boolean {
  const cursor = new Cursor(body);
  cursor.varint();
  cursor.at += 1;
  cursor.varint();
  cursor.varint();
  const key = cursor.blob();
  return key !== null && key.length >= 4 && key.readInt16BE(2) === 0;
}

function decodeRecords(
  batch: Buffer,
  baseOffset: number,
  attributes: number,
  fromOffset: number,
  into: FetchedRecord[],
  where: string,
): void {
  const body = decompress(attributes & CODEC_MASK, batch.subarray(HEADER_BYTES));
  const baseTimestampMs = readInt64(batch, 27);
  const appendTimeMs = (attributes & LOG_APPEND_TIME) === 0 ? null : readInt64(batch, 35);
  const count = batch.readInt32BE(57);
  const cursor = new Cursor(body);
  for (let i = 0; i < count; i++) {
    const length = cursor.varint();
    const end = cursor.at + length;
    if (length < 0 || end > body.length) throw corrupt(where, baseOffset, "holds a record of impossible length");
    cursor.at += 1;
    const timestampMs = appendTimeMs ?? baseTimestampMs + cursor.varint();
    if (appendTimeMs !== null) cursor.varint();
    const offset = baseOffset + cursor.varint();
    if (offset >= fromOffset) {
      const key = cursor.blob();
      const value = cursor.blob();
      into.push({ offset, timestampMs, key, value, headers: readHeaders(cursor) });
    }
    cursor.at = end;
  }
}

const EMPTY = Buffer.alloc(0);

function readHeaders(cursor: Cursor): readonly RecordHeader[] {
  const count = cursor.varint();
  if (count <= 0) return NO_HEADERS;
  const headers: RecordHeader[] = [];
  for (let i = 0; i < count; i++) {
    const name = cursor.blob() ?? EMPTY;
    headers.push([name.toString("utf8"), cursor.blob() ?? EMPTY]);
  }
  return headers;
}

class Cursor {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.at++];
      if (byte === undefined) throw new CorruptStateError("a record batch ends inside a record", { code: "KAFKA_CORRUPT_BATCH" });
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 0x80;
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  blob(): Buffer | null {
    const length = this.varint();
    if (length < 0) return null;
    const start = this.at;
    this.at = start + length;
    if (this.at > this.#bytes.length) throw new CorruptStateError("a record batch ends inside a record", { code: "KAFKA_CORRUPT_BATCH" });
    return this.#bytes.subarray(start, this.at);
  }
}

function corrupt(where: string, offset: number, what: string): CorruptStateError {
  return new CorruptStateError(`record batch at ${where}/${offset} ${what}`, {
    code: "KAFKA_CORRUPT_BATCH",
    hint: "the broker's disk or the network damaged it: restore the partition from a replica, nothing was skipped",
  });
}
