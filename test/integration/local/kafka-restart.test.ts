/**
 * Kafka 4.3.1 alone on its machine writes off a decided transaction that had no markers yet when it leads by the registration of the killed
 * broker and then loses it (local/services/kafka.ts). The starter fences that registration first.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startKafka } from "#local/services/kafka.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { settles } from "#test/support/process.ts";

const PARTITIONS = 8;

let folder: string;
let broker: RunningServer;
let kafka: Kafka | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-kafka-restart-"));
});

afterEach(async () => {
  await kafka?.close();
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function killAndRestart(): Promise<void> {
  process.kill(broker.pid, "SIGKILL");
  await broker.exited;
  broker = await startKafka({ dir: folder, port: broker.port });
}

it("every transaction that was under way at a double kill -9 is decided afterwards, none hangs", async () => {
  broker = await startKafka({ dir: folder });
  const spec = { partitions: PARTITIONS, replicationFactor: 1, config: {} };
  await createTopics(
    [broker.address],
    [
      { topic: "test.in", ...spec },
      { topic: "test.out", ...spec },
    ],
  );
  const client = await openKafka({ brokers: [broker.address], clientId: "test" });
  kafka = client;
  const commits = Array.from({ length: PARTITIONS }, () => 0);
  const transact = async (partition: number): Promise<void> => {
    const producer = await client.initProducer(`test-${partition}`, { transactionTimeoutMs: 60_000 });
    for (;;) {
      await producer.send({ topic: "test.out", partition }, [{ key: null, value: Buffer.from("x") }]);
      await producer.commitOffsets("test", [{ topic: "test.in", partition, offset: commits[partition]! + 1, metadata: "" }]);
      await producer.commit();
      commits[partition]! += 1;
    }
  };
  // Each ends with the error that the kill gives it.
  const producers = commits.map((_, partition) => transact(partition).catch(() => undefined));
  await settles(() => expect(Math.min(...commits)).toBeGreaterThan(3));
  await killAndRestart();
  await killAndRestart();
  await Promise.all(producers);

  for (let partition = 0; partition < PARTITIONS; partition++) {
    await client.initProducer(`test-${partition}`, { transactionTimeoutMs: 60_000 });
    const [stable] = await client.committedOffsets("test", [{ topic: "test.in", partition }], { requireStable: true });
    expect(stable!.offset).toBeGreaterThanOrEqual(commits[partition]!);
    const at = { topic: "test.out", partition };
    const ends = await Promise.all([
      client.listOffset(at, "latest", "read_committed"),
      client.listOffset(at, "latest", "read_uncommitted"),
    ]);
    expect(ends[0]).toBe(ends[1]);
  }
  expect(readFileSync(join(folder, "fencing.log"), "utf8").match(/handleBrokerFenced/g)).toHaveLength(2);
});

it("a broker that was stopped in order needs no fencing", async () => {
  broker = await startKafka({ dir: folder });
  await broker.stop();
  broker = await startKafka({ dir: folder });
  expect(existsSync(join(folder, "fencing.log"))).toBe(false);
});
