import kafkajs from "kafkajs";
import { expect, test } from "vitest";
import { partitionOf } from "#shared/events/partitioner.ts";

test("a key goes to the partition that other Kafka clients choose for it", () => {
  const partitions = 48;
  const partitionMetadata = Array.from({ length: partitions }, (_, partitionId) => ({ partitionId, leader: 1 }));
  const choose = kafkajs.Partitioners.DefaultPartitioner();
  const keys = [
    "0",
    "1",
    "42",
    "9007199254740991",
    "18446744073709551615",
    "user",
    "",
    "ключ",
    ...Array.from({ length: 2_000 }, (_, i) => String(i * 7_919)),
  ];
  for (const key of keys) {
    const theirs = choose({ topic: "t", partitionMetadata: partitionMetadata as never, message: { key, value: "" } });
    expect(partitionOf(Buffer.from(key), partitions)).toBe(theirs);
  }
});
