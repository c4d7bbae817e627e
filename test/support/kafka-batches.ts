/** Record batches as a broker stores them. The markers are written here by hand, from the format's description, not by the code under test. */
import { crc32c } from "@node-rs/crc32";
import { BufferPool } from "#shared/clients/kafka/buffer-pool.ts";
import { type BatchOptions, encodeBatch, NO_PRODUCER } from "#shared/clients/kafka/record-batch.ts";
import type { Compression, OutgoingRecord } from "#shared/clients/kafka/types.ts";

/** In one piece, as the broker receives it. */
export function encoded(records: readonly OutgoingRecord[], options: Partial<BatchOptions> = {}): Buffer {
  const given = { compression: "none", defaultTimestampMs: 0, producer: NO_PRODUCER, pool: new BufferPool(), ...options } as const;
  return Buffer.concat(encodeBatch(records, given).pieces);
}

/** The batch as appended at this offset: the broker writes only the base offset, which the checksum does not cover. */
export function at(batch: Buffer, baseOffset: number): Buffer {
  batch.writeBigInt64BE(BigInt(baseOffset), 0);
  return batch;
}

/** Record i has the value `v<offset>`. With a producer id it is transactional. */
export function batchOf(baseOffset: number, size: number, options: { producerId?: bigint; compression?: Compression } = {}): Buffer {
  const records = Array.from({ length: size }, (_, i) => ({ key: null, value: Buffer.from(`v${baseOffset + i}`) }));
  const { producerId, compression = "none" } = options;
  const producer = producerId === undefined ? NO_PRODUCER : { producerId, epoch: 0, sequence: 0, transactional: true };
  return at(encoded(records, { compression, producer }), baseOffset);
}

export function resealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

/** Control batch: attributes transactional and control; key = version i16 0, type i16; value = version i16 0, coordinator epoch i32. */
function marker(baseOffset: number, producerId: bigint, type: 0 | 1): Buffer {
  const record = Buffer.from([32, 0, 0, 0, 8, 0, 0, 0, type, 12, 0, 0, 0, 0, 0, 7, 0]);
  const batch = Buffer.alloc(61 + record.length);
  record.copy(batch, 61);
  batch.writeInt32BE(batch.length - 12, 8);
  batch[16] = 2;
  batch.writeInt16BE(0x30, 21);
  batch.writeBigInt64BE(producerId, 43);
  batch.writeInt32BE(-1, 53);
  batch.writeInt32BE(1, 57);
  return at(resealed(batch), baseOffset);
}

export function abortMarker(baseOffset: number, producerId: bigint): Buffer {
  return marker(baseOffset, producerId, 0);
}

export function commitMarker(baseOffset: number, producerId: bigint): Buffer {
  return marker(baseOffset, producerId, 1);
}
