/** The read API's function, bundled as it is deployed, on real servers, with no more rights in Redis than its user has in the cloud. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { bundleFunction } from "#functions/bundle.ts";
import { startRedis } from "#local/services/redis.ts";
import { exchange, type RunningServer } from "#local/services/running-server.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import { environmentOf } from "#shared/config/config.ts";
import { encodeClean } from "#shared/events/block.ts";
import { HEADERS } from "#shared/events/names.ts";
import { API_PATHS, SOURCES_PREFIX } from "#shared/read/api-paths.ts";
import { createdChannel, markKey } from "#shared/read/hot-keys.ts";
import { READER_ACCESS } from "#shared/read/redis-rights.ts";
import { createEventsStore } from "#sinks/clickhouse/events-store.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { createMinutesStore } from "#sinks/clickhouse/minutes-store.ts";
import { ActivityBatch } from "#sinks/redis/activity-batch.ts";
import type { HotBatch } from "#sinks/redis/hot-batch.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import { MetricBatch } from "#sinks/redis/metric-batch.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import { FunctionProcess } from "#test/support/function-process.ts";
import { costRow, metricRow, minuteBlock, qualityRow } from "#test/support/minute-blocks.ts";
import { settles } from "#test/support/process.ts";
import { cleanColumns, rowOf } from "#test/support/sink-rows.ts";
import { uniqueLane } from "#test/support/stack.ts";

const LANE = "live";
const FROM = { lane: LANE, generation: 1, partition: 0 };
const DATABASE = `weir_${uniqueLane().replace("-", "_")}`;
/** Ahead of any clock here, and the beginning of a window: however slow the machine is, what Redis has never becomes too old to be given. */
const MINUTE_MS = Math.floor(Date.now() / 300_000) * 300_000 + 3_600_000;
const STARTS_WITHIN_MS = 120_000;
const PATIENCE = { limitMs: 60_000 };

let folder: string;
let server: RunningServer;
let admin: Redis;
let clickhouse: Clickhouse;
let api: FunctionProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-test-api-"));
  chmodSync(folder, 0o755);
  const started = startRedis({ dir: join(folder, "redis") });
  const bundled = bundleFunction("api", join(folder, "api"));
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(clickhouse, DATABASE, { replicated: false });
  server = await started;
  admin = new Redis(server.address);
  await admin.connect();
  const reply = await exchange(server.port, `ACL SETUSER reader >secret ${READER_ACCESS}\r\n`, { want: 5 });
  expect(reply.toString()).toBe("+OK\r\n");
  const environment = environmentOf({
    partitions: 1,
    redis: server.address.replace("//", "//reader:secret@"),
    clickhouse: inject("stack").clickhouse,
    clickhouseDatabase: DATABASE,
    metrics: "emf",
    environment: "test",
  });
  api = await FunctionProcess.start(join(folder, "api"), (await bundled).entry, environment);
}, STARTS_WITHIN_MS);

