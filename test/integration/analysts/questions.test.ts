/** docs/ANALYSTS.md against the real engine: every query runs, its answer is right, and it is fast for the reason that the page gives. */
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { RunningServer } from "#local/services/running-server.ts";
import { startServer } from "#local/services/servers.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { readQuestions } from "#test/bench/analyst-questions.ts";
import { fillRows } from "#test/bench/analytics-rows.ts";

const EVENTS = 200_000;
const FROM_MS = Math.floor(Date.now() / 3_600_000) * 3_600_000 - 48 * 3_600_000;
const database = `weir_${uniqueLane().replace("-", "_")}`;
const questions = readQuestions(database);
const time = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace("T", " ");

let client: Clickhouse;
let parameters: Record<string, string | number>;

beforeAll(async () => {
  client = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(client, database, { replicated: false });
  await fillRows({ client, database, events: EVENTS, users: 20_000, fromMs: FROM_MS, spanMs: 48 * 3_600_000, blockRows: 20_000 });
  const [event] = await client.query<{ id: string }>(`SELECT event_id AS id FROM ${database}.events WHERE oseq = 77777`);
  parameters = { user: 3, from: time(FROM_MS + 30 * 3_600_000), to: time(FROM_MS + 36 * 3_600_000), event: event!.id };
});

afterAll(async () => {
  await client.command(`DROP DATABASE IF EXISTS ${database} SYNC`);
  await client.close();
});

