/** The custom resource as it is deployed, bundled, against a broker that refuses what no access list allows. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { bundleFunction } from "#functions/bundle.ts";
import { accessListOf, addGrants, grantsOf } from "#shared/clients/kafka/acls.ts";
import { createTopics, listTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { readQuotas, setQuotas } from "#shared/clients/kafka/client-quotas.ts";
import type { NumberedKafka } from "#shared/clients/kafka/types.ts";
import { environmentOf } from "#shared/config/config.ts";
import { kafkaRights, KAFKA_PARTS, type KafkaPart, rightsProperties } from "#shared/events/kafka-rights.ts";
import { groupId, OUTPUT_ROLES, TOPICS, topicName, transactionalId } from "#shared/events/names.ts";
import { FunctionProcess } from "#test/support/function-process.ts";
import { textRecords } from "#test/support/kafka-topic.ts";
import { settles as settlesWithin } from "#test/support/process.ts";
import { type SecureKafka, startSecureKafka } from "#test/support/secure-kafka.ts";
import { sendEvents } from "../../../docs/samples/producer.ts";
import { type Answer, Cloudformation } from "./cloudformation.ts";

const ID = { lane: "live", generation: 1 };
const RIGHTS = kafkaRights(ID);
const DECLARED = { Users: Object.fromEntries(KAFKA_PARTS.map((part) => [part, rightsProperties(RIGHTS[part])])) };
const ALL_TOPICS = Object.values(TOPICS);
/** Metadata reaches the broker a moment after the controller has answered; the machine may be busy. */
const settles = (assertion: () => Promise<void>): Promise<void> => settlesWithin(assertion, { limitMs: 60_000 });
const REFUSED = expect.objectContaining({ code: "KAFKA_AUTH", brokerCode: expect.any(Number) });

let dir: string;
let broker: SecureKafka;
let cloudformation: Cloudformation;
let resource: FunctionProcess;
const clients = new Map<KafkaPart, NumberedKafka>();

async function clientOf(part: KafkaPart): Promise<NumberedKafka> {
  const known = clients.get(part);
  if (known !== undefined) return known;
  const opened = await openKafka({
    brokers: [broker.address],
    clientId: "test",
    unavailableAfterMs: 30_000,
    tls: { ca: broker.certificate },
    sasl: { mechanism: "SCRAM-SHA-512", username: part, password: part },
  });
  clients.set(part, opened);
  return opened;
}

async function change(...request: Parameters<Cloudformation["request"]>): Promise<Answer> {
  const outcome = await resource.invoke(cloudformation.request(...request));
  expect(outcome).toMatchObject({ ok: true });
  return cloudformation.takeAnswer();
}

const plain = (): { brokers: string[] } => ({ brokers: [broker.server.address] });

/** What a part is in fact let do, asked topic by topic. */
async function canRead(part: KafkaPart, topic: string): Promise<boolean> {
  const kafka = await clientOf(part);
  return kafka.fetch([{ topic, partition: 0, offset: 0 }], { isolation: "read_committed", maxWaitMs: 1 }).then(
    () => true,
    (thrown: unknown) => {
      expect(thrown).toEqual(REFUSED);
      return false;
    },
  );
}

async function canWrite(part: KafkaPart, topic: string): Promise<boolean> {
  const kafka = await clientOf(part);
  return kafka.produce({ topic, partition: 0 }, textRecords("x")).then(
    () => true,
    (thrown: unknown) => {
      expect(thrown).toEqual(REFUSED);
      return false;
    },
  );
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "weir-test-access-"));
  [broker, cloudformation] = await Promise.all([
    startSecureKafka(dir, { sessionMs: 60_000, users: KAFKA_PARTS, isClosed: true }),
    Cloudformation.start(),
  ]);
  const { entry } = await bundleFunction("kafka-access", join(dir, "function"));
  resource = await FunctionProcess.start(dir, entry, environmentOf({ kafka: broker.server.address, environment: "test" }));
  await createTopics(
    plain(),
    ALL_TOPICS.map((topic) => ({ topic, partitions: 1, replicationFactor: 1, config: {} })),
  );
});

afterAll(async () => {
  await Promise.all([...clients.values()].map((client) => client.close()));
  await resource.stop();
  cloudformation.stop();
  await broker.server.stop();
  await rm(dir, { recursive: true, force: true });
});