afterAll(async () => {
  await api?.stop();
  admin?.close();
  await server?.stop();
  await clickhouse.command(`DROP DATABASE IF EXISTS ${DATABASE}`);
  await clickhouse.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Said {
  readonly status: number;
  readonly body: { readonly value: Record<string, unknown> | null; readonly from: string; readonly error?: { readonly code: string } };
}

async function get(resource: string, pathParameters: Readonly<Record<string, string>>): Promise<Said> {
  const outcome = await api.invoke(JSON.stringify({ httpMethod: "GET", resource, pathParameters }));
  expect(outcome, api.output).toMatchObject({ ok: true });
  const { statusCode, body } = outcome.returned as { statusCode: number; body: string };
  return { status: statusCode, body: JSON.parse(body) as Said["body"] };
}

/** A store that is slow on a busy machine is left alone for a moment: what is promised is what comes to be. */
async function says(resource: string, pathParameters: Readonly<Record<string, string>>, expected: object): Promise<Said> {
  return settles(async () => {
    const said = await get(resource, pathParameters);
    expect(said, JSON.stringify(pathParameters)).toMatchObject(expected);
    return said;
  }, PATIENCE);
}

const USER = 42;
const EVENT = "00000000-0000-0000-0000-000000000007";
const rows = [
  { ...rowOf(1), userId: USER, eventTimeMs: MINUTE_MS, eventId: 7, source: "web", sessionId: "s-42" },
  { ...rowOf(2), userId: USER, eventTimeMs: MINUTE_MS + 5_000, eventId: 8, source: "mobile", sessionId: "s-42" },
];

function recordOf(value: Uint8Array, more: Partial<OutputRecord>): OutputRecord {
  const base = {
    offset: 0,
    timestampMs: MINUTE_MS + 6_000,
    key: null,
    headers: [],
    generation: 1,
    oseq: 1,
    count: 1,
    cut: 1,
    endsCut: true,
  };
  return { ...base, value, ...more };
}

async function intoRedis(role: "clean" | "minutes", batch: () => HotBatch, records: readonly OutputRecord[]): Promise<void> {
  const channel = createdChannel(LANE);
  const store = createHotValuesStore({ redis: admin, markKey: markKey(FROM, role, 0), generation: 1, createdChannel: channel, batch });
  await store.resume(null);
  await store.deliver(records);
}

describe("events and what is made of them", () => {
  const record = recordOf(encodeClean(cleanColumns(rows)), { count: rows.length });

  test("are read from ClickHouse while Redis has none; another source's event is not there", async () => {
    const store = createEventsStore(clickhouse, `${DATABASE}.events`, "events.clean", FROM);
    await store.resume(null);
    await store.deliver([record]);
    await says(API_PATHS.user, { user: "42" }, { status: 200, body: { from: "clickhouse", value: { userId: "42" } } });
    await says(API_PATHS.event, { event: EVENT }, { status: 200, body: { value: { eventId: EVENT, source: "web" } } });
    const as = (sources: string, expected: object): Promise<Said> =>
      says(`${SOURCES_PREFIX}${API_PATHS.event}`, { event: EVENT, sources }, expected);
    await as("mobile,web", { status: 200 });
    await as("mobile", { status: 404, body: { value: null, from: "absent" } });
    const visible = { lastEventMs: MINUTE_MS, window: { events: 1 } };
    await says(`${SOURCES_PREFIX}${API_PATHS.user}`, { user: "42", sources: "web" }, { status: 200, body: { value: visible } });
  });

  test("come from Redis once they are there, by a user who may change no hot value", async () => {
    await intoRedis("clean", () => new ActivityBatch(LANE), [record]);
    await says(API_PATHS.user, { user: "42" }, { status: 200, body: { from: "redis", notes: [] } });
    await says(API_PATHS.session, { session: "s-42" }, { status: 200, body: { from: "redis", notes: [] } });
    await says(API_PATHS.event, { event: EVENT }, { status: 200, body: { from: "redis" } });
    // It hears of keys that come into being, which it would else hold for absent.
    await settles(async () => {
      const listeners = await admin.script("return redis.call('PUBSUB', 'NUMSUB', KEYS[1])", [createdChannel(LANE)], []);
      expect(listeners).toEqual([createdChannel(LANE), 1]);
    }, PATIENCE);
    const reader = new Redis(server.address.replace("//", "//reader:secret@"));
    await reader.connect();
    for (const call of ["'HSET', 'user:42:activity', 'gen', '9'", "'DEL', 'user:42:activity'", "'FLUSHALL'", "'GET', 'other'"]) {
      await expect(reader.script(`return redis.call(${call})`, [], []), call).rejects.toMatchObject({ code: "REDIS_REFUSED" });
    }
    reader.close();
  });
});

describe("metrics", () => {
  const minute = { minute: MINUTE_MS };
  const quality = [qualityRow({ ...minute, total: 10, accurate: 9 }), qualityRow({ ...minute, total: 30, source: "mobile", accurate: 30 })];
  const blocks = [
    ["metrics", [metricRow({ ...minute, value: 12.5, count: 4 })]],
    ["quality", quality],
    ["cost", [costRow(minute), costRow({ ...minute, destination: "redis", usd: 0.75, events: 30 })]],
  ] as const;
  let oseq = 1;
  const records = blocks.map(([kind, of], offset) => {
    const record = recordOf(minuteBlock(kind, of), { offset, oseq, count: of.length, headers: [[HEADERS.kind, Buffer.from(kind)]] });
    oseq += of.length;
    return record;
  });
  const expected = {
    "events:web:click": { value: 12.5, count: 4 },
    "quality.accuracy": { value: 97.5, count: 40 },
    "quality.accuracy:web": { value: 90, count: 10 },
    "quality.accuracy:mobile:click": { value: 100, count: 30 },
    "cost.usd": { value: 1, count: 40 },
    "cost.bytes:web:redis": { value: 4_000, count: 30 },
  };

  test("of the newest closed minute are the same from ClickHouse and from Redis", async () => {
    const provenance = { lane: LANE, generation: 1, partition: 0 };
    const store = createMinutesStore({ client: clickhouse, database: DATABASE, topic: "metrics.minutes", provenance });
    await store.resume(null);
    await store.deliver(records);
    for (const [metric, value] of Object.entries(expected)) {
      const answer = { from: "clickhouse", value: { name: metric, minuteMs: MINUTE_MS, ...value } };
      await says(API_PATHS.metric, { metric }, { status: 200, body: answer });
    }
    await intoRedis("minutes", () => new MetricBatch(LANE), records);
    for (const [metric, value] of Object.entries(expected)) {
      const answer = { from: "redis", value: { name: metric, minuteMs: MINUTE_MS, ...value } };
      await says(API_PATHS.metric, { metric }, { status: 200, body: answer });
    }
  });

  test("of another source, or of all, are not there for who may see some", async () => {
    const as = (metric: string, expected: object): Promise<Said> =>
      says(`${SOURCES_PREFIX}${API_PATHS.metric}`, { metric, sources: "web" }, expected);
    await as("quality.accuracy:web", { status: 200 });
    for (const hidden of ["quality.accuracy", "quality.accuracy:mobile:click", "events", "quality.accuracy::click"])
      await as(hidden, { status: 404, body: { value: null, from: "absent" } });
  });
});

test("wrong questions are the caller's fault, and what was asked is counted", async () => {
  expect(await get(API_PATHS.user, { user: "alice" })).toMatchObject({ status: 400, body: { error: { code: "READ_KEY" } } });
  expect(await get("/users", {})).toMatchObject({ status: 400, body: { error: { code: "API_REQUEST" } } });
  await says(API_PATHS.event, { event: "00000000-0000-0000-0000-0000000000ff" }, { status: 404, body: { value: null } });
  const documents = api.output
    .split("\n")
    .filter((line) => line.startsWith('{"_aws"'))
    .map((line) => JSON.parse(line) as Record<string, number>);
  const sum = (name: string): number => documents.reduce((total, document) => total + (document[name] ?? 0), 0);
  expect(sum("Reads")).toBeGreaterThan(sum("ReadMisses"));
  expect(sum("ReadMisses")).toBeGreaterThan(0);
});
