import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { CODEC_IDS, decompress } from "#shared/clients/kafka/compression.ts";

/** More than a record batch may hold, in less than a broker's message takes. */
const UNPACKED_BYTES = 300 << 20;

test.each([
  ["gzip", gzipSync],
  ["zstd", zstdCompressSync],
] as const)("a batch of a few kilobytes that unpacks by %s to 300 MB is refused as corrupt, and not held in memory", (codec, compress) => {
  const bomb = compress(Buffer.alloc(UNPACKED_BYTES));
  expect(bomb.length).toBeLessThan(1 << 20);
  expect(() => decompress(CODEC_IDS[codec], bomb)).toThrow(expect.objectContaining({ code: "KAFKA_CORRUPT_BATCH" }));
});

test("a batch that claims by snappy to unpack to 4 GB is refused", () => {
  const claim = Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]);
  expect(() => decompress(CODEC_IDS.snappy, claim)).toThrow(expect.objectContaining({ code: "KAFKA_CORRUPT_BATCH" }));
});
