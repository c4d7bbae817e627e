/**
 * A snapshot object. Layout, little-endian:
 *
 *   8 bytes  "WEIRSNP1"          the version is the last digit
 *   u32      header length
 *   header   SnapshotHeader as JSON, UTF-8
 *   rest     state, one zstd frame
 *
 * The sha256 in the key covers header and uncompressed state, so one state has one key whichever release compressed it:
 * SHA-256(SHA-256(header) then SHA-256(state)). Hash and compression run off the event loop; both are injected, so that the simulation
 * stays on one thread.
 */
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import { promisify } from "node:util";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import type { SnapshotHeader, SnapshotRef } from "./types.ts";

const MAGIC = new TextEncoder().encode("WEIRSNP1");
const PREAMBLE_BYTES = MAGIC.length + 4;

export interface SnapshotCodec {
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  /** Throws on damaged input and on more output than `sizeBytes`. */
  decompress(bytes: Uint8Array, sizeBytes: number): Promise<Uint8Array>;
  /** 64 hex digits that cover all parts. */
  sha256(parts: readonly Uint8Array[]): Promise<string>;
}

export interface SealedSnapshot {
  readonly sha256: string;
  readonly parts: readonly Uint8Array[];
  readonly sizeBytes: number;
}

export async function sealSnapshot(
  codec: Pick<SnapshotCodec, "compress" | "sha256">,
  header: SnapshotHeader,
  state: Uint8Array,
): Promise<SealedSnapshot> {
  const text = new TextEncoder().encode(JSON.stringify(header));
  const preamble = new Uint8Array(PREAMBLE_BYTES);
  preamble.set(MAGIC);
  new DataView(preamble.buffer).setUint32(MAGIC.length, text.length, true);
  const [sha256, body] = await Promise.all([codec.sha256([text, state]), codec.compress(state)]);
  return { sha256, parts: [preamble, text, body], sizeBytes: PREAMBLE_BYTES + text.length + body.length };
}

/** @throws CorruptStateError when the object is not what its key promises. */
export async function openSnapshot(
  codec: SnapshotCodec,
  ref: SnapshotRef,
  object: Uint8Array,
): Promise<{ header: SnapshotHeader; state: Uint8Array }> {
  const { header, text, body } = readHeader(ref.key, object);
  let state: Uint8Array;
  try {
    state = await codec.decompress(body, header.stateBytes);
  } catch (cause) {
    throw corrupt(ref.key, "the state does not unpack", cause);
  }
  if (state.length !== header.stateBytes) throw corrupt(ref.key, `${state.length} bytes of state, header says ${header.stateBytes}`);
  if ((await codec.sha256([text, state])) !== ref.sha256) throw corrupt(ref.key, "its sha256 is not the one in its name");
  return { header, state };
}

/** Without checking the sum: for showing. */
export function readHeader(key: string, object: Uint8Array): { header: SnapshotHeader; text: Uint8Array; body: Uint8Array } {
  if (object.length < PREAMBLE_BYTES || MAGIC.some((byte, i) => object[i] !== byte))
    throw corrupt(key, "it does not begin as a snapshot does");
  const length = new DataView(object.buffer, object.byteOffset).getUint32(MAGIC.length, true);
  if (PREAMBLE_BYTES + length > object.length) throw corrupt(key, "it ends inside its header");
  const text = object.subarray(PREAMBLE_BYTES, PREAMBLE_BYTES + length);
  try {
    const header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text)) as SnapshotHeader;
    if (header.v !== 1 || !Number.isSafeInteger(header.stateBytes)) throw new Error("unknown form");
    return { header, text, body: object.subarray(PREAMBLE_BYTES + length) };
  } catch (cause) {
    throw corrupt(key, "its header is unreadable", cause);
  }
}

function corrupt(key: string, what: string, cause?: unknown): CorruptStateError {
  return new CorruptStateError(`snapshot ${key}: ${what}`, { code: "SNAPSHOT_CORRUPT", cause });
}

const compress = promisify(zstdCompress);
const decompress = promisify(zstdDecompress);

/** zstd 1 in libuv's threads, SHA-256 in WebCrypto's. */
export const zstdCodec: SnapshotCodec = {
  compress: (bytes) => compress(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 } }),
  async decompress(bytes, sizeBytes) {
    const state = await decompress(bytes, { maxOutputLength: Math.max(sizeBytes, 1) });
    // Not as a Buffer, whose `slice` means another thing than the one of the arrays that the fold knows.
    return new Uint8Array(state.buffer, state.byteOffset, state.length);
  },
  async sha256(parts) {
    // WebCrypto copies its input before it leaves this thread, so a state is never joined with its header: sum of sums.
    const sums = await Promise.all(parts.map((part) => crypto.subtle.digest("SHA-256", part as Uint8Array<ArrayBuffer>)));
    return Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.concat(sums.map((sum) => new Uint8Array(sum))))).toString("hex");
  },
};
