/** The codecs of record batches by their number in the batch's attributes. */
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { compressionsAlgorithms } from "@platformatic/kafka";
import { CorruptStateError, toError } from "../../kernel/errors.ts";
import type { Compression } from "./types.ts";

export const CODEC_IDS: Readonly<Record<Compression, number>> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };

const BY_ID = ["none", "gzip", "snappy", "lz4", "zstd"] as const satisfies readonly Compression[];

/** A batch that unpacks to more than this is an attack or damage: brokers take 1 to 2 MB packed. */
const UNPACKED_BYTES_MAX = 256 << 20;

/**
 * The framing of snappy-java, which the Java client writes (github.com/xerial/snappy-java, SnappyOutputStream): magic, two versions i32, then
 * chunks of length i32 + raw snappy. Some readers take nothing else.
 */
const XERIAL_HEADER = Buffer.from("82534e41505059000000000100000001", "hex");
const XERIAL_MAGIC_BYTES = 8;
const XERIAL_CHUNK_BYTES = 64 << 10;

export function compress(codec: Compression, bytes: Buffer): Buffer {
  switch (codec) {
    case "none":
      return bytes;
    case "gzip":
      return gzipSync(bytes);
    case "snappy":
      return compressSnappy(bytes);
    case "lz4":
      return compressionsAlgorithms.lz4.compressSync(bytes);
    case "zstd":
      return zstdCompressSync(bytes);
  }
}

export function decompress(id: number, bytes: Buffer): Buffer {
  const codec = BY_ID[id];
  if (codec === undefined) throw new CorruptStateError(`record batch has the unknown codec ${id}`, { code: "KAFKA_CORRUPT_BATCH" });
  try {
    switch (codec) {
      case "none":
        return bytes;
      case "gzip":
        return gunzipSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX });
      case "snappy":
        return decompressSnappy(bytes);
      case "lz4":
        return compressionsAlgorithms.lz4.decompressSync(bytes);
      case "zstd":
        return zstdDecompressSync(bytes, { maxOutputLength: UNPACKED_BYTES_MAX });
    }
  } catch (thrown) {
    throw new CorruptStateError(`record batch does not decompress as ${codec}`, { code: "KAFKA_CORRUPT_BATCH", cause: toError(thrown) });
  }
}

function compressSnappy(bytes: Buffer): Buffer {
  const pieces: Buffer[] = [XERIAL_HEADER];
  for (let at = 0; at < bytes.length; at += XERIAL_CHUNK_BYTES) {
    const chunk = compressionsAlgorithms.snappy.compressSync(bytes.subarray(at, at + XERIAL_CHUNK_BYTES));
    const length = Buffer.allocUnsafe(4);
    length.writeInt32BE(chunk.length, 0);
    pieces.push(length, chunk);
  }
  return Buffer.concat(pieces);
}

/** Raw snappy without framing comes from other clients (librdkafka, Go). */
function decompressSnappy(bytes: Buffer): Buffer {
  const { decompressSync } = compressionsAlgorithms.snappy;
  if (!bytes.subarray(0, XERIAL_MAGIC_BYTES).equals(XERIAL_HEADER.subarray(0, XERIAL_MAGIC_BYTES))) return decompressSync(bytes);
  const pieces: Buffer[] = [];
  for (let at = XERIAL_HEADER.length; at < bytes.length;) {
    const end = at + 4 + bytes.readInt32BE(at);
    if (end <= at + 4 || end > bytes.length) throw new Error("a chunk has an impossible length");
    pieces.push(decompressSync(bytes.subarray(at + 4, end)));
    at = end;
  }
  return Buffer.concat(pieces);
}
