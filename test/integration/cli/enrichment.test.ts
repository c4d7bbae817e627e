/** `weir enrichment` on a pipeline that runs: rows behind a switch carry the attributes, nothing is lost, and what dies half-way is finished by the next. */
import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { preparePostgres } from "#local/preparation.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import type { Config } from "#shared/config/config.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { settles } from "#test/support/process.ts";
import { type Outcome, RunningPipeline } from "./running-pipeline.ts";

const PARTITIONS = 2;
const ROUND = 12;
const PATIENCE = { limitMs: 60_000 };

let pipeline: RunningPipeline;
let server: Database;
let database: Database;
let config: Config;
let kafka: Kafka;
let sent = 0;

beforeAll(async () => {
  const stack = inject("stack");
  pipeline = new RunningPipeline(stack);
  const name = `weir_${pipeline.config.lane.replace("-", "_")}`;
  server = new Database(stack.postgres);
  await server.query(`CREATE DATABASE ${name}`);
  const url = new URL(stack.postgres);
  url.pathname = `/${name}`;
  config = { ...pipeline.config, postgres: url.toString() };
  database = new Database(config.postgres);
  kafka = await openKafka({ brokers: [stack.kafka], clientId: "enrichment-test" });
  await Promise.all([preparePostgres(config), pipeline.start()]);
}, 120_000);

afterAll(async () => {
  await pipeline.stop();
  await kafka.close();
  await database.close();
  await server.query(`DROP DATABASE weir_${pipeline.config.lane.replace("-", "_")} WITH (FORCE)`);
  await server.close();
});

const weir = (args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
  pipeline.weir(["enrichment", ...args], { environment: { WEIR_POSTGRES: config.postgres, ...environment } });

async function done(args: readonly string[]): Promise<Record<string, unknown>> {
  const outcome = await weir([...args, "--json"]);
  expect(outcome, outcome.err).toMatchObject({ code: 0 });
  return JSON.parse(outcome.out) as Record<string, unknown>;
}

function csv(region: string): string[] {
  const file = join(config.dataDir, `${region}.csv`);
  writeFileSync(file, `source,region\nweb,${region}\npos,\n`);
  return [file, "--key", "source", "--by", "ada", "--reason", `web is in ${region}`];
}

/** Sends events to both partitions and waits until ClickHouse has them. Returns their attributes, by source. */
async function round(): Promise<Record<string, string[]>> {
  const first = sent + 1;
  const records = Array.from({ length: ROUND }, () => {
    const event = {
      event_id: `0192f3a1-7b6e-7c1d-9a51-${String(++sent).padStart(12, "0")}`,
      event_time: new Date().toISOString(),
      user_id: sent,
      event_type: "click",
      source: sent % 2 === 0 ? "web" : "api",
    };
    return { key: Buffer.from(String(sent)), value: Buffer.from(JSON.stringify(event)), timestampMs: Date.now(), headers: [] };
  });
  const byPartition = Map.groupBy(records, ({ key }) => partitionOf(key, PARTITIONS));
  expect(byPartition.size).toBe(PARTITIONS);
  for (const [partition, own] of byPartition) await kafka.produce({ topic: topicName(config.lane, "raw"), partition }, own);
  let rows: string[][] = [];
  await settles(async () => {
    const answer = await pipeline.sql(
      `SELECT source, enrichment FROM events WHERE lane = '${config.lane}' AND user_id >= ${first} AND user_id < ${first + ROUND} FORMAT TSVRaw`,
    );
    rows = answer.split("\n").map((line) => line.split("\t"));
    expect(rows, pipeline.log).toHaveLength(ROUND);
  }, PATIENCE);
  const attributes: Record<string, string[]> = {};
  for (const [source, text] of rows) (attributes[source!] ??= []).push(text ?? "");
  return Object.fromEntries(Object.entries(attributes).map(([source, texts]) => [source, [...new Set(texts)]]));
}

/** Versions of the control records in each partition's log. */
async function announced(): Promise<number[][]> {
  return Promise.all(
    Array.from({ length: PARTITIONS }, async (_, partition) => {
      const at = { topic: topicName(config.lane, "valid"), partition };
      const end = await kafka.listOffset(at, "latest", "read_uncommitted");
      const versions: number[] = [];
      for (let offset = 0; offset < end;) {
        const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_uncommitted", maxWaitMs: 100 });
        for (const { headers, value } of answer!.records) {
          if (Buffer.from(headers.find(([key]) => key === HEADERS.kind)![1]).toString() !== "enrichment") continue;
          versions.push((JSON.parse(Buffer.from(value!).toString()) as { version: number }).version);
        }
        offset = answer!.nextOffset;
      }
      return versions;
    }),
  );
}

test("events behind a publish carry the attributes of their source, behind a rollback the old ones again; none is lost", async () => {
  expect(await round()).toEqual({ web: [""], api: [""] });
  const first = await done(["publish", ...csv("eu")]);
  expect(first).toMatchObject({ version: 1, made: true, changes: { added: ["pos", "web"] }, publication: { version: 1, written: [1] } });
  expect((first["publication"] as { appended: unknown[] }).appended).toHaveLength(PARTITIONS);
  const [rows, tried] = await Promise.all([round(), done(["publish", ...csv("us"), "--dry-run"])]);
  expect(rows).toEqual({ web: ['{"region":"eu"}'], api: [""] });
  expect(tried).toMatchObject({ version: 2, made: true, publication: null });
  expect(await done(["publish", ...csv("us")])).toMatchObject({ version: 2, changes: { added: [], removed: [], changed: ["web"] } });
  expect(await round()).toEqual({ web: ['{"region":"us"}'], api: [""] });
  expect(await done(["rollback", "--by", "bob", "--reason", "web is back"])).toMatchObject({ version: 3, made: true });
  expect(await round()).toEqual({ web: ['{"region":"eu"}'], api: [""] });
  expect(await announced()).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ]);
});

