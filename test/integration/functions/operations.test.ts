/** The functions that run commands in the cloud, bundled as they are deployed, on real servers: migrations, rules publisher, redrive. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { bundleFunction } from "#functions/bundle.ts";
import type { OperationAnswer } from "#functions/operation.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { applyRules, seedRules } from "#shared/clients/postgres/rules-store.ts";
import { publishedVersion } from "#shared/clients/rules/publication.ts";
import { environmentOf, loadConfig } from "#shared/config/config.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { FunctionProcess, type Outcome } from "#test/support/function-process.ts";
import { uniqueLane } from "#test/support/stack.ts";

const NAMES = ["migrations", "rules-publisher", "redrive"] as const;
const PARTITIONS = 2;
const lane = uniqueLane();
const name = `weir_${lane.replace("-", "_")}`;

let dir: string;
let server: Database;
let database: Database;
let clickhouse: string;
let kafka: Kafka;
let functions: Record<(typeof NAMES)[number], FunctionProcess>;

async function start(each: string, environment: Record<string, string>): Promise<FunctionProcess> {
  const { entry } = await bundleFunction(each, join(dir, each));
  return FunctionProcess.start(join(dir, each), entry, environment);
}

beforeAll(async () => {
  const stack = inject("stack");
  dir = await mkdtemp(join(tmpdir(), "weir-test-operations-"));
  server = new Database(stack.postgres);
  await server.query(`CREATE DATABASE ${name}`);
  const postgres = new URL(stack.postgres);
  postgres.pathname = `/${name}`;
  database = new Database(postgres.toString());
  clickhouse = loadConfig({ WEIR_CLICKHOUSE: stack.clickhouse }).clickhouse;
  const environment = environmentOf({
    lane,
    partitions: PARTITIONS,
    kafka: stack.kafka,
    postgres: postgres.toString(),
    clickhouse: stack.clickhouse,
    clickhouseDatabase: name,
    dataDir: join(dir, "data"),
  });
  await createTopics([stack.kafka], topicSpecs(lane, PARTITIONS, { replicationFactor: 1 }));
  kafka = await openKafka({ brokers: [stack.kafka], clientId: "test" });
  const started = await Promise.all(NAMES.map(async (each) => [each, await start(each, environment)] as const));
  functions = Object.fromEntries(started) as typeof functions;
});

afterAll(async () => {
  await Promise.all(Object.values(functions).map((each) => each.stop()));
  await kafka.close();
  await database.close();
  await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await server.close();
  await fetch(clickhouse, { method: "POST", body: `DROP DATABASE IF EXISTS ${name}` });
  await rm(dir, { recursive: true, force: true });
});

const invoke = (each: (typeof NAMES)[number], event: object, remainingMs = 600_000): Promise<Outcome> =>
  functions[each].invoke(JSON.stringify(event), remainingMs);

async function done<T = OperationAnswer>(...args: Parameters<typeof invoke>): Promise<T> {
  const outcome = await invoke(...args);
  expect(outcome, functions[args[0]].output).toMatchObject({ ok: true });
  return outcome.returned as T;
}

async function ends(role: "valid" | "raw"): Promise<number> {
  const topic = topicName(lane, role);
  const each = Array.from({ length: PARTITIONS }, (_, partition) => kafka.listOffset({ topic, partition }, "latest", "read_uncommitted"));
  return (await Promise.all(each)).reduce((sum, end) => sum + end, 0);
}

describe("migrations", () => {
  const storesOf = (answers: OperationAnswer[], verb: "pending" | "applied"): Record<string, string[]> =>
    Object.fromEntries(
      answers.flatMap(({ result }) => (result as { stores: Record<string, unknown>[] }).stores.map((each) => [each["store"], each[verb]])),
    ) as Record<string, string[]>;

  test("say what is pending, apply it once, and have nothing to do after that", async () => {
    const pending = storesOf(await done<OperationAnswer[]>("migrations", { "dry-run": true }), "pending");
    expect(pending["postgres"]).toContain("0001_metadata");
    expect(pending["clickhouse"]).toContain("0001_events");
    expect(storesOf(await done<OperationAnswer[]>("migrations", {}), "applied")).toEqual(pending);
    expect(storesOf(await done<OperationAnswer[]>("migrations", {}), "applied")).toEqual({ postgres: [], clickhouse: [] });
  });

  test("refuse tables that were altered by hand, and options that lead elsewhere", async () => {
    await database.query("ALTER TABLE event_types ADD COLUMN by_hand integer");
    expect(await invoke("migrations", {})).toMatchObject({
      ok: false,
      code: "MIGRATION_DRIFT",
      message: expect.stringContaining("by_hand"),
    });
    await database.query("ALTER TABLE event_types DROP COLUMN by_hand");
    expect(await invoke("migrations", { "data-dir": "/tmp" })).toMatchObject({ ok: false, code: "USAGE" });
  });
});

describe("rules publisher", () => {
  test("publishes the newest release: object, pointer, one control record in each partition; again it has nothing to do", async () => {
    await seedRules(database, loadSeedRelease());
    await applyRules(database, { actor: "test", reason: "first" });
    const first = (await done("rules-publisher", {})).result;
    expect(first).toMatchObject({ version: 1, pointerMoved: true, appended: [{ partition: 0 }, { partition: 1 }] });
    expect(await publishedVersion(openFolderObjects(join(dir, "data")))).toBe(1);
    expect(await ends("valid")).toBe(PARTITIONS);
    expect((await done("rules-publisher", {})).result).toMatchObject({ version: 1, pointerMoved: false, appended: [] });
    expect(await ends("valid")).toBe(PARTITIONS);
  });
});

describe("redrive", () => {
  const LETTERS = 5;

  test("replays what the filter names, each once, under the name of who asked for it", async () => {
    for (let i = 0; i < LETTERS; i++) {
      const event = {
        event_id: `0190f2a6-7b1c-4d3e-8f00-00000000000${i}`,
        event_time: new Date().toISOString(),
        user_id: 42,
        event_type: "purchase",
        source: "web",
        properties: { amount: 12.5 },
      };
      const headers = [
        [HEADERS.reason, i === 0 ? "json.syntax" : "schema.type"],
        [HEADERS.pointer, "/properties/amount"],
        [HEADERS.source, `${topicName(lane, "raw")}/0/${i}`],
      ].map(([key, value]) => [key!, Buffer.from(value!)] as const);
      await kafka.produce({ topic: topicName(lane, "dlq"), partition: 0 }, [
        { key: Buffer.from("42"), value: Buffer.from(JSON.stringify(event)), headers },
      ]);
    }
    expect(await invoke("redrive", { reason: "schema.type" })).toMatchObject({ ok: false, code: "USAGE" });
    const wanted = { by: "alice", reason: ["schema.type"], since: "1h" };
    expect((await done("redrive", { ...wanted, "dry-run": true })).result).toMatchObject({ dryRun: true, sent: LETTERS - 1 });
    expect(await ends("raw")).toBe(0);
    // Out of time at once: nothing is sent, and the same event goes on with it.
    expect(await done("redrive", wanted, 1)).toMatchObject({ exitCode: 130 });
    expect((await done("redrive", wanted)).result).toMatchObject({ state: "done", sent: LETTERS - 1 });
    expect((await done("redrive", wanted)).result).toMatchObject({ sent: 0 });
    expect(await ends("raw")).toBe(LETTERS - 1);
    const replays = await database.query<{ created_by: string; state: string }>("SELECT created_by, state FROM dlq_replays");
    expect(replays).toEqual([{ created_by: "alice", state: "done" }]);
  });
});
