/** The codecs of record batches by their number in the batch's attributes. */
import { compressionsAlgorithms } from "@platformatic/kafka";
import { CorruptStateError, toError } from "../../kernel/errors.ts";
import type { Compression } from "./types.ts";

export const CODEC_IDS: Readonly<Record<Compression, number>> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };

const BY_ID = ["none", "gzip", "snappy", "lz4", "zstd"] as const satisfies readonly Compression[];

export function compress(codec: Compression, bytes: Buffer): Buffer {
  return compressionsAlgorithms[codec].compressSync(bytes);
}

export function decompress(id: number, bytes: Buffer): Buffer {
  const codec = BY_ID[id];
  if (codec === undefined) throw new CorruptStateError(`record batch has the unknown codec ${id}`, { code: "KAFKA_CORRUPT_BATCH" });
  if (codec === "none") return bytes;
  try {
    return compressionsAlgorithms[codec].decompressSync(bytes);
  } catch (thrown) {
    throw new CorruptStateError(`record batch does not decompress as ${codec}`, { code: "KAFKA_CORRUPT_BATCH", cause: toError(thrown) });
  }
}
