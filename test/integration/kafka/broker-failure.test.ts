/** One broker of its own, killed and damaged as no shared one may be. */
import { mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Connection, FeatureUpgradeTypes, updateFeaturesV1 } from "@platformatic/kafka";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RunningServer } from "#local/services/running-server.ts";
import { startKafka } from "#local/services/kafka.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka, TopicPartition, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import { CorruptStateError, FencedError, OperatingError } from "#shared/kernel/errors.ts";
import { allDecided, createTestTopic, readAll, readIndependently, textOf, textRecords, uniqueName } from "#test/support/kafka-topic.ts";

let dir: string;
let server: RunningServer;
let kafka: Kafka;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "weir-test-kafka-"));
  server = await startKafka({ dir });
  kafka = await openKafka({ brokers: [server.address], clientId: "test", unavailableAfterMs: 60_000 });
});
afterAll(async () => {
  await kafka.close();
  await server.stop();
  await rm(dir, { recursive: true, force: true });
});

async function killAndRestart(): Promise<void> {
  process.kill(server.pid, "SIGKILL");
  await server.exited;
  server = await startKafka({ dir, port: server.port });
}

const start = (id: string): Promise<TransactionalProducer> => kafka.initProducer(id, { transactionTimeoutMs: 60_000 });

/** What the processor does: one transaction per number, with the number as the offset; after any error init, committed offset, go on from there. */
async function countTo(
  last: number,
  at: TopicPartition,
  { group, id, afterEach }: { group: string; id: string; afterEach: (n: number) => void },
): Promise<OperatingError[]> {
  const failures: OperatingError[] = [];
  for (;;) {
    try {
      const producer = await start(id);
      const [progress] = await kafka.committedOffsets(group, [at], { requireStable: true });
      for (let n = Math.max(0, progress!.offset); n < last; n++) {
        await producer.send(at, textRecords(`${n}`));
        await producer.commitOffsets(group, [{ ...at, offset: n + 1, metadata: `${n}` }]);
        await producer.commit();
        afterEach(n);
      }
      return failures;
    } catch (thrown) {
      if (!(thrown instanceof OperatingError) || thrown instanceof FencedError) throw thrown;
      failures.push(thrown);
    }
  }
}

describe("a broker killed with kill -9", () => {
  test("in the middle of a transaction: it is aborted, the client reconnects by itself, the next one commits", async () => {
    const topic = await createTestTopic(server.address);
    const at = { topic, partition: 0 };
    const group = uniqueName("group");
    const id = uniqueName("id");
    const first = await start(id);
    await first.send(at, textRecords("kept"));
    await first.commitOffsets(group, [{ ...at, offset: 1, metadata: "kept" }]);
    await first.commit();
    await first.send(at, textRecords("lost"));
    await first.commitOffsets(group, [{ ...at, offset: 2, metadata: "lost" }]);
    await killAndRestart();
    const second = await start(id);
    await expect(first.commit()).rejects.toBeInstanceOf(FencedError);
    await allDecided(kafka, topic);
    const [progress] = await kafka.committedOffsets(group, [at], { requireStable: true });
    // Nothing of the broken transaction may be there, record or offset.
    expect(progress).toMatchObject({ offset: 1, metadata: "kept" });
    await second.send(at, textRecords("next"));
    await second.commit();
    await allDecided(kafka, topic);
    expect((await readAll(kafka, at)).records.map(textOf)).toEqual(["kept", "next"]);
    expect(await readIndependently(server.address, topic)).toEqual(["kept", "next"]);
  }, 90_000);

  test("while a processor counts: nothing lost, nothing doubled, records and offsets agree", async () => {
    const topic = await createTestTopic(server.address);
    const at = { topic, partition: 0 };
    const group = uniqueName("group");
    let restarting: Promise<void> | undefined;
    const failures = await countTo(150, at, {
      group,
      id: uniqueName("id"),
      afterEach: (n) => {
        if (n >= 40) restarting ??= killAndRestart();
      },
    });
    await restarting;
    expect(failures.length).toBeGreaterThan(0);
    await allDecided(kafka, topic);
    const expected = Array.from({ length: 150 }, (_, n) => `${n}`);
    expect(await readIndependently(server.address, topic)).toEqual(expected);
    expect((await readAll(kafka, at)).records.map(textOf)).toEqual(expected);
    expect(await kafka.committedOffsets(group, [at], { requireStable: true })).toMatchObject([{ offset: 150, metadata: "149" }]);
  }, 90_000);

  test("under a long poll and a plain produce: the poll goes on, the produce says what it does not know", async () => {
    const topic = await createTestTopic(server.address);
    const at = { topic, partition: 0 };
    await kafka.produce(at, textRecords("before"));
    const polling = kafka.fetch([{ ...at, offset: 1 }], { isolation: "read_committed", maxWaitMs: 60_000 });
    await killAndRestart();
    await expect(kafka.produce(at, textRecords("after"))).resolves.toBe(1);
    expect((await polling)[0]!.records.map(textOf)).toEqual(["after"]);
  }, 90_000);
});

