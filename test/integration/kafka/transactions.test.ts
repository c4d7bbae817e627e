import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka, TopicPartition, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import { InvariantError } from "#shared/kernel/assert.ts";
import { FencedError, OperatingError } from "#shared/kernel/errors.ts";
import { allDecided, createTestTopic, readAll, readIndependently, textOf, textRecords, uniqueName } from "#test/support/kafka-topic.ts";

const broker = inject("stack").kafka;
const TIMEOUT = { transactionTimeoutMs: 60_000 };
let kafka: Kafka;

beforeAll(async () => {
  kafka = await openKafka({ brokers: [broker], clientId: "test" });
});
afterAll(() => kafka.close());

const start = (id: string): Promise<TransactionalProducer> => kafka.initProducer(id, TIMEOUT);
const committed = async (at: TopicPartition): Promise<(string | null)[]> => {
  await allDecided(kafka, at.topic);
  return (await readAll(kafka, at)).records.map(textOf);
};
const independent = async (topic: string): Promise<string[]> => {
  await allDecided(kafka, topic);
  return readIndependently(broker, topic);
};

describe("a transaction", () => {
  test("shows its records and its offset together, only after the commit", async () => {
    const topic = await createTestTopic(broker, { partitions: 2 });
    const group = uniqueName("group");
    const source = { topic, partition: 0 };
    const producer = await start(uniqueName("id"));
    expect(producer.protocol).toBe("V2");
    await Promise.all([
      producer.send({ topic, partition: 0 }, textRecords("a")),
      producer.send({ topic, partition: 1 }, textRecords("b", "c")),
    ]);
    const metadata = JSON.stringify({ hw: 6, counters: "9".repeat(1_900) });
    await producer.commitOffsets(group, [{ ...source, offset: 7, metadata }]);
    expect(await kafka.listOffset({ topic, partition: 1 }, "latest", "read_committed")).toBe(0);
    expect(await kafka.listOffset({ topic, partition: 1 }, "latest", "read_uncommitted")).toBe(2);
    const [before] = await kafka.committedOffsets(group, [source], { requireStable: false });
    expect(before!.offset).toBe(-1);
    // Pending: a stable answer must wait for the decision.
    const stable = kafka.committedOffsets(group, [source], { requireStable: true });
    await producer.commit();
    expect(await stable).toEqual([{ ...source, offset: 7, metadata }]);
    expect(await committed({ topic, partition: 1 })).toEqual(["b", "c"]);
    expect((await independent(topic)).toSorted()).toEqual(["a", "b", "c"]);
  });

  test("follows another a hundred times, each with a higher epoch, and nothing is lost, doubled or moved", async () => {
    const topic = await createTestTopic(broker, { partitions: 3 });
    const group = uniqueName("group");
    const producer = await start(uniqueName("id"));
    let epoch = producer.epoch;
    for (let i = 0; i < 100; i++) {
      await Promise.all([0, 1, 2].map((partition) => producer.send({ topic, partition }, textRecords(`${i}`, `${i}'`))));
      await producer.commitOffsets(group, [{ topic, partition: 0, offset: i, metadata: `${i}` }]);
      await producer.commit();
      expect(producer.epoch).toBeGreaterThan(epoch);
      epoch = producer.epoch;
    }
    const expected = Array.from({ length: 100 }, (_, i) => [`${i}`, `${i}'`]).flat();
    for (const partition of [0, 1, 2]) expect(await committed({ topic, partition })).toEqual(expected);
    const all = await independent(topic);
    expect(all).toHaveLength(600);
    expect(await kafka.committedOffsets(group, [{ topic, partition: 0 }], { requireStable: true })).toMatchObject([
      { offset: 99, metadata: "99" },
    ]);
  });

  test("keeps the order of several sends to one partition, sent without waiting", async () => {
    const topic = await createTestTopic(broker, { partitions: 2 });
    const producer = await start(uniqueName("id"));
    const sends = Array.from({ length: 40 }, (_, i) => producer.send({ topic, partition: i % 2 }, textRecords(`${i}`)));
    const offsets = await Promise.all(sends);
    await producer.commit();
    expect(offsets).toEqual(Array.from({ length: 40 }, (_, i) => Math.floor(i / 2)));
    expect(await committed({ topic, partition: 0 })).toEqual(Array.from({ length: 20 }, (_, i) => `${2 * i}`));
  });

  test("that was empty commits without a word to the broker", async () => {
    const producer = await start(uniqueName("id"));
    const { epoch } = producer;
    await producer.commit();
    expect(producer.epoch).toBe(epoch);
  });

  test("cannot be committed before its sends are acknowledged, and is then over for good", async () => {
    const topic = await createTestTopic(broker);
    const producer = await start(uniqueName("id"));
    const sending = producer.send({ topic, partition: 0 }, textRecords("x")).catch((error: unknown) => error);
    await expect(producer.commit()).rejects.toMatchObject({ code: "KAFKA_COMMIT_EARLY" });
    await sending;
    await expect(producer.send({ topic, partition: 0 }, textRecords("x"))).rejects.toMatchObject({ code: "KAFKA_PRODUCER_DEAD" });
    await expect(producer.commit()).rejects.toMatchObject({ code: "KAFKA_PRODUCER_DEAD" });
  });

  test("with a record that is too large is dead, its other records never visible, its id free for the next owner", async () => {
    const topic = await createTestTopic(broker, { partitions: 2, config: { "max.message.bytes": "50000" } });
    const id = uniqueName("id");
    const producer = await start(id);
    await producer.send({ topic, partition: 0 }, textRecords("lost"));
    await expect(producer.send({ topic, partition: 1 }, [{ key: null, value: Buffer.alloc(60_000) }])).rejects.toMatchObject({
      code: "KAFKA_RECORD_TOO_LARGE",
      message: expect.stringContaining(`${topic}/1`),
    });
    await expect(producer.commit()).rejects.toMatchObject({ code: "KAFKA_PRODUCER_DEAD" });
    const next = await start(id);
    await next.send({ topic, partition: 0 }, textRecords("kept"));
    await next.commit();
    expect(await independent(topic)).toEqual(["kept"]);
  });

  test("without a record in a send is a bug of the caller", async () => {
    const producer = await start(uniqueName("id"));
    await expect(producer.send({ topic: await createTestTopic(broker), partition: 0 }, [])).rejects.toBeInstanceOf(InvariantError);
  });

  test("longer than the cluster allows is refused by name", async () => {
    const failure = kafka.initProducer(uniqueName("id"), { transactionTimeoutMs: 86_400_000 });
    await expect(failure).rejects.toMatchObject({ code: "KAFKA_TRANSACTION_TIMEOUT" });
  });
});

