/** The Lambda function as it is deployed, in its own process, against a real broker. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { encodeEvent, encodeRecord } from "#local/lambda-twin/invocation-event.ts";
import { RuntimePool } from "#local/lambda-twin/runtime-pool.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { FetchedRecord, Kafka } from "#shared/clients/kafka/types.ts";
import { environmentOf } from "#shared/config/config.ts";
import { decodeBlock } from "#shared/events/block.ts";
import { topicName } from "#shared/events/names.ts";
import { createLogger } from "#shared/telemetry/logger.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { goodEvent, NOW_MS, textAt, verdictOf } from "#test/support/validated-event.ts";

const HANDLER = join(import.meta.dirname, "../../../functions/validator/handler.ts");
const PARTITIONS = 2;
const SOURCE = { arn: "arn:aws:kafka:local:0:cluster/weir/0", bootstrapServers: "127.0.0.1:1", timestampType: "CREATE_TIME" } as const;

let folder: string;
let lane: string;
let kafka: Kafka;
let pool: RuntimePool;
const pools: RuntimePool[] = [];

async function startPool(brokers: string, validatorTimeoutMs = 30_000): Promise<RuntimePool> {
  const environment = {
    ...environmentOf({ lane, kafka: brokers, dataDir: folder, partitions: PARTITIONS, validatorTimeoutMs }),
    PATH: "/usr/bin:/bin",
  };
  const started = new RuntimePool({
    handlerPath: HANDLER,
    size: 1,
    timeoutMs: 60_000,
    environment,
    log: createLogger({}, () => undefined),
  });
  pools.push(started);
  await started.start();
  return started;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-validator-"));
  lane = uniqueLane();
  const brokers = inject("stack").kafka.split(",");
  await createTopics(brokers, [{ topic: topicName(lane, "valid"), partitions: PARTITIONS, replicationFactor: 1, config: {} }]);
  kafka = await openKafka({ brokers, clientId: "weir-validator-test" });
  pool = await startPool(inject("stack").kafka);
});

afterAll(async () => {
  await Promise.all(pools.map((each) => each.close()));
  await kafka.close();
  rmSync(folder, { recursive: true, force: true });
});

function eventOf(partition: number, firstOffset: number, values: readonly string[]): string {
  const at = { topic: topicName(lane, "raw"), partition };
  const encoded = values.map((value, i) =>
    encodeRecord(
      at,
      { offset: firstOffset + i, timestampMs: NOW_MS, key: Buffer.from("42"), value: Buffer.from(value), headers: [] },
      SOURCE,
    ),
  );
  return encodeEvent([{ ...at, encoded }], SOURCE);
}

async function blocksOf(partition: number): Promise<readonly FetchedRecord[]> {
  const [answer] = await kafka.fetch([{ topic: topicName(lane, "valid"), partition, offset: 0 }], {
    isolation: "read_committed",
    maxWaitMs: 200,
  });
  return answer!.records;
}

function headersOf(record: FetchedRecord): Record<string, string> {
  return Object.fromEntries(record.headers.map(([name, value]) => [name, Buffer.from(value).toString()]));
}

const good = JSON.stringify(goodEvent());

describe("the validator's handler", () => {
  it("writes one block to the same partition number, its headers saying what it holds", async () => {
    await pool.invoke(eventOf(1, 100, [good, "{", good]));
    const [record] = await blocksOf(1);
    const oldest = String(NOW_MS);
    expect(headersOf(record!)).toEqual({ kind: "block", gen: "1", first: "100", last: "102", count: "3", rules: "1", oldest });
    const { columns, meta } = decodeBlock(record!.value!);
    expect(meta).toEqual({
      generation: 1,
      topic: topicName(lane, "raw"),
      partition: 1,
      firstSourceOffset: 100,
      lastSourceOffset: 102,
      rulesVersion: 1,
    });
    expect([...columns.sourceOffset]).toEqual([100, 101, 102]);
    expect([0, 1, 2].map((row) => verdictOf(columns, row).reason)).toEqual([null, "json.syntax", null]);
    expect(textAt(columns.raw, 1)).toBe("{");
  });

  it("killed between the produce and the return has written, and the redelivery writes the same bytes again", async () => {
    const event = eventOf(0, 7, [good, good]);
    await expect(pool.invoke(event, { failpoint: "validator-after-produce:kill" })).rejects.toThrow();
    await pool.invoke(event);
    const records = await blocksOf(0);
    expect(records).toHaveLength(2);
    expect(Buffer.compare(records[0]!.value!, records[1]!.value!)).toBe(0);
  });

  it("names what it cannot reach, well before its own time limit", async () => {
    const lost = await startPool("127.0.0.1:9", 3_000);
    await expect(lost.invoke(eventOf(0, 0, [good]))).rejects.toThrow(
      new RegExp(`cannot produce the block of offsets 0 to 0 to ${lane}.events.valid-0: `),
    );
  });

  it("an event of another source is one clear error", async () => {
    await expect(pool.invoke(JSON.stringify({ key1: "value1" }))).rejects.toThrow("not an event of this function's event source mapping");
    await pool.invoke(eventOf(1, 103, [good]));
    expect(await blocksOf(1)).toHaveLength(2);
  });
});
