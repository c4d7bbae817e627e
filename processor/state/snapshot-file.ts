/**
 * A snapshot as bytes. Little-endian:
 *
 *   0  8 bytes  magic "WEIRSNAP"
 *   8  u32      format version
 *  12  u32      fold version
 *  16  u32      number of sections
 *  20  u32      CRC-32C of bytes 0-19 and of the table
 *  24  table: per section 16 bytes name (ASCII, zero-padded), f64 length, u32 CRC-32C of its bytes
 *      and their padding, u32 zero
 *      sections in the order of the table, each padded with zeros to a multiple of 8
 *
 * A change of this layout is a new format version; files of every version ever released stay readable.
 */
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { crc32c } from "./crc32c.ts";

export const SNAPSHOT_FORMAT = 1;
const MAGIC = "WEIRSNAP";
const HEAD_BYTES = 24;
const ENTRY_BYTES = 32;
const NAME_BYTES = 16;
const HINT = "an older snapshot and the log give the same state";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface SnapshotSection {
  readonly name: string;
  readonly length: number;
  /** Fills the section's bytes, 8-aligned. */
  write(target: Uint8Array): void;
}

/** The whole file. */
export function writeSnapshotFile(foldVersion: number, sections: readonly SnapshotSection[]): Uint8Array {
  const bytes = layOutSnapshotFile(foldVersion, sections, (sizeBytes) => new Uint8Array(sizeBytes))!;
  sealSnapshotFile(bytes);
  return bytes;
}

/**
 * The file without its checksums, for {@link sealSnapshotFile}: what the fold has to stop for is the copying alone. `room` gives the memory,
 * whatever it holds is overwritten; null when it gives none.
 */
export function layOutSnapshotFile(
  foldVersion: number,
  sections: readonly SnapshotSection[],
  room: (sizeBytes: number) => Uint8Array | null,
): Uint8Array | null {
  const tableEnd = HEAD_BYTES + sections.length * ENTRY_BYTES;
  const size = sections.reduce((sum, section) => sum + pad8(section.length), tableEnd);
  const bytes = room(size);
  if (bytes === null) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  bytes.fill(0, 0, tableEnd);
  bytes.set(encoder.encode(MAGIC));
  view.setUint32(8, SNAPSHOT_FORMAT, true);
  view.setUint32(12, foldVersion, true);
  view.setUint32(16, sections.length, true);
  let at = tableEnd;
  for (const [i, section] of sections.entries()) {
    section.write(bytes.subarray(at, at + section.length));
    bytes.fill(0, at + section.length, at + pad8(section.length));
    const entry = HEAD_BYTES + i * ENTRY_BYTES;
    bytes.set(encoder.encode(section.name).subarray(0, NAME_BYTES), entry);
    view.setFloat64(entry + 16, section.length, true);
    at += pad8(section.length);
  }
  return bytes;
}

/** Writes the checksums. */
export function sealSnapshotFile(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const tableEnd = HEAD_BYTES + view.getUint32(16, true) * ENTRY_BYTES;
  let at = tableEnd;
  for (let entry = HEAD_BYTES; entry < tableEnd; entry += ENTRY_BYTES) {
    const length = pad8(view.getFloat64(entry + 16, true));
    view.setUint32(entry + 24, crc32c(bytes.subarray(at, at + length)), true);
    at += length;
  }
  view.setUint32(20, headChecksum(bytes, tableEnd), true);
}

/** Sections by name, as views. @throws CorruptStateError that names the section whose bytes are wrong. */
export function readSnapshotFile(bytes: Uint8Array): { foldVersion: number; sections: ReadonlyMap<string, Uint8Array> } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < HEAD_BYTES || decoder.decode(bytes.subarray(0, 8)) !== MAGIC) throw corrupt("header", "is not a snapshot");
  const format = view.getUint32(8, true);
  if (format !== SNAPSHOT_FORMAT) {
    throw new CorruptStateError(`snapshot has format ${format}, this version reads ${SNAPSHOT_FORMAT}`, {
      code: "SNAPSHOT_FORMAT",
      hint: HINT,
    });
  }
  const count = view.getUint32(16, true);
  const tableEnd = HEAD_BYTES + count * ENTRY_BYTES;
  if (tableEnd > bytes.length || view.getUint32(20, true) !== headChecksum(bytes, tableEnd))
    throw corrupt("header", "has a wrong checksum");
  const sections = new Map<string, Uint8Array>();
  let at = tableEnd;
  for (let entry = HEAD_BYTES; entry < tableEnd; entry += ENTRY_BYTES) {
    const name = decoder.decode(bytes.subarray(entry, entry + NAME_BYTES)).replace(/\0+$/, "");
    const length = view.getFloat64(entry + 16, true);
    if (at + pad8(length) > bytes.length) throw corrupt(name, "is cut short");
    if (crc32c(bytes.subarray(at, at + pad8(length))) !== view.getUint32(entry + 24, true)) throw corrupt(name, "has a wrong checksum");
    sections.set(name, bytes.subarray(at, at + length));
    at += pad8(length);
  }
  if (at !== bytes.length) throw corrupt("header", "does not cover the file");
  return { foldVersion: view.getUint32(12, true), sections };
}

function headChecksum(bytes: Uint8Array, tableEnd: number): number {
  const head = new Uint8Array(tableEnd - 4);
  head.set(bytes.subarray(0, 20));
  head.set(bytes.subarray(HEAD_BYTES, tableEnd), 20);
  return crc32c(head);
}

function corrupt(section: string, problem: string): CorruptStateError {
  return new CorruptStateError(`snapshot section ${section} ${problem}`, { code: "SNAPSHOT_CORRUPT", hint: HINT });
}

function pad8(length: number): number {
  return Math.ceil(length / 8) * 8;
}