test("a batch damaged on the broker's disk is refused and named, the one before it is still read", async () => {
  const topic = await createTestTopic(server.address);
  const at = { topic, partition: 0 };
  await kafka.produce(at, textRecords("good"));
  await kafka.produce(at, textRecords("precious"));
  const folder = join(dir, "log", `${topic}-0`);
  const segment = join(
    folder,
    (await readdir(folder)).find((name) => name.endsWith(".log"))!,
  );
  const place = (await readFile(segment)).indexOf("precious");
  expect(place).toBeGreaterThan(0);
  const file = await open(segment, "r+");
  await file.write("P", place);
  await file.close();
  const failure = kafka.fetch([{ ...at, offset: 1 }], { isolation: "read_committed" });
  await expect(failure).rejects.toBeInstanceOf(CorruptStateError);
  await expect(failure).rejects.toThrow(`record batch at ${topic}/0/1 fails its CRC`);
  const [before] = await kafka.fetch([{ ...at, offset: 0 }], { isolation: "read_committed", partitionMaxBytes: 1 });
  expect(before!.records.map(textOf)).toEqual(["good"]);
});

describe("a cluster of transactions V1", () => {
  beforeAll(async () => {
    const connection = new Connection("test");
    await connection.connect("127.0.0.1", server.port);
    const downgrade = { feature: "transaction.version", maxVersionLevel: 1, upgradeType: FeatureUpgradeTypes.SAFE_DOWNGRADE };
    await updateFeaturesV1.api.async(connection, 10_000, [downgrade], false);
    await connection.close();
  });

  test("is spoken to by V1: commits, offsets, order and fencing hold", async () => {
    const topic = await createTestTopic(server.address, { partitions: 3 });
    const group = uniqueName("group");
    const id = uniqueName("id");
    const producer = await start(id);
    expect(producer.protocol).toBe("V1");
    for (let i = 0; i < 30; i++) {
      await Promise.all([0, 1, 2].map((partition) => producer.send({ topic, partition }, textRecords(`${i}`, `${i}'`))));
      await producer.commitOffsets(group, [{ topic, partition: 0, offset: i, metadata: `${i}` }]);
      await producer.commit();
    }
    await producer.send({ topic, partition: 0 }, textRecords("zombie"));
    const next = await start(id);
    await expect(producer.commit()).rejects.toBeInstanceOf(FencedError);
    await next.send({ topic, partition: 0 }, textRecords("next"));
    await next.commit();
    await allDecided(kafka, topic);
    const expected = Array.from({ length: 30 }, (_, i) => [`${i}`, `${i}'`]).flat();
    expect((await readAll(kafka, { topic, partition: 0 })).records.map(textOf)).toEqual([...expected, "next"]);
    expect((await readAll(kafka, { topic, partition: 2 })).records.map(textOf)).toEqual(expected);
    expect(await readIndependently(server.address, topic)).toHaveLength(181);
    expect(await kafka.committedOffsets(group, [{ topic, partition: 0 }], { requireStable: true })).toMatchObject([{ offset: 29 }]);
  });
});
