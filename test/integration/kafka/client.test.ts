import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createTopics, deleteTopics, listTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import type { Compression, FetchedPartition, Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { OperatingError, UnavailableError } from "#shared/kernel/errors.ts";
import { createTestTopic, readAll, readIndependently, textOf, textRecords, uniqueName } from "#test/support/kafka-topic.ts";

const broker = inject("stack").kafka;
const CODECS = ["none", "gzip", "snappy", "lz4", "zstd"] as const satisfies readonly Compression[];
let kafka: Kafka;

beforeAll(async () => {
  kafka = await openKafka({ brokers: [broker], clientId: "test" });
});
afterAll(() => kafka.close());

describe("produce and fetch", () => {
  test("carry keys, values, headers and nulls, and every compression", async () => {
    const topic = await createTestTopic(broker);
    const sent: OutgoingRecord[] = CODECS.map((codec) => ({
      key: Buffer.from(codec),
      value: Buffer.from(`${codec} `.repeat(20_000)),
      headers: [["codec", Buffer.from(codec)]],
    }));
    for (const [i, codec] of CODECS.entries()) {
      const records = [sent[i]!, { key: null, value: null }];
      expect(await kafka.produce({ topic, partition: 0 }, records, { compression: codec })).toBe(2 * i);
    }
    const { records } = await readAll(kafka, { topic, partition: 0 });
    expect(records.map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const [i, codec] of CODECS.entries()) {
      const { key, value, headers } = records[2 * i]!;
      expect(Buffer.from(key!).toString()).toBe(codec);
      expect(textOf({ value })).toBe(textOf(sent[i]!));
      expect(headers.map(([name, content]) => [name, Buffer.from(content).toString()])).toEqual([["codec", codec]]);
      expect(records[2 * i + 1]).toMatchObject({ key: null, value: null, headers: [] });
    }
  });

  // The broker repacks by its own libraries, so each direction is judged by another implementation than ours.
  test.each(CODECS.filter((codec) => codec !== "none"))("%s of ours is read by the broker, and the broker's by us", async (codec) => {
    const values = Array.from({ length: 300 }, (_, i) => `${i} ${codec} ${"weir ".repeat(i)}`);
    const ours = await createTestTopic(broker, { config: { "compression.type": "uncompressed" } });
    await kafka.produce({ topic: ours, partition: 0 }, textRecords(...values), { compression: codec });
    expect(await readIndependently(broker, ours)).toEqual(values);
    const theirs = await createTestTopic(broker, { config: { "compression.type": codec } });
    await kafka.produce({ topic: theirs, partition: 0 }, textRecords(...values));
    expect((await readAll(kafka, { topic: theirs, partition: 0 })).records.map(textOf)).toEqual(values);
  });

  test("give the broker's time where the topic says so, the producer's elsewhere", async () => {
    const stamped = await createTestTopic(broker, { config: { "message.timestamp.type": "LogAppendTime" } });
    const free = await createTestTopic(broker);
    const before = Date.now();
    const record = { ...textRecords("x")[0]!, timestampMs: 1_600_000_000_000 };
    for (const topic of [stamped, free]) await kafka.produce({ topic, partition: 0 }, [record]);
    const [byBroker] = (await readAll(kafka, { topic: stamped, partition: 0 })).records;
    expect(byBroker!.timestampMs).toBeGreaterThanOrEqual(before - 1_000);
    const [byProducer] = (await readAll(kafka, { topic: free, partition: 0 })).records;
    expect(byProducer!.timestampMs).toBe(1_600_000_000_000);
  });

  test("serve several partitions at once and starve none, however full the first ones are", async () => {
    const topic = await createTestTopic(broker, { partitions: 4 });
    const block = [{ key: null, value: Buffer.alloc(100_000, "x") }];
    for (let i = 0; i < 5; i++) await Promise.all([0, 1, 2, 3].map((partition) => kafka.produce({ topic, partition }, block)));
    const offsets = [0, 0, 0, 0];
    for (let answers = 0; answers < 40 && Math.min(...offsets) < 5; answers++) {
      const requests = offsets.map((offset, partition) => ({ topic, partition, offset }));
      const got = await kafka.fetch(requests, { isolation: "read_committed", maxBytes: 150_000 });
      for (const { partition, nextOffset } of got) offsets[partition] = nextOffset;
    }
    expect(offsets).toEqual([5, 5, 5, 5]);
  });

  test("answer at once with data, and empty after the wait without", async () => {
    const topic = await createTestTopic(broker);
    const empty = await kafka.fetch([{ topic, partition: 0, offset: 0 }], { isolation: "read_committed", maxWaitMs: 20 });
    expect(empty).toMatchObject([
      { topic, partition: 0, highWatermarkOffset: 0, lastStableOffset: 0, logStartOffset: 0, records: [], nextOffset: 0 },
    ]);
    const waiting = kafka.fetch([{ topic, partition: 0, offset: 0 }], { isolation: "read_committed", maxWaitMs: 20_000 });
    // A long poll does not hold up what else the client does.
    await kafka.produce({ topic, partition: 0 }, textRecords("x"));
    expect((await waiting)[0]!.records.map(textOf)).toEqual(["x"]);
  });

  test("leave an answer as it is while others come; one released serves the next", async () => {
    const topic = await createTestTopic(broker);
    const at = { topic, partition: 0 };
    for (const letter of ["a", "b", "c"]) await kafka.produce(at, [{ key: null, value: Buffer.alloc(500_000, letter) }]);
    const one = async (offset: number): Promise<FetchedPartition> =>
      (await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", partitionMaxBytes: 1 }))[0]!;
    const first = await one(0);
    const second = await one(1);
    expect([first, second].map(({ records }) => textOf(records[0]!)!.slice(0, 3))).toEqual(["aaa", "bbb"]);
    const memory = first.records[0]!.value!.buffer;
    expect(second.records[0]!.value!.buffer).not.toBe(memory);
    first.release!();
    first.release!();
    const third = await one(2);
    expect(third.records[0]!.value!.buffer).toBe(memory);
    expect(textOf(second.records[0]!)).toBe("b".repeat(500_000));
    expect(textOf(third.records[0]!)).toBe("c".repeat(500_000));
  });

  test("a hundred at a time keep each partition's order", async () => {
    const topic = await createTestTopic(broker, { partitions: 5 });
    const chains = [0, 1, 2, 3, 4].map(async (partition) => {
      for (let i = 0; i < 20; i++) expect(await kafka.produce({ topic, partition }, textRecords(`${partition}-${i}`))).toBe(i);
    });
    await Promise.all(chains);
    for (let partition = 0; partition < 5; partition++) {
      const { records } = await readAll(kafka, { topic, partition });
      expect(records.map(textOf)).toEqual(Array.from({ length: 20 }, (_, i) => `${partition}-${i}`));
    }
  });
});

describe("refusals", () => {
  test("a record larger than the topic takes is named, and the next one goes through", async () => {
    const topic = await createTestTopic(broker, { config: { "max.message.bytes": "50000" } });
    const failure = kafka.produce({ topic, partition: 0 }, [{ key: null, value: Buffer.alloc(60_000) }]);
    await expect(failure).rejects.toMatchObject({
      code: "KAFKA_RECORD_TOO_LARGE",
      message: expect.stringMatching(/60\d\d\d bytes to .*MESSAGE_TOO_LARGE/),
    });
    await expect(kafka.produce({ topic, partition: 0 }, textRecords("small"))).resolves.toBe(0);
  });

  test("an offset outside the log is never replaced by another", async () => {
    const topic = await createTestTopic(broker);
    await kafka.produce({ topic, partition: 0 }, textRecords("x"));
    const failure = kafka.fetch([{ topic, partition: 0, offset: 5 }], { isolation: "read_committed" });
    await expect(failure).rejects.toMatchObject({ code: "KAFKA_OFFSET_OUT_OF_RANGE", message: expect.stringContaining("/0 at offset 5") });
    await expect(failure).rejects.toBeInstanceOf(OperatingError);
  });

  test("an unknown topic is named", async () => {
    const topic = uniqueName("absent");
    for (const attempt of [() => kafka.partitionCount(topic), () => kafka.produce({ topic, partition: 0 }, textRecords("x"))]) {
      await expect(attempt()).rejects.toMatchObject({ code: "KAFKA_UNKNOWN_TOPIC", message: expect.stringContaining(topic) });
    }
  });

  test("an unknown partition is named", async () => {
    const topic = await createTestTopic(broker);
    const failure = kafka.produce({ topic, partition: 9 }, textRecords("x"));
    await expect(failure).rejects.toMatchObject({ code: "KAFKA_UNKNOWN_TOPIC", message: expect.stringContaining(`${topic}/9`) });
  });

  test("no broker at the address is said after the time given, with the address", async () => {
    const opening = openKafka({ brokers: ["127.0.0.1:1"], clientId: "test", unavailableAfterMs: 300 });
    await expect(opening).rejects.toBeInstanceOf(UnavailableError);
    await expect(opening).rejects.toMatchObject({
      message: expect.stringContaining("127.0.0.1:1"),
      hint: expect.stringContaining("WEIR_KAFKA"),
    });
  });

  test("the first of several brokers may be away", async () => {
    const other = await openKafka({ brokers: ["127.0.0.1:1", broker], clientId: "test" });
    await expect(other.partitionCount(await createTestTopic(broker, { partitions: 3 }))).resolves.toBe(3);
    await other.close();
  });

  test("a closed client says so", async () => {
    const other = await openKafka({ brokers: [broker], clientId: "test" });
    const topic = await createTestTopic(broker);
    const polling = other.fetch([{ topic, partition: 0, offset: 0 }], { isolation: "read_committed", maxWaitMs: 20_000 });
    await other.close();
    await expect(polling).rejects.toMatchObject({ code: "KAFKA_CLOSED" });
    await expect(other.partitionCount(topic)).rejects.toMatchObject({ code: "KAFKA_CLOSED" });
  });
});

describe("offsets of a group", () => {
  test("come back with two kilobytes of metadata, and -1 where there are none", async () => {
    const topic = await createTestTopic(broker, { partitions: 2 });
    const group = uniqueName("group");
    const metadata = JSON.stringify({ hw: 41, note: "ä".repeat(1_000) });
    await kafka.commitOffsets(group, [{ topic, partition: 1, offset: 42, metadata }]);
    const of = [
      { topic, partition: 0 },
      { topic, partition: 1 },
    ];
    expect(await kafka.committedOffsets(group, of, { requireStable: true })).toEqual([
      { topic, partition: 0, offset: -1, metadata: "" },
      { topic, partition: 1, offset: 42, metadata },
    ]);
  });

  test("refuse metadata beyond the broker's limit", async () => {
    const topic = await createTestTopic(broker);
    const failure = kafka.commitOffsets(uniqueName("group"), [{ topic, partition: 0, offset: 1, metadata: "x".repeat(5_000) }]);
    await expect(failure).rejects.toMatchObject({ code: "KAFKA_METADATA_TOO_LARGE" });
  });
});

describe("admin", () => {
  test("creates topics once, and refuses another number of partitions with both numbers", async () => {
    const topic = uniqueName("topic");
    const spec = { topic, partitions: 3, replicationFactor: 1, config: { "retention.ms": "60000" } };
    await createTopics([broker], [spec]);
    await createTopics([broker], [spec]);
    expect(await kafka.partitionCount(topic)).toBe(3);
    const failure = createTopics([broker], [{ ...spec, partitions: 4 }]);
    await expect(failure).rejects.toMatchObject({
      code: "KAFKA_PARTITION_COUNT",
      message: `topic ${topic} has 3 partitions, the configuration says 4`,
    });
    await deleteTopics([broker], [topic, uniqueName("absent")]);
    expect(await listTopics([broker])).not.toContain(topic);
  });

  test("the independent reader reads every partition to its end, over many answers", async () => {
    const topic = await createTestTopic(broker, { partitions: 2 });
    const value = Buffer.alloc(300_000, "x");
    for (let i = 0; i < 12; i++) await kafka.produce({ topic, partition: i % 2 }, [{ key: Buffer.from(String(i)), value }]);
    const keys: string[] = [];
    await readCommitted([broker], topic, ({ key }) => keys.push(String(key)));
    expect(keys.toSorted((a, b) => Number(a) - Number(b))).toEqual(Array.from({ length: 12 }, (_, i) => String(i)));
  });
});