test("who published what and why is in the audit log, in ls and show, with the places in the log", async () => {
  expect(
    await database.query(
      `SELECT actor, reason, row_key, new_row ->> 'restores' AS restores, new_row ? 'content' AS has_content FROM audit_logs
       WHERE table_name = 'enrichment_releases' ORDER BY id`,
    ),
  ).toEqual([
    { actor: "ada", reason: "web is in eu", row_key: "1", restores: null, has_content: false },
    { actor: "ada", reason: "web is in us", row_key: "2", restores: null, has_content: false },
    { actor: "bob", reason: "web is back", row_key: "3", restores: "1", has_content: false },
  ]);
  const switches = [{ partition: 0 }, { partition: 1 }];
  const [listed, shown] = await Promise.all([done(["ls"]), weir(["show", "2"])]);
  expect(listed).toMatchObject({
    published: 3,
    releases: [
      { version: 3, by: "bob", kind: "rollback", restores: 1, published: true, key: "source", rows: 2, switches },
      { version: 2, by: "ada", kind: "publish", restores: null, published: false, switches },
      { version: 1, switches },
    ],
  });
  expect(shown.out).toBe('{"source":"pos"}\n{"source":"web","region":"us"}\n');
});

test("a publish that is killed is finished by the next, and a record that stands twice changes nothing", async () => {
  const kill = async (point: string, region: string): Promise<void> =>
    expect((await weir(["publish", ...csv(region)], { WEIR_FAILPOINT: `${point}:kill` })).code).toBeNull();
  await kill("enrichment-committed", "mars");
  await kill("enrichment-object-written", "venus");
  expect(await announced()).toEqual([
    [1, 2, 3],
    [1, 2, 3],
  ]);
  // Both are decided: the newer one is told, the older one has its object.
  expect(await done(["publish"])).toMatchObject({ version: 5, written: [4], newerThanKnown: null });
  await kill("enrichment-control-appended", "pluto");
  expect(await done(["publish", ...csv("pluto")])).toMatchObject({ version: 6, made: false, publication: { version: 6 } });
  expect(await announced()).toEqual([
    [1, 2, 3, 5, 6, 6],
    [1, 2, 3, 5, 6],
  ]);
  expect(await round()).toEqual({ web: ['{"region":"pluto"}'], api: [""] });
});

test("objects that were lost are put back by publish, byte for byte, and the ledger balances", async () => {
  const folder = join(config.dataDir, "enrichments");
  const before = readdirSync(folder).toSorted();
  expect(before).toHaveLength(6);
  rmSync(folder, { recursive: true });
  expect(await done(["publish"])).toMatchObject({ version: 6, written: [6, 5, 4, 3, 2, 1], appended: [] });
  // Their names hold their SHA-256, which was compared when they were read back.
  expect(readdirSync(folder).toSorted()).toEqual(before);
  const verified = await pipeline.weir(["verify", "--timeout", "30s"]);
  expect(verified, verified.err).toMatchObject({ code: 0, out: expect.stringMatching(/balanced\n$/) as string });
});