describe("fencing", () => {
  test("holds over three restarts in a row: epochs rise, no zombie commits, none of its records is ever visible", async () => {
    const topic = await createTestTopic(broker);
    const at = { topic, partition: 0 };
    const group = uniqueName("group");
    const id = uniqueName("id");
    const owners: TransactionalProducer[] = [];
    for (let generation = 0; generation < 4; generation++) {
      const owner = await start(id);
      const before = owners.at(-1);
      if (before !== undefined && owner.producerId === before.producerId) expect(owner.epoch).toBeGreaterThan(before.epoch);
      owners.push(owner);
      await owner.send(at, textRecords(`zombie-${generation}`));
      await owner.commitOffsets(group, [{ ...at, offset: 100 + generation, metadata: "zombie" }]);
    }
    const last = owners.pop()!;
    for (const zombie of owners) {
      await expect(zombie.commit()).rejects.toBeInstanceOf(FencedError);
      await expect(zombie.send(at, textRecords("after"))).rejects.toBeInstanceOf(OperatingError);
    }
    await last.commit();
    expect(await committed(at)).toEqual(["zombie-3"]);
    expect(await independent(topic)).toEqual(["zombie-3"]);
    expect(await kafka.committedOffsets(group, [at], { requireStable: true })).toMatchObject([{ offset: 103 }]);
  });

  test.each(["send", "commitOffsets"] as const)("meets a zombie at its next %s too", async (call) => {
    const topic = await createTestTopic(broker);
    const at = { topic, partition: 0 };
    const group = uniqueName("group");
    const id = uniqueName("id");
    const zombie = await start(id);
    await zombie.send(at, textRecords("first"));
    await zombie.commit();
    const owner = await start(id);
    const attempt =
      call === "send" ? zombie.send(at, textRecords("late")) : zombie.commitOffsets(group, [{ ...at, offset: 1, metadata: "" }]);
    await expect(attempt).rejects.toBeInstanceOf(FencedError);
    await owner.send(at, textRecords("second"));
    await owner.commit();
    expect(await independent(topic)).toEqual(["first", "second"]);
    expect(await kafka.committedOffsets(group, [at], { requireStable: true })).toMatchObject([{ offset: -1 }]);
  });

  test("of two that start at once leaves one that can commit", async () => {
    const topic = await createTestTopic(broker);
    const id = uniqueName("id");
    const starts = await Promise.allSettled([start(id), start(id), start(id)]);
    const owners = starts.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const outcomes: string[] = [];
    for (const [i, owner] of owners.entries()) {
      const done = owner.send({ topic, partition: 0 }, textRecords(`${i}`)).then(() => owner.commit());
      await done.then(
        () => outcomes.push(`${i}`),
        (thrown: unknown) => expect(thrown).toBeInstanceOf(FencedError),
      );
    }
    expect(outcomes).toHaveLength(1);
    expect(await independent(topic)).toEqual(outcomes);
  });
});

