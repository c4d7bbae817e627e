import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { uniqueLane } from "#test/support/stack.ts";

let clickhouse: Clickhouse;
let database: string;

beforeAll(() => {
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
});

afterAll(async () => {
  await clickhouse.close();
});

beforeEach(() => {
  database = `weir_${uniqueLane().replace("-", "_")}`;
});

afterEach(async () => {
  await clickhouse.command(`DROP DATABASE IF EXISTS ${database}`);
});

const tables = async (): Promise<string[]> =>
  (
    await clickhouse.query<{ name: string }>(`SELECT name FROM system.tables WHERE database = {database:String} ORDER BY name`, {
      database,
    })
  ).map(({ name }) => name);

test("the second time there is nothing to do", async () => {
  expect((await migrateClickhouse(clickhouse, database, { replicated: false })).length).toBeGreaterThanOrEqual(3);
  expect(await migrateClickhouse(clickhouse, database, { replicated: false })).toEqual([]);
  expect(await tables()).toEqual(
    expect.arrayContaining(["dead_letters", "events", "user_activity_1min", "user_activity_1min_view", "windows"]),
  );
});

test("a crash between the statements and their record is repeated without harm to what is there", async () => {
  await migrateClickhouse(clickhouse, database, { replicated: false });
  await clickhouse.command(`INSERT INTO ${database}.dead_letters (at, reason) SETTINGS async_insert = 0 VALUES (now64(3), 'kept')`);
  await clickhouse.command(`TRUNCATE TABLE ${database}.schema_migrations`);
  await clickhouse.command(`DROP TABLE ${database}.user_activity_1min_view`);
  expect((await migrateClickhouse(clickhouse, database, { replicated: false })).length).toBeGreaterThanOrEqual(3);
  expect(await tables()).toContain("user_activity_1min_view");
  expect(await clickhouse.query(`SELECT reason FROM ${database}.dead_letters`)).toEqual([{ reason: "kept" }]);
});

test("an applied migration that was changed is refused by name", async () => {
  await migrateClickhouse(clickhouse, database, { replicated: false });
  await clickhouse.command(
    `INSERT INTO ${database}.schema_migrations (name, checksum) SETTINGS async_insert = 0 VALUES ('0002_windows', 'other')`,
  );
  await expect(migrateClickhouse(clickhouse, database, { replicated: false })).rejects.toMatchObject({
    code: "MIGRATION_DRIFT",
    message: expect.stringContaining("0002_windows") as string,
  });
});

test("every table that the sinks write, and every view's target, remembers tokens", async () => {
  await migrateClickhouse(clickhouse, database, { replicated: false });
  const forgetful = await clickhouse.query(
    `SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' AND name != 'schema_migrations'
       AND engine_full NOT LIKE '%non_replicated_deduplication_window = 100000%'`,
    { database },
  );
  expect(forgetful).toEqual([]);
});

test("rows of history outlive the TTL of the live lane", async () => {
  await migrateClickhouse(clickhouse, database, { replicated: false });
  await clickhouse.command(
    `INSERT INTO ${database}.events (event_time, lane) SETTINGS async_insert = 0 VALUES ('2001-01-01 00:00:00', 'live'), ('2001-01-01 00:00:00', 'history')`,
  );
  await clickhouse.command(`OPTIMIZE TABLE ${database}.events FINAL`);
  expect(await clickhouse.query(`SELECT lane FROM ${database}.events`)).toEqual([{ lane: "history" }]);
});
