import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import type { Kafka, KafkaOptions } from "#shared/clients/kafka/types.ts";
import { OperatingError, UnavailableError } from "#shared/kernel/errors.ts";
import { settles } from "#test/support/process.ts";
import { textOf, textRecords, uniqueName } from "#test/support/kafka-topic.ts";
import { type SecureKafka, startSecureKafka, unsignedToken } from "#test/support/secure-kafka.ts";

type Sasl = NonNullable<KafkaOptions["sasl"]>;

const SESSION_MS = 1_500;
let dir: string;
let broker: SecureKafka;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "weir-test-kafka-"));
  broker = await startSecureKafka(dir, { sessionMs: SESSION_MS });
});
afterAll(async () => {
  await broker.server.stop();
  await rm(dir, { recursive: true, force: true });
});

const alice = (): Sasl => ({ mechanism: "PLAIN", username: "alice", password: broker.passwords.alice });
const bob = (mechanism: "SCRAM-SHA-256" | "SCRAM-SHA-512"): Sasl => ({ mechanism, username: "bob", password: broker.passwords.bob });
const token = (expiresInS: number): Sasl => ({
  mechanism: "OAUTHBEARER",
  token: () => Promise.resolve(unsignedToken("carol", Math.floor(Date.now() / 1_000) + expiresInS)),
});

const openWith = (sasl: Sasl | undefined, options: Partial<KafkaOptions> = {}): Promise<Kafka> =>
  openKafka({
    brokers: [broker.address],
    clientId: "test",
    unavailableAfterMs: 2_000,
    tls: { ca: broker.certificate },
    ...(sasl === undefined ? {} : { sasl }),
    ...options,
  });

describe("over TLS", () => {
  test.each<[string, () => Sasl]>([
    ["PLAIN", alice],
    ["SCRAM-SHA-256", () => bob("SCRAM-SHA-256")],
    ["SCRAM-SHA-512", () => bob("SCRAM-SHA-512")],
    ["OAUTHBEARER", () => token(600)],
  ])("%s is let in: large records go and come, transactions commit", async (_mechanism, sasl) => {
    // kafkajs cannot renew a session shorter than ten seconds.
    const secured = { brokers: [broker.address], tls: { ca: broker.certificate }, sasl: sasl() };
    const address = secured.sasl.mechanism === "SCRAM-SHA-256" ? [broker.server.address] : secured;
    const topic = uniqueName("topic");
    await createTopics(address, [{ topic, partitions: 1, replicationFactor: 1, config: {} }]);
    const kafka = await openWith(sasl());
    const large = "weir ".repeat(180_000);
    await kafka.produce({ topic, partition: 0 }, textRecords(large));
    const producer = await kafka.initProducer(uniqueName("id"), { transactionTimeoutMs: 60_000 });
    await producer.send({ topic, partition: 0 }, textRecords("in a transaction"));
    await producer.commit();
    await settles(async () => {
      const [answer] = await kafka.fetch([{ topic, partition: 0, offset: 0 }], { isolation: "read_committed" });
      expect(answer!.records.map(textOf)).toEqual([large, "in a transaction"]);
    });
    const seen: (string | null)[] = [];
    await readCommitted(address, topic, (record) => seen.push(textOf(record)));
    expect(seen).toEqual([large, "in a transaction"]);
    await kafka.close();
  });

  test("a client outlives the session that the broker grants", async () => {
    const kafka = await openWith(bob("SCRAM-SHA-256"));
    const topic = uniqueName("absent");
    const began = performance.now();
    while (performance.now() - began < 2 * SESSION_MS) {
      await expect(kafka.committedOffsets(uniqueName("group"), [{ topic, partition: 0 }], { requireStable: false })).resolves.toHaveLength(
        1,
      );
    }
    await kafka.close();
  });
});

describe("who is not let in is told at once, and why", () => {
  test.each<[string, () => Sasl]>([
    ["a wrong password", () => ({ mechanism: "PLAIN", username: "alice", password: "guess" })],
    ["a wrong SCRAM password", () => ({ mechanism: "SCRAM-SHA-512", username: "bob", password: "guess" })],
    ["an unknown SCRAM user", () => ({ mechanism: "SCRAM-SHA-256", username: "mallory", password: "x" })],
    ["an expired token", () => token(-60)],
  ])("%s", async (_what, sasl) => {
    const began = performance.now();
    const failure = openWith(sasl());
    await expect(failure).rejects.toMatchObject({ code: "KAFKA_AUTH" });
    await expect(failure).rejects.toBeInstanceOf(OperatingError);
    await expect(failure).rejects.not.toThrow(/guess/);
    expect(performance.now() - began).toBeLessThan(1_900);
  });

  test("a broker whose certificate nobody vouches for", async () => {
    await expect(openWith(alice(), { tls: true })).rejects.toMatchObject({
      code: "KAFKA_TLS",
      message: expect.stringContaining(broker.address),
    });
  });

  test("TLS where the port speaks none", async () => {
    await expect(openWith(alice(), { brokers: [broker.server.address] })).rejects.toSatisfy(
      (thrown: unknown) => thrown instanceof OperatingError && ["KAFKA_TLS", "KAFKA_UNAVAILABLE"].includes(thrown.code),
    );
  });

  test("no TLS where the port wants it", async () => {
    const failure = openWith(undefined, { tls: false, unavailableAfterMs: 500 });
    await expect(failure).rejects.toBeInstanceOf(UnavailableError);
    await expect(failure).rejects.toThrow(broker.address);
  });
});