describe("access to Kafka as CloudFormation declares it", () => {
  test("before it nobody may do anything; after it each part may do what is its own, and nothing else", async () => {
    expect(await canRead("processor", topicName("live", "valid"))).toBe(false);
    expect(await canWrite("producer", topicName("live", "raw"))).toBe(false);
    const made = await change("Create", DECLARED);
    expect(made).toMatchObject({ Status: "SUCCESS", PhysicalResourceId: "weir-test-kafka-access", Data: { Undeclared: "0" } });
    await settles(async () => expect(await canWrite("redrive", topicName("live", "raw"))).toBe(true));

    const may: Record<string, { read: string[]; write: string[] }> = {};
    for (const part of KAFKA_PARTS) {
      const verdicts = { read: [] as string[], write: [] as string[] };
      for (const topic of ALL_TOPICS) {
        if (await canRead(part, topic)) verdicts.read.push(topic);
        if (await canWrite(part, topic)) verdicts.write.push(topic);
      }
      may[part] = verdicts;
    }
    for (const part of KAFKA_PARTS) {
      expect(may[part]!.read.toSorted(), part).toEqual(RIGHTS[part].read.toSorted());
      expect(may[part]!.write.toSorted(), part).toEqual(RIGHTS[part].write.toSorted());
    }
    // The promise itself, whatever the table says.
    const parts = (action: "read" | "write", topic: string): string[] => KAFKA_PARTS.filter((part) => may[part]![action].includes(topic));
    for (const role of OUTPUT_ROLES) expect(parts("write", topicName("live", role))).toEqual(["processor"]);
    expect(parts("read", topicName("live", "valid"))).toEqual(["processor"]);
    expect(parts("write", topicName("live", "raw"))).toEqual(["producer", "redrive"]);
  });

  test("only the processor has transactions, under ids of its own, and groups are their owner's", async () => {
    const processor = await clientOf("processor");
    const producer = await processor.initProducer(transactionalId(ID, 0), { transactionTimeoutMs: 60_000 });
    await producer.send({ topic: topicName("live", "clean"), partition: 0 }, textRecords("row"));
    await producer.commit();
    await expect(processor.initProducer("weir-live-2-0", { transactionTimeoutMs: 60_000 })).rejects.toEqual(REFUSED);
    await expect((await clientOf("sinks")).initProducer(transactionalId(ID, 0), { transactionTimeoutMs: 60_000 })).rejects.toEqual(REFUSED);
    const positions = (part: KafkaPart, group: string, role: "clean" | "valid" = "clean") =>
      clientOf(part).then((kafka) =>
        kafka.committedOffsets(group, [{ topic: topicName("live", role), partition: 0 }], { requireStable: false }),
      );
    await expect(positions("sinks", groupId(ID, "sink-redis"))).resolves.toHaveLength(1);
    await expect(positions("sinks", groupId(ID, "processor"))).rejects.toEqual(REFUSED);
    // Who replays looks at the processor's positions, and cannot move them.
    await expect(positions("redrive", groupId(ID, "processor"), "valid")).resolves.toHaveLength(1);
    const moved = { topic: topicName("live", "valid"), partition: 0, offset: 0, metadata: "" };
    await expect((await clientOf("redrive")).commitOffsets(groupId(ID, "processor"), [moved])).rejects.toEqual(REFUSED);
    await expect(positions("producer", groupId(ID, "sink-redis"))).rejects.toEqual(REFUSED);
  });

  test("no part may change access itself, or topics", async () => {
    const asProcessor = {
      brokers: [broker.address],
      tls: { ca: broker.certificate },
      sasl: { mechanism: "SCRAM-SHA-512", username: "processor", password: "processor" },
    } as const;
    await expect(addGrants(asProcessor, grantsOf("User:mallory", RIGHTS.processor))).rejects.toThrow(/not authorized|authorization/i);
    await expect(setQuotas(asProcessor, "producer", { producer_byte_rate: null })).rejects.toEqual(REFUSED);
    await expect(createTopics(asProcessor, [{ topic: "mine", partitions: 1, replicationFactor: 1, config: {} }])).rejects.toThrow();
    expect(await listTopics(plain())).not.toContain("mine");
    expect(await accessListOf(plain(), "User:mallory")).toEqual([]);
  });

  test("the producer's sample of docs/DEPLOY.md sends as it stands there", async () => {
    const raw = { topic: topicName("live", "raw"), partition: 0 };
    const kafka = await clientOf("redrive");
    const before = await kafka.listOffset(raw, "latest", "read_committed");
    const event = {
      event_id: "0192f3a1-7b6e-7c1d-9a51-0f2d6c3b8e4f",
      event_time: "2026-11-24T10:00:00Z",
      user_id: 42,
      event_type: "purchase",
      properties: { amount: 12.5 },
    };
    const login = { bootstrap: broker.address, username: "producer", password: "producer", ca: broker.certificate };
    await sendEvents(login, [event]);
    await settles(async () => {
      const [fetched] = await kafka.fetch([{ ...raw, offset: before }], { isolation: "read_committed" });
      expect(fetched!.records).toHaveLength(1);
      const [record] = fetched!.records;
      expect(Buffer.from(record!.key!).toString()).toBe("42");
      expect(JSON.parse(Buffer.from(record!.value!).toString())).toEqual(event);
    });
    await expect(sendEvents({ ...login, username: "sinks", password: "sinks" }, [event])).rejects.toThrow(/not authorized|authorization/i);
    const [page, sample] = await Promise.all(
      ["DEPLOY.md", "samples/producer.ts"].map((file) => readFile(resolve(import.meta.dirname, "../../../docs", file), "utf8")),
    );
    expect(/^```ts\n(.*?)^```$/ms.exec(page!)?.[1]).toBe(sample);
  });

  test("repeated, changed and taken away it touches only its own lines, and names those of others", async () => {
    const foreign = grantsOf("User:producer", { read: ["events.late"], write: [], groups: [] });
    await addGrants(plain(), foreign);
    await setQuotas(plain(), "producer", { consumer_byte_rate: 777 });
    await settles(async () => expect(await accessListOf(plain(), "User:producer")).toContain("User:producer may read topic events.late"));
    const limited = { Users: { producer: { Write: ["events.raw"], ProducerBytesPerS: "1000000", RequestPercent: "50" } } };

    cloudformation.refuse(2);
    expect(await change("Update", limited, DECLARED)).toMatchObject({ Status: "SUCCESS", Data: { Grants: "1", Undeclared: "1" } });
    expect(await change("Update", limited, DECLARED)).toMatchObject({ PhysicalResourceId: "weir-test-kafka-access", Status: "SUCCESS" });
    await settles(async () => {
      expect(await readQuotas(plain(), "producer")).toEqual({ producer_byte_rate: 1e6, request_percentage: 50, consumer_byte_rate: 777 });
      expect((await accessListOf(plain(), "User:producer")).toSorted()).toEqual([
        "User:producer may read topic events.late",
        "User:producer may write topic events.raw",
      ]);
      expect(await accessListOf(plain(), "User:processor")).toEqual([]);
    });
    await settles(async () => expect(await canRead("processor", topicName("live", "valid"))).toBe(false));

    // Somebody lowers it by hand: theirs now.
    await setQuotas(plain(), "producer", { request_percentage: 25 });
    await settles(async () => expect((await readQuotas(plain(), "producer")).request_percentage).toBe(25));
    for (let i = 0; i < 2; i++) expect(await change("Delete", limited)).toMatchObject({ Status: "SUCCESS" });
    await settles(async () => {
      expect(await accessListOf(plain(), "User:producer")).toEqual(["User:producer may read topic events.late"]);
      expect(await readQuotas(plain(), "producer")).toEqual({ consumer_byte_rate: 777, request_percentage: 25 });
    });
    await settles(async () => expect(await canWrite("producer", topicName("live", "raw"))).toBe(false));
  });

  test("what is not valid or cannot be done is answered at once, with the reason and the same id; nothing of the answer's address is logged", async () => {
    const everybody = { Users: { "*": { Write: ["events.raw"] } } };
    const refused = await change("Create", everybody);
    expect(refused).toMatchObject({ Status: "FAILED", PhysicalResourceId: "weir-test-kafka-access" });
    expect(refused.Reason).toContain("Users.*");
    expect(await change("Delete", everybody)).toMatchObject({ Status: "SUCCESS" });
    // Less than its answer takes.
    const late = await resource.invoke(cloudformation.request("Create", DECLARED), 5_000);
    expect(late).toMatchObject({ ok: true });
    expect(cloudformation.takeAnswer()).toMatchObject({ Status: "FAILED", Reason: expect.stringContaining("not done within") });
    expect(resource.output).toContain("access that is not declared here");
    expect(resource.output).not.toContain("PLANTED-SIGNATURE");
  });
});