describe("aborted transactions", () => {
  test("are delivered nowhere: before, between and after committed ones, in one answer or cut over many", async () => {
    const topic = await createTestTopic(broker);
    const at = { topic, partition: 0 };
    const [id, other] = [uniqueName("id"), uniqueName("id")];
    const value = (name: string): { key: null; value: Buffer } => ({ key: null, value: Buffer.from(name.padEnd(2_000, ".")) });
    const visible: string[] = [];
    for (let round = 0; round < 4; round++) {
      const doomed = await start(id);
      const lasting = await start(other);
      for (let i = 0; i < 3; i++) {
        await doomed.send(at, [value(`aborted-${round}-${i}`)]);
        await lasting.send(at, [value(`kept-${round}-${i}`)]);
        visible.push(`kept-${round}-${i}`);
      }
      await lasting.commit();
      await kafka.produce(at, [value(`plain-${round}`)]);
      visible.push(`plain-${round}`);
      // The next owner's init aborts what is open.
      await start(id);
    }
    const names = (records: readonly { readonly value: Uint8Array | null }[]): string[] =>
      records.map((record) => textOf(record)!.replace(/\.+$/, ""));
    await allDecided(kafka, topic);
    const whole = await readAll(kafka, at);
    expect(whole.answers).toBe(1);
    expect(names(whole.records)).toEqual(visible);
    const cut = await readAll(kafka, at, { partitionMaxBytes: 2_500 });
    expect(cut.answers).toBeGreaterThan(20);
    expect(names(cut.records)).toEqual(visible);
    expect((await independent(topic)).map((one) => one.replace(/\.+$/, ""))).toEqual(visible);
    const everything = await readAll(kafka, at, { isolation: "read_uncommitted" });
    expect(names(everything.records)).toHaveLength(visible.length + 12);
  });

  test("are skipped by a reader that starts in the middle of one", async () => {
    const topic = await createTestTopic(broker);
    const at = { topic, partition: 0 };
    const id = uniqueName("id");
    const doomed = await start(id);
    await doomed.send(at, textRecords("a0", "a1"));
    await doomed.send(at, textRecords("a2", "a3"));
    const next = await start(id);
    await next.send(at, textRecords("kept"));
    await next.commit();
    await allDecided(kafka, topic);
    for (const offset of [0, 1, 2, 3, 4, 5]) expect((await readAll(kafka, at, { offset })).records.map(textOf)).toEqual(["kept"]);
  });

  test("still open hold the last stable offset, and a reader sees nothing behind it", async () => {
    const topic = await createTestTopic(broker);
    const at = { topic, partition: 0 };
    const producer = await start(uniqueName("id"));
    await producer.send(at, textRecords("pending"));
    await kafka.produce(at, textRecords("behind"));
    const [answer] = await kafka.fetch([{ ...at, offset: 0 }], { isolation: "read_committed", maxWaitMs: 10 });
    expect(answer).toMatchObject({ highWatermarkOffset: 2, lastStableOffset: 0, records: [], nextOffset: 0 });
    expect(await readIndependently(broker, topic)).toEqual([]);
    await producer.commit();
    expect(await committed(at)).toEqual(["pending", "behind"]);
  });
});
