/**
 * What exactly-once rests on, tried where it matters: on three brokers that replicate, of which any one dies at the worst moment. Everything that
 * is claimed to be visible is read by kafkajs too.
 */
import { Connection, FeatureUpgradeTypes, updateFeaturesV1 } from "@platformatic/kafka";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { Cluster } from "#shared/clients/kafka/cluster.ts";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import { kafkaJs } from "#shared/clients/kafka/kafkajs-client.ts";
import type { Kafka, TopicPartition, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import { CorruptStateError, FencedError, OperatingError, UnknownOutcomeError } from "#shared/kernel/errors.ts";
import { allDecided, readAll, textOf, textRecords, uniqueName } from "#test/support/kafka-topic.ts";
import { BrokerCluster } from "./broker-cluster.ts";
import { API } from "./broker-proxy.ts";

let cluster: BrokerCluster;
let kafka: Kafka;
/** Only to find out who leads what. */
let map: Cluster;

beforeAll(async () => {
  cluster = await BrokerCluster.start();
  const options = { brokers: cluster.addresses, clientId: "test", unavailableAfterMs: 40_000 };
  kafka = await openKafka(options);
  map = new Cluster(options);
}, 90_000);
afterAll(async () => {
  await map?.close();
  await kafka?.close();
  await cluster?.stop();
});

async function createTopic(): Promise<TopicPartition> {
  const topic = uniqueName("topic");
  await createTopics(cluster.addresses, [{ topic, partitions: 1, replicationFactor: 3, config: { "min.insync.replicas": "2" } }]);
  return { topic, partition: 0 };
}

const start = (id: string): Promise<TransactionalProducer> => kafka.initProducer(id, { transactionTimeoutMs: 60_000 });

/** As it is now, not as it was before the last death. */
function leaderOf(at: TopicPartition): Promise<string> {
  map.forget();
  return map.retry("leader", { repeatable: true }, () => map.leaderOf(at.topic, at.partition));
}

function coordinatorOf(kind: "group" | "transaction", id: string): Promise<string> {
  map.forget();
  return map.retry("coordinator", { repeatable: true }, () => map.coordinatorOf(kind, id));
}

async function seenByAll(at: TopicPartition): Promise<(string | null)[]> {
  await allDecided(kafka, at.topic);
  const independent: string[] = [];
  await readCommitted(cluster.addresses, at.topic, (record) => independent.push(textOf(record) ?? "null"));
  expect((await readAll(kafka, at)).records.map(textOf)).toEqual(independent);
  return independent;
}

type Step = (n: number, producer: TransactionalProducer) => Promise<void>;

/** As the processor does it: a transaction per number with the number as position; after any error init, committed offset, go on from there. */
async function countTo(
  last: number,
  { at, group, id, midway }: { at: TopicPartition; group: string; id: string; midway: Step },
): Promise<OperatingError[]> {
  const failures: OperatingError[] = [];
  for (;;) {
    try {
      const producer = await start(id);
      const [progress] = await kafka.committedOffsets(group, [at], { requireStable: true });
      for (let n = Math.max(0, progress!.offset); n < last; n++) {
        await producer.send(at, textRecords(`${n}`));
        await midway(n, producer);
        await producer.send(at, textRecords(`${n}'`));
        await producer.commitOffsets(group, [{ ...at, offset: n + 1, metadata: `${n}` }]);
        await producer.commit();
      }
      return failures;
    } catch (thrown) {
      if (!(thrown instanceof OperatingError) || failures.length > 20) throw thrown;
      failures.push(thrown);
    }
  }
}

const pairs = (count: number): string[] => Array.from({ length: count }, (_, n) => [`${n}`, `${n}'`]).flat();

describe("a transaction", () => {
  test.each(["partition", "transaction", "group"] as const)(
    "whose broker for the %s is killed with -9 in the middle is committed once or not at all, and the work goes on",
    async (victim) => {
      const at = await createTopic();
      const [group, id] = [uniqueName("group"), uniqueName("id")];
      let killed = 0;
      const midway: Step = async (n) => {
        if (n !== 5 || killed > 0) return;
        killed += 1;
        const address =
          victim === "partition" ? leaderOf(at) : victim === "transaction" ? coordinatorOf(victim, id) : coordinatorOf(victim, group);
        await cluster.kill(await address);
      };
      await countTo(10, { at, group, id, midway });
      expect(killed).toBe(1);
      expect(await seenByAll(at)).toEqual(pairs(10));
      expect(await kafka.committedOffsets(group, [at], { requireStable: true })).toMatchObject([{ offset: 10, metadata: "9" }]);
      await cluster.heal();
    },
  );

  test("of another program under our id fences us; our next owner fences it, and what each committed stays", async () => {
    const at = await createTopic();
    const id = uniqueName("id");
    const ours = await start(id);
    await ours.send(at, textRecords("ours"));
    await ours.commit();
    const hijacker = kafkaJs(cluster.addresses, "hijacker").producer({ transactionalId: id, idempotent: true, maxInFlightRequests: 1 });
    await hijacker.connect();
    await ours.send(at, textRecords("never"));
    const theirs = await hijacker.transaction();
    await theirs.send({ topic: at.topic, messages: [{ value: "theirs" }] });
    await expect(ours.commit()).rejects.toBeInstanceOf(FencedError);
    await theirs.commit();
    const late = await hijacker.transaction();
    await late.send({ topic: at.topic, messages: [{ value: "never either" }] });
    const next = await start(id);
    await expect(late.commit()).rejects.toThrow();
    await next.send(at, textRecords("ours again"));
    await next.commit();
    await hijacker.disconnect();
    expect(await seenByAll(at)).toEqual(["ours", "theirs", "ours again"]);
  });
});

describe("owners of one id", () => {
  test("rise in epoch over three restarts in a row, one of them behind a dead coordinator, and no zombie's record is ever visible", async () => {
    const at = await createTopic();
    const [group, id] = [uniqueName("group"), uniqueName("id")];
    const owners: TransactionalProducer[] = [];
    const identities: (readonly [bigint, number])[] = [];
    for (let restart = 0; restart <= 3; restart++) {
      if (restart === 2) await cluster.kill(await coordinatorOf("transaction", id));
      const owner = await start(id);
      identities.push([owner.producerId, owner.epoch]);
      owners.push(owner);
      await owner.send(at, textRecords(`owner ${restart}`));
      await owner.commitOffsets(group, [{ ...at, offset: 100 + restart, metadata: "" }]);
    }
    for (const [i, [producerId, epoch]] of identities.entries()) {
      const before = identities[i - 1];
      if (before !== undefined)
        expect(
          producerId > before[0] || (producerId === before[0] && epoch > before[1]),
          identities.map(([id, number]) => `${id}/${number}`).join(" "),
        ).toBe(true);
    }
    const last = owners.pop()!;
    for (const zombie of owners) await expect(zombie.commit()).rejects.toBeInstanceOf(FencedError);
    await last.commit();
    expect(await seenByAll(at)).toEqual(["owner 3"]);
    expect(await kafka.committedOffsets(group, [at], { requireStable: true })).toMatchObject([{ offset: 103 }]);
    await cluster.heal();
  });
});

describe("aborted batches", () => {
  test("stay invisible before, between and across answers, also at the replica that takes over the lead", async () => {
    const at = await createTopic();
    const [id, other] = [uniqueName("id"), uniqueName("id")];
    const padded = (name: string): { key: null; value: Buffer } => ({ key: null, value: Buffer.from(name.padEnd(2_000, ".")) });
    const visible: string[] = [];
    for (let round = 0; round < 3; round++) {
      const doomed = await start(id);
      const lasting = await start(other);
      for (let i = 0; i < 2; i++) {
        await doomed.send(at, [padded(`aborted ${round} ${i}`)]);
        await lasting.send(at, [padded(`kept ${round} ${i}`)]);
        visible.push(`kept ${round} ${i}`);
      }
      await lasting.commit();
      // The next owner's init aborts what is open.
      await start(id);
    }
    await cluster.kill(await leaderOf(at));
    const names = (values: readonly (string | null)[]): (string | undefined)[] => values.map((value) => value?.replace(/\.+$/, ""));
    expect(names(await seenByAll(at))).toEqual(visible);
    const cut = await readAll(kafka, at, { partitionMaxBytes: 2_500 });
    expect(cut.answers).toBeGreaterThan(8);
    expect(names(cut.records.map(textOf))).toEqual(visible);
    const all = await readAll(kafka, at, { isolation: "read_uncommitted" });
    expect(all.records).toHaveLength(visible.length + 6);
    await cluster.heal();
  });
});

describe("a batch damaged on the way", () => {
  test("is refused by name, and read well when it comes whole", async () => {
    const at = await createTopic();
    await kafka.produce(at, textRecords("precious"));
    cluster.proxyOf(await leaderOf(at)).alterFetch((answer) => {
      const place = answer.indexOf("precious");
      if (place >= 0) answer[place]! ^= 0x20;
      return place >= 0;
    });
    const failure = kafka.fetch([{ ...at, offset: 0 }], { isolation: "read_committed" });
    await expect(failure).rejects.toBeInstanceOf(CorruptStateError);
    await expect(failure).rejects.toMatchObject({ code: "KAFKA_CORRUPT_BATCH", message: expect.stringContaining(`${at.topic}/0`) });
    expect(await seenByAll(at)).toEqual(["precious"]);
  });
});

/** The hole that KIP-890 closes: the network delivers a commit when its transaction is long over and the next one is open. */
async function delayedCommit(protocol: "V1" | "V2"): Promise<void> {
  const at = await createTopic();
  const [group, id] = [uniqueName("group"), uniqueName("id")];
  const first = await start(id);
  expect(first.protocol).toBe(protocol);
  await first.send(at, textRecords("decided"));
  await first.commit();
  const holding = cluster.proxyOf(await coordinatorOf("transaction", id)).holdNext(API.endTxn);
  await first.send(at, textRecords("delayed"));
  await first.commitOffsets(group, [{ ...at, offset: 1, metadata: "delayed" }]);
  await expect(first.commit()).rejects.toBeInstanceOf(UnknownOutcomeError);
  const held = await holding;
  const second = await start(id);
  await second.send(at, textRecords("one"));
  await second.commitOffsets(group, [{ ...at, offset: 2, metadata: "in order" }]);
  const answer = await held.release();
  // Correlation id, tagged fields of the header, throttle time, then the error code: whatever it is, it is a refusal.
  expect(answer.readInt16BE(9)).not.toBe(0);
  await second.send(at, textRecords("two"));
  await second.commit();
  expect(await seenByAll(at)).toEqual(["decided", "one", "two"]);
  expect(await kafka.committedOffsets(group, [at], { requireStable: true })).toMatchObject([{ offset: 2, metadata: "in order" }]);
}

describe("a commit that the network delays until the next transaction is open", () => {
  test("is refused, and tears nothing, under transactions V2", () => delayedCommit("V2"));

  test("is refused, and tears nothing, under transactions V1 too, since every error leads to a new epoch", async () => {
    const connection = new Connection("test");
    // Any broker passes it on to the controller.
    const [host, port] = cluster.addresses[0]!.split(":");
    await connection.connect(host!, Number(port));
    const downgrade = { feature: "transaction.version", maxVersionLevel: 1, upgradeType: FeatureUpgradeTypes.SAFE_DOWNGRADE };
    await updateFeaturesV1.api.async(connection, 10_000, [downgrade], false);
    await connection.close();
    await delayedCommit("V1");
  });
});