test("there are eleven questions", () => {
  expect(questions.map(({ title }) => Number(title.split(".")[0]))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
});

describe.each(questions)("$title", ({ sql, uses }) => {
  test("answers, and the same as without index, projection and key", async () => {
    const answer = await client.query(sql, parameters);
    expect(answer.length).toBeGreaterThan(0);
    const slow = await client.query(
      `${sql} SETTINGS optimize_use_projections = 0, use_skip_indexes = 0, force_primary_key = 0, optimize_use_implicit_projections = 0`,
      parameters,
    );
    expect(answer).toEqual(slow);
  });

  test("uses what the page says, and reads a part of the table", async () => {
    const plan = await client.query<{ explain: string }>(`EXPLAIN indexes = 1, projections = 1 ${sql}`, parameters);
    const text = plan.map(({ explain }) => explain).join("\n");
    for (const word of uses) {
      expect(text, text).toContain(word);
      if (word === "by_minute") expect(text, text).toContain("ReadFromMergeTree (by_minute)");
    }
    const granules = [...text.matchAll(/Granules: (\d+)\/(\d+)/g)].map(([, some, all]) => [Number(some), Number(all)] as const);
    expect(granules.length, text).toBeGreaterThan(0);
    if (!uses.includes("by_minute"))
      expect(
        granules.some(([some, all]) => some < all),
        text,
      ).toBe(true);
  });
});

test("the funnel counts what a reading by hand counts", async () => {
  const funnel = await client.query<{ level: number; users: string }>(questions[3]!.sql, parameters);
  const rows = await client.query<{ user_id: string; type: string; at: number }>(
    `SELECT toString(user_id) AS user_id, event_type AS type, toFloat64(toUnixTimestamp(toDateTime(event_time, 'UTC'))) AS at FROM ${database}.events
     WHERE event_time >= {from:DateTime} AND event_time < {to:DateTime} AND event_type IN ('view_item', 'add_to_cart', 'purchase') ORDER BY event_time`,
    parameters,
  );
  const viewers = new Set(rows.filter(({ type }) => type === "view_item").map(({ user_id }) => user_id));
  expect(Number(funnel[0]!.users)).toBe(viewers.size);
  const reached = new Map<string, number>();
  for (const [user, own] of Map.groupBy(rows, ({ user_id }) => user_id)) {
    for (const view of own.filter(({ type }) => type === "view_item")) {
      const within = own.filter(({ at }) => at >= view.at && at <= view.at + 3_600);
      const cart = within.find(({ type, at }) => type === "add_to_cart" && at >= view.at);
      const level = cart === undefined ? 1 : within.some(({ type, at }) => type === "purchase" && at >= cart.at) ? 3 : 2;
      reached.set(user, Math.max(reached.get(user) ?? 0, level));
    }
  }
  // Steps in one second may come in either order for the engine: a few users at most.
  for (const level of [2, 3]) {
    const byHand = [...reached.values()].filter((each) => each >= level).length;
    expect(byHand).toBeGreaterThan(10);
    expect(Math.abs(Number(funnel[level - 1]!.users) - byHand)).toBeLessThanOrEqual(Math.ceil(byHand / 50));
  }
});

describe("the analyst's user, as the server takes it from the file", () => {
  let server: RunningServer;
  let folder: string;
  let owner: Clickhouse;
  let analyst: Clickhouse;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "weir-analyst-"));
    await mkdir(join(folder, "users.d"));
    const file = join(folder, "users.d/analyst.xml");
    await copyFile(join(import.meta.dirname, "../../../sinks/clickhouse/users.d/analyst.xml"), file);
    server = await startServer("clickhouse", { dir: folder });
    owner = new Clickhouse({ url: server.address, user: "default", password: "" });
    await migrateClickhouse(owner, "weir", { replicated: false });
    await fillRows({ client: owner, database: "weir", events: 2_000, users: 100, fromMs: FROM_MS, spanMs: 60_000, blockRows: 2_000 });
    await owner.command("INSERT INTO weir.windows SELECT * REPLACE ('history' AS lane) FROM weir.windows");
    await owner.command("INSERT INTO weir.quality_1min SELECT * REPLACE ('history' AS lane) FROM weir.quality_1min");
    await owner.command("INSERT INTO weir.events SELECT * REPLACE ('history' AS lane) FROM weir.events LIMIT 100");
    const shut = new Clickhouse({ url: server.address, user: "analyst", password: "" });
    await expect(shut.query("SELECT 1")).rejects.toThrow(/Authentication failed|516/);
    await shut.close();
    // What an administrator does: the hash of a password into the file, then the server reads it.
    await server.stop();
    const hash = createHash("sha256").update("secret").digest("hex");
    await writeFile(file, (await readFile(file, "utf8")).replace(/0{64}/, hash));
    server = await startServer("clickhouse", { dir: folder });
    await owner.close();
    owner = new Clickhouse({ url: server.address, user: "default", password: "" });
    analyst = new Clickhouse({ url: server.address, user: "analyst", password: "secret" });
  });

  afterAll(async () => {
    await analyst?.close();
    await owner?.close();
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("every question of the page is open to it", async () => {
    const to = { user: 3, from: time(FROM_MS - 60_000), to: time(FROM_MS + 120_000), event: "0192f3a1-7b6e-7c1d-9a51-0f2d6c3b8e4f" };
    for (const { sql } of readQuestions("weir")) await analyst.query(sql, to);
  });

  test("it sees rows of the live lane only", async () => {
    expect(await analyst.query("SELECT DISTINCT lane FROM weir.events")).toEqual([{ lane: "live" }]);
    expect(await analyst.query("SELECT DISTINCT lane FROM weir.windows FINAL")).toEqual([{ lane: "live" }]);
    // Through the view too.
    expect(await analyst.query("SELECT DISTINCT lane FROM weir.quality")).toEqual([{ lane: "live" }]);
    expect(await owner.query("SELECT DISTINCT lane FROM weir.quality ORDER BY lane")).toEqual([{ lane: "history" }, { lane: "live" }]);
    expect(await owner.query("SELECT DISTINCT lane FROM weir.events ORDER BY lane")).toEqual([{ lane: "history" }, { lane: "live" }]);
  });

  test("it changes nothing, sees nothing else, and lifts no limit", async () => {
    await expect(analyst.command("INSERT INTO weir.windows (kind) VALUES ('x')")).rejects.toThrow(/readonly|Not enough privileges/);
    await expect(analyst.command("DROP TABLE weir.events")).rejects.toThrow(/readonly|Not enough privileges/);
    await expect(analyst.query("SELECT * FROM weir.schema_migrations")).rejects.toThrow(/Not enough privileges/);
    for (const limit of ["max_execution_time", "max_memory_usage", "max_threads", "max_result_rows"]) {
      // 0 is no limit.
      for (const value of ["0", "100000000000"]) {
        await expect(analyst.query(`SELECT 1 SETTINGS ${limit} = ${value}`), `${limit} = ${value}`).rejects.toThrow(limit);
      }
    }
    await expect(analyst.query("SELECT 1 SETTINGS readonly = 0")).rejects.toThrow(/readonly/);
    await expect(analyst.query("SELECT * FROM url('http://127.0.0.1:1/', CSV, 'x Int8')")).rejects.toThrow(/privileges|readonly/);
  });

  test("its quota counts", async () => {
    const [quota] = await analyst.query<{ max_queries: string; queries: string }>(
      "SELECT toString(max_queries) AS max_queries, toString(queries) AS queries FROM system.quota_usage",
    );
    expect(quota).toMatchObject({ max_queries: "2000" });
    expect(Number(quota!.queries)).toBeGreaterThan(5);
  });
});
