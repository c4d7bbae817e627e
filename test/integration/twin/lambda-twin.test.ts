/** The event source mapping and its runtimes on a real broker, with a function that records what it gets. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, inject, test } from "vitest";
import { EventSourceMapping, type EventSourceMappingOptions } from "#local/lambda-twin/event-source-mapping.ts";
import type { Fault } from "#local/lambda-twin/invocation.ts";
import { RuntimePool } from "#local/lambda-twin/runtime-pool.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Compression, Kafka } from "#shared/clients/kafka/types.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { createLogger } from "#shared/telemetry/logger.ts";
import { isRunning, settles } from "#test/support/process.ts";
import { uniqueLane } from "#test/support/stack.ts";

const HANDLER = join(import.meta.dirname, "recording-handler.ts");
const PARTITIONS = 3;

interface Invocation {
  readonly pid: number;
  readonly requestId: string;
  readonly remainingMs: number;
  readonly offsets: Readonly<Record<string, readonly number[]>>;
}

let folder: string;
let kafka: Kafka;
let topic: string;
let group: string;
let pools: RuntimePool[] = [];
const logged: string[] = [];
const log = createLogger({}, (line) => void logged.push(line));

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-twin-"));
  const brokers = inject("stack").kafka.split(",");
  const lane = uniqueLane();
  topic = topicName(lane, "raw");
  group = groupId({ lane, generation: 1 }, "validator");
  await createTopics(brokers, [{ topic, partitions: PARTITIONS, replicationFactor: 1, config: {} }]);
  kafka = await openKafka({ brokers, clientId: "weir-twin-test" });
  logged.length = 0;
});

afterEach(async () => {
  await Promise.all(pools.map((pool) => pool.close()));
  pools = [];
  await kafka.close();
  rmSync(folder, { recursive: true, force: true });
});

const logFile = (): string => join(folder, "invocations");

const invocations = (): Invocation[] =>
  readFileSync(logFile(), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Invocation);

async function produce(partition: number, values: readonly string[], compression: Compression = "none"): Promise<void> {
  const headers = [["log", Buffer.from(logFile())]] as const;
  await kafka.produce(
    { topic, partition },
    values.map((value) => ({ key: Buffer.from("1"), value: Buffer.from(value), headers })),
    { compression },
  );
}

interface TwinOptions extends Partial<EventSourceMappingOptions> {
  readonly timeoutMs?: number;
  readonly orders?: readonly Fault[];
}

/** Runs the twin until every record is delivered and committed. */
async function deliverAll({ timeoutMs = 10_000, orders = [], ...options }: TwinOptions = {}): Promise<RuntimePool> {
  const pool = new RuntimePool({ handlerPath: HANDLER, size: 2, timeoutMs, log });
  pools.push(pool);
  await pool.start();
  const mapping = new EventSourceMapping({
    kafka,
    topic,
    partitions: PARTITIONS,
    group,
    source: {
      arn: "arn:aws:kafka:local:000000000000:cluster/weir/1",
      bootstrapServers: inject("stack").kafka,
      timestampType: "CREATE_TIME",
    },
    batchSize: 100,
    concurrency: 2,
    backoffMs: { first: 10, last: 50 },
    faults: true,
    log,
    invoke: (event, order) => pool.invoke(event, order),
    ...options,
  });
  for (const order of orders) mapping.order(order);
  const all = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic, partition }));
  const ends = await Promise.all(all.map((at) => kafka.listOffset(at, "latest", "read_committed")));
  const stop = new AbortController();
  const done = mapping.run(stop.signal);
  const committed = settles(
    async () => {
      const offsets = await kafka.committedOffsets(group, all, { requireStable: false });
      expect(offsets.map(({ offset }) => offset)).toEqual(ends);
    },
    { limitMs: 20_000 },
  );
  await Promise.race([done, committed]).finally(() => stop.abort());
  await done;
  return pool;
}

function deliveredOffsets(partition: number): number[] {
  return invocations().flatMap(({ offsets }) => offsets[`${topic}-${partition}`] ?? []);
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

test.each(["none", "gzip", "snappy", "lz4", "zstd"] as const)(
  "batches compressed with %s arrive record by record, in order, once, in two processes",
  async (compression) => {
    for (let p = 0; p < PARTITIONS; p++)
      await produce(
        p,
        Array.from({ length: 350 }, (_, i) => `{"n":${i}}`),
        compression,
      );
    await deliverAll({ batchSize: 50 });
    for (let p = 0; p < PARTITIONS; p++) expect(deliveredOffsets(p)).toEqual(range(0, 350));
    expect(new Set(invocations().map(({ pid }) => pid)).size).toBe(2);
    expect(new Set(invocations().map(({ requestId }) => requestId)).size).toBe(invocations().length);
    expect(invocations()[0]!.remainingMs).toBeGreaterThan(8_000);
  },
);

test("a batch whose invocation throws is delivered again, and the log names the error", async () => {
  await produce(0, ["a", "throw once", "b"]);
  await deliverAll();
  expect(deliveredOffsets(0)).toEqual([0, 1, 2, 0, 1, 2]);
  expect(logged.join("")).toContain("TypeError: no broker");
});

test("a runtime that ends in the middle of an invocation is replaced and the batch delivered to another", async () => {
  await produce(0, ["exit once"]);
  await produce(1, ["x"]);
  const pool = await deliverAll();
  expect(deliveredOffsets(0)).toEqual([0, 0]);
  await settles(() => expect(pool.processIds).toHaveLength(2));
  expect(logged.join("")).toContain("exit code 9");
});

test("an invocation beyond its time limit is killed and delivered again", async () => {
  await produce(0, ["hang once"]);
  await deliverAll({ timeoutMs: 1_000 });
  const [first, second] = invocations();
  expect(deliveredOffsets(0)).toEqual([0, 0]);
  expect(second!.pid).not.toBe(first!.pid);
  await settles(() => expect(isRunning(first!.pid)).toBe(false));
  expect(logged.join("")).toContain("Sandbox.Timedout");
});

test("killed after the produce and before the return: the batch is delivered again, to another process", async () => {
  await produce(0, ["a", "b"]);
  await deliverAll({ orders: [{ kind: "failpoint", spec: "validator-after-produce:kill" }] });
  const [first, second] = invocations();
  expect(deliveredOffsets(0)).toEqual([0, 1, 0, 1]);
  expect(second!.pid).not.toBe(first!.pid);
});

test("redelivery and overlap repeat what was delivered, and nothing is left out", async () => {
  await produce(0, range(0, 30).map(String));
  await deliverAll({ batchSize: 10, concurrency: 1, orders: [{ kind: "redeliver" }, { kind: "overlap", records: 3 }] });
  const batches = invocations().map(({ offsets }) => offsets[`${topic}-0`]);
  expect(batches.slice(0, 4)).toEqual([range(0, 10), range(0, 10), range(10, 20), range(7, 17)]);
  expect(batches.slice(4).flat()).toEqual(range(17, 30));
});

test("a twin that is started again goes on where the last one committed", async () => {
  await produce(0, ["a", "b"]);
  await deliverAll();
  await produce(0, ["c"]);
  await deliverAll();
  expect(deliveredOffsets(0)).toEqual([0, 1, 2]);
});

test("a function that cannot be loaded is an unavailable dependency, not an endless retry", async () => {
  const pool = new RuntimePool({ handlerPath: join(folder, "missing.ts"), size: 1, timeoutMs: 1_000, log });
  pools.push(pool);
  await expect(pool.start()).rejects.toThrow("the function could not be loaded: the runtime ended with exit code 1");
});
