import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { clickhouseDrift, migrateClickhouse, pendingClickhouseMigrations } from "#sinks/clickhouse/migrate.ts";
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

describe("drift", () => {
  const PLAIN = { replicated: false };

  test("there is none in what the migrations made, and looking leaves nothing behind", async () => {
    expect(await clickhouseDrift(clickhouse, database, PLAIN)).toEqual([]);
    expect((await pendingClickhouseMigrations(clickhouse, database)).length).toBeGreaterThanOrEqual(3);
    await migrateClickhouse(clickhouse, database, PLAIN);
    expect(await pendingClickhouseMigrations(clickhouse, database)).toEqual([]);
    expect(await clickhouseDrift(clickhouse, database, PLAIN)).toEqual([]);
    expect(await clickhouse.query(`SELECT name FROM system.databases WHERE name LIKE '${database}_expected%'`)).toEqual([]);
  });

  test.for([
    ["ALTER TABLE {db}.windows MODIFY COLUMN value_sum Nullable(Float32)", "table windows: column value_sum", /Float64/, /Float32/],
    ["ALTER TABLE {db}.events MODIFY COLUMN properties String CODEC(NONE)", "table events: column properties", /ZSTD/, /NONE/],
    ["ALTER TABLE {db}.windows ADD COLUMN extra UInt8", "table windows: column extra", null, /UInt8/],
    ["ALTER TABLE {db}.windows DROP COLUMN value_max", "table windows: column value_max", /Float64/, null],
    [
      "ALTER TABLE {db}.events MODIFY TTL toDateTime(event_time) + INTERVAL 1 DAY",
      "table events: definition",
      /toIntervalDay\(90\)/,
      /toIntervalDay\(1\)/,
    ],
    [
      "ALTER TABLE {db}.events MODIFY SETTING non_replicated_deduplication_window = 5",
      "table events: definition",
      /window = 100000/,
      /window = 5\b/,
    ],
    ["ALTER TABLE {db}.events ADD INDEX by_hand value TYPE minmax", "table events: index by_hand", null, /minmax/],
    ["DROP TABLE {db}.user_activity_1min_view", "view user_activity_1min_view: definition", /user_activity_1min/, null],
    [
      "CREATE MATERIALIZED VIEW {db}.by_hand ENGINE = MergeTree ORDER BY user_id AS SELECT user_id FROM {db}.events",
      "view by_hand: definition",
      null,
      /user_id/,
    ],
  ] as const)("%s", async ([sql, what, expected, found]) => {
    await migrateClickhouse(clickhouse, database, PLAIN);
    await clickhouse.command(sql.replaceAll("{db}", database));
    const drift = (await clickhouseDrift(clickhouse, database, PLAIN)).find((each) => each.what === what);
    expect(drift).toEqual({
      what,
      expected: expected === null ? null : (expect.stringMatching(expected) as string),
      found: found === null ? null : (expect.stringMatching(found) as string),
    });
  });

  test("a table of somebody else is passed over", async () => {
    await migrateClickhouse(clickhouse, database, PLAIN);
    await clickhouse.command(`CREATE TABLE ${database}.notes (text String) ENGINE = MergeTree ORDER BY text`);
    expect(await clickhouseDrift(clickhouse, database, PLAIN)).toEqual([]);
  });
});
