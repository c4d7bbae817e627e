import { compressionsAlgorithms } from "@platformatic/kafka";
import { describe, expect, test } from "vitest";
import { compress, decompress, CODEC_IDS } from "#shared/clients/kafka/compression.ts";
import { decodeBatches } from "#shared/clients/kafka/record-batch.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { abortMarker, batchOf, commitMarker, encoded, resealed } from "#test/support/kafka-batches.ts";

const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : Buffer.from(bytes).toString());

/** What kafkajs 2.2.4 writes for the same records, but for the leader epoch, which is the broker's to set: -1 here as in the Java client. */
const GOLDEN =
  "000000000000000000000058ffffffff021b0b571a0010000000010000018bcfe568000000018bcfe5687b0000000000001267000300000007000000023c0000000434320a" +
  "6669727374040667656e0231086b696e640a626c6f636b0e00f60102010100";

describe("a record batch", () => {
  test("is written byte for byte as another client writes it", () => {
    const batch = encoded(
      [
        {
          key: Buffer.from("42"),
          value: Buffer.from("first"),
          headers: [
            ["gen", Buffer.from("1")],
            ["kind", Buffer.from("block")],
          ],
          timestampMs: 1_700_000_000_000,
        },
        { key: null, value: null, timestampMs: 1_700_000_000_123 },
      ],
      { producer: { producerId: 4711n, epoch: 3, sequence: 7, transactional: true } },
    );
    expect(batch.toString("hex")).toBe(GOLDEN);
  });

  test("that another client wrote is read", () => {
    const { records, nextOffset } = decodeBatches(Buffer.from(GOLDEN, "hex"), 0, [], "t/0");
    expect(nextOffset).toBe(2);
    expect(records.map(({ key, value }) => [text(key), text(value)])).toEqual([
      ["42", "first"],
      [null, null],
    ]);
    expect(records.map(({ timestampMs }) => timestampMs)).toEqual([1_700_000_000_000, 1_700_000_000_123]);
    expect(records[0]!.headers.map(([name, value]) => [name, text(value)])).toEqual([
      ["gen", "1"],
      ["kind", "block"],
    ]);
  });

  test("stamped by the broker gives its time to every record", () => {
    const batch = batchOf(5, 3);
    batch.writeInt16BE(batch.readInt16BE(21) | 0x08, 21);
    batch.writeBigInt64BE(1_800_000_000_000n, 35);
    const { records } = decodeBatches(resealed(batch), 5, [], "t/0");
    expect(records.map(({ timestampMs }) => timestampMs)).toEqual([1_800_000_000_000, 1_800_000_000_000, 1_800_000_000_000]);
  });

  test("that starts before the asked offset gives only what lies behind it", () => {
    const { records, nextOffset } = decodeBatches(batchOf(10, 6), 13, [], "t/0");
    expect(records.map(({ offset, value }) => [offset, text(value)])).toEqual([
      [13, "v13"],
      [14, "v14"],
      [15, "v15"],
    ]);
    expect(nextOffset).toBe(16);
  });

  test("hands out views of what was received, not copies", () => {
    const batch = batchOf(0, 2);
    const { records } = decodeBatches(batch, 0, [], "t/0");
    for (const { value } of records) expect(value!.buffer).toBe(batch.buffer);
  });

  test("holding no record is a bug of the caller", () => {
    expect(() => encoded([])).toThrow("at least one record");
  });

  test("with a wrong checksum is refused and its offset named", () => {
    const batch = batchOf(77, 1);
    batch[batch.length - 2]! ^= 1;
    expect(() => decodeBatches(batch, 77, [], "events.raw/3")).toThrow(CorruptStateError);
    expect(() => decodeBatches(batch, 77, [], "events.raw/3")).toThrow("record batch at events.raw/3/77 fails its CRC");
  });

  test.each<[string, (batch: Buffer) => void]>([
    ["an older format", (batch) => void (batch[16] = 1)],
    ["a negative length", (batch) => void batch.writeInt32BE(-20, 8)],
    ["a length below its own head", (batch) => void batch.writeInt32BE(20, 8)],
    ["more records than bytes", (batch) => void resealed((batch.writeInt32BE(9, 57), batch))],
    ["a codec that does not exist", (batch) => void resealed((batch.writeInt16BE(6, 21), batch))],
    ["a codec that it is not packed by", (batch) => void resealed((batch.writeInt16BE(CODEC_IDS.zstd, 21), batch))],
  ])("with %s is refused", (_what, damage) => {
    const batch = batchOf(0, 2);
    damage(batch);
    expect(() => decodeBatches(batch, 0, [], "t/0")).toThrow(CorruptStateError);
  });
});

describe("an aborted transaction", () => {
  const aborted = [{ producerId: 9n, firstOffset: 2 }];

  test("ends at its own marker: the same producer's next one is visible", () => {
    const log = Buffer.concat([
      batchOf(0, 2),
      batchOf(2, 2, { producerId: 9n }),
      abortMarker(4, 9n),
      batchOf(5, 1, { producerId: 9n }),
      commitMarker(6, 9n),
    ]);
    const { records, nextOffset } = decodeBatches(log, 0, aborted, "t/0");
    expect(records.map(({ offset }) => offset)).toEqual([0, 1, 5]);
    expect(nextOffset).toBe(7);
  });

  test("whose marker comes in a later answer is left out of both", () => {
    const first = decodeBatches(batchOf(2, 2, { producerId: 9n }), 0, aborted, "t/0");
    expect(first).toMatchObject({ records: [], nextOffset: 4 });
    const second = decodeBatches(Buffer.concat([batchOf(4, 1, { producerId: 9n }), abortMarker(5, 9n)]), 4, aborted, "t/0");
    expect(second).toMatchObject({ records: [], nextOffset: 6 });
  });

  test("hides nothing of other producers, of plain records, or of a read_uncommitted reader", () => {
    const log = Buffer.concat([batchOf(2, 1, { producerId: 9n }), batchOf(3, 1, { producerId: 8n }), batchOf(4, 1), abortMarker(5, 9n)]);
    expect(decodeBatches(log, 2, aborted, "t/0").records.map(({ offset }) => offset)).toEqual([3, 4]);
    expect(decodeBatches(log, 2, [], "t/0").records.map(({ offset }) => offset)).toEqual([2, 3, 4]);
  });
});

describe("snappy", () => {
  const plain = Buffer.from("weir ".repeat(60_000));

  test("is framed as snappy-java frames it, in chunks", () => {
    const packed = compress("snappy", plain);
    expect(packed.subarray(0, 16).toString("hex")).toBe("82534e41505059000000000100000001");
    let chunks = 0;
    for (let at = 16; at < packed.length; at += 4 + packed.readInt32BE(at)) chunks++;
    expect(chunks).toBe(Math.ceil(plain.length / 65_536));
    expect(decompress(CODEC_IDS.snappy, packed).equals(plain)).toBe(true);
  });

  test("without a frame, as librdkafka and Go clients write it, is read", () => {
    const raw = compressionsAlgorithms.snappy.compressSync(plain);
    expect(decompress(CODEC_IDS.snappy, raw).equals(plain)).toBe(true);
  });
});
