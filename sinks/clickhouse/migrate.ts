/** The analytics schema, one definition for one server and for replicas: the placeholders of the files are filled here. */
import { join } from "node:path";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { readMigrations } from "#shared/clients/migration-files.ts";
import { type AppliedMigration, pendingMigrations } from "#shared/kernel/migration.ts";

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
  const applied = await client.query<AppliedMigration>(`SELECT name, checksum FROM ${database}.schema_migrations FINAL ORDER BY name`);
  const pending = pendingMigrations("ClickHouse", readMigrations(FOLDER), applied);
  for (const { name, sql, checksum } of pending) {
    for (const statement of statements(sql, database, options)) await client.command(statement);
    await client.command(
      `INSERT INTO ${database}.schema_migrations (name, checksum) SETTINGS async_insert = 0 VALUES ('${name}', '${checksum}')`,
    );
  }
  return pending.map(({ name }) => name);
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
