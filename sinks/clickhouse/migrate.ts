/** The analytics schema, one definition for one server and for replicas: the placeholders of the files are filled here. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { readMigrations } from "#shared/clients/migration-files.ts";
import { type AppliedMigration, type Migration, pendingMigrations } from "#shared/kernel/migration.ts";
import { compareSchemas, type Drift } from "#shared/kernel/schema-drift.ts";

const FOLDER = join(import.meta.dirname, "migrations");
/** Blocks whose tokens are remembered, per table. At one block a second and partition: seven hours of four partitions, half an hour of 64. */
const DEDUP_BLOCKS = 100_000;
const DEDUP_SECONDS = 7 * 86_400;

export interface MigrateOptions {
  /** Replicated engines, for a cluster with Keeper; else plain ones with their own window of tokens. */
  readonly replicated: boolean;
}

/**
 * Idempotent, forward only, of this one server: each replica is migrated, so the record of what was applied is never a replicated table (the
 * second replica would find everything recorded and nothing made). ClickHouse has no transaction over tables: each statement may be repeated
 * after a crash between it and the record of its migration, so CREATE is made IF NOT EXISTS here. Returns the names applied now.
 *
 * A view is never altered: after MODIFY QUERY, a block inserted before the server's next restart and sent again after it is not recognised in
 * the view's target and counts twice there (26.7, seen with kill -9). A view made anew forgets every token too. So a migration that changes a
 * view makes a new one with a new target, while the sinks stand still with nothing uncommitted.
 */
export async function migrateClickhouse(client: Clickhouse, database: string, options: MigrateOptions): Promise<string[]> {
  await client.command(`CREATE DATABASE IF NOT EXISTS ${database}`);
  await client.command(
    `CREATE TABLE IF NOT EXISTS ${database}.schema_migrations (name String, checksum String, applied_at DateTime DEFAULT now())
     ENGINE = ReplacingMergeTree ORDER BY name`,
  );
  const pending = pendingMigrations("ClickHouse", readMigrations(FOLDER), await appliedTo(client, database));
  for (const { name, sql, checksum } of pending) {
    for (const statement of statements(sql, database, options)) await client.command(statement);
    await client.command(
      `INSERT INTO ${database}.schema_migrations (name, checksum) SETTINGS async_insert = 0 VALUES ('${name}', '${checksum}')`,
    );
  }
  return pending.map(({ name }) => name);
}

async function appliedTo(client: Clickhouse, database: string): Promise<AppliedMigration[]> {
  return client.query<AppliedMigration>(`SELECT name, checksum FROM ${database}.schema_migrations FINAL ORDER BY name`);
}

async function state(client: Clickhouse, database: string): Promise<{ applied: Migration[]; pending: Migration[] }> {
  const known = await client.query("SELECT 1 FROM system.tables WHERE database = {database:String} AND name = 'schema_migrations'", {
    database,
  });
  const files = readMigrations(FOLDER);
  const pending = pendingMigrations("ClickHouse", files, known.length === 0 ? [] : await appliedTo(client, database));
  return { applied: files.slice(0, files.length - pending.length), pending };
}

/** Names of the migrations that have not been applied, in order. Changes nothing. @throws OperatingError MIGRATION_DRIFT */
export async function pendingClickhouseMigrations(client: Clickhouse, database: string): Promise<string[]> {
  return (await state(client, database)).pending.map(({ name }) => name);
}

/**
 * Where the tables differ from what the applied migrations make: those are run into a database of its own, which is dropped again, since only the
 * server knows how it writes a definition. Tables of others are passed over; a view of others is not, for it takes part in every insert.
 */
export async function clickhouseDrift(client: Clickhouse, database: string, options: MigrateOptions): Promise<Drift[]> {
  const { applied } = await state(client, database);
  if (applied.length === 0) return [];
  const scratch = `${database}_expected_${randomBytes(4).toString("hex")}`;
  await client.command(`CREATE DATABASE ${scratch}`);
  try {
    for (const { sql } of applied) for (const statement of statements(sql, scratch, options)) await client.command(statement);
    const expected = await definitionsOf(client, scratch);
    const found = await definitionsOf(client, database);
    const tables = new Set([...expected.keys()].map((what) => what.split(": ")[0]));
    return compareSchemas(expected, found, (what) => tables.has(what.split(": ")[0]) || what.startsWith("view "));
  } finally {
    await client.command(`DROP DATABASE IF EXISTS ${scratch}`);
  }
}

async function definitionsOf(client: Clickhouse, database: string): Promise<Map<string, string>> {
  const rows = await client.query<{ readonly what: string; readonly definition: string }>(
    `SELECT concat(if(engine = 'MaterializedView', 'view ', 'table '), name, ': definition') AS what,
            if(engine IN ('MaterializedView', 'View'), create_table_query, engine_full) AS definition
     FROM system.tables WHERE database = {database:String} AND name != 'schema_migrations' AND NOT is_temporary
     UNION ALL
     SELECT concat('table ', table, ': column ', name), concat(type, ' ', compression_codec, ' ', default_kind, ' ', default_expression)
     FROM system.columns WHERE database = {database:String} AND table IN (SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree')
       AND table != 'schema_migrations'
     UNION ALL
     SELECT concat('table ', table, ': index ', name), concat(expr, ' ', type_full, ' ', toString(granularity))
     FROM system.data_skipping_indices WHERE database = {database:String}
     UNION ALL
     SELECT concat('table ', table, ': projection ', name), query FROM system.projections WHERE database = {database:String}`,
    { database },
  );
  return new Map(
    rows.map(({ what, definition }) => [
      what,
      // Where a replica keeps its log is its own matter.
      definition
        .replaceAll(new RegExp(`\\b${database}\\.`, "g"), "")
        .replaceAll(/(Replicated\w*MergeTree)\('[^']*', '[^']*'/g, "$1(")
        .trim(),
    ]),
  );
}

function statements(sql: string, database: string, { replicated }: MigrateOptions): string[] {
  const window = replicated
    ? `replicated_deduplication_window = ${DEDUP_BLOCKS}, replicated_deduplication_window_seconds = ${DEDUP_SECONDS}`
    : `non_replicated_deduplication_window = ${DEDUP_BLOCKS}`;
  return sql
    .replaceAll(/^--.*$/gm, "")
    .replaceAll("{database}", database)
    .replaceAll("{dedup_window}", window)
    .replaceAll(/\{(\w*MergeTree)\}/g, (_, engine: string) => (replicated ? `Replicated${engine}` : engine))
    .replaceAll(/\bCREATE (TABLE|MATERIALIZED VIEW) /g, "CREATE $1 IF NOT EXISTS ")
    .split(/;\s*(?:\n|$)/)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}
