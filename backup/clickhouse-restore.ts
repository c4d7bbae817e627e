/**
 * A backup into a database that is not there or empty. The server's copy of `events` may reach further than the positions of the backup and its views
 * further than `events`: rows behind the positions are taken out, and views of the partitions concerned are counted anew from the table, so that the
 * sinks find exactly what they had made durable there.
 */
import { join } from "node:path";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { CorruptStateError, OperatingError } from "#shared/kernel/errors.ts";
import { behind, checkEvents, CLICKHOUSE_PREFIX, runAsync } from "./clickhouse-backup.ts";
import type { BackupLocation } from "./location.ts";
import { type TableLimit, tableLimits } from "./log-positions.ts";
import type { Manifest } from "./manifest.ts";
import { writeFiles } from "./parts.ts";
import { withStaging } from "./staging.ts";

/** Of a database whose restore has not ended: the next restore may throw it away. */
const UNFINISHED = "weir restore unfinished";
const TTL_MS = 89 * 86_400_000;

/** @throws OperatingError RESTORE_NOT_EMPTY naming a table. */
export async function refuseFilledClickhouse(client: Clickhouse, database: string): Promise<void> {
  if (await isUnfinished(client, database)) return;
  const [filled] = await client.query<{ readonly name: string; readonly rows: string }>(
    `SELECT name, toString(total_rows) AS rows FROM system.tables
     WHERE database = {database:String} AND name != 'schema_migrations' AND total_rows > 0 ORDER BY total_rows DESC LIMIT 1`,
    { database },
  );
  if (filled === undefined) return;
  throw new OperatingError(`ClickHouse's table ${database}.${filled.name} has ${filled.rows} rows`, {
    code: "RESTORE_NOT_EMPTY",
    hint: `--into NAME restores beside it; or, when you are sure that it may go: DROP DATABASE ${database}`,
  });
}

async function isUnfinished(client: Clickhouse, database: string): Promise<boolean> {
  const found = await client.query("SELECT 1 FROM system.databases WHERE name = {database:String} AND comment = {comment:String}", {
    database,
    comment: UNFINISHED,
  });
  return found.length > 0;
}

export interface ClickhouseRestoreOptions {
  readonly client: Clickhouse;
  /** From the full one to the one that is wanted. */
  readonly chain: readonly Manifest[];
  readonly location: BackupLocation;
  /** Where to. */
  readonly database: string;
  readonly nowMs: number;
}

export interface ClickhouseRestored {
  /** Taken out, since the log gives them again. */
  readonly trimmed: number;
  readonly rebuilt: readonly string[];
}

/** Call {@link finishClickhouse} when all else is restored as well. */
export async function restoreClickhouse({
  client,
  chain,
  location,
  database,
  nowMs,
}: ClickhouseRestoreOptions): Promise<ClickhouseRestored> {
  const wanted = chain.at(-1)!;
  await withStaging(client, async (folder) => {
    await client.command(`DROP DATABASE IF EXISTS ${database} SYNC`);
    for (const { name, parts } of chain) await writeFiles(location, parts, CLICKHOUSE_PREFIX, join(folder, name));
    await client.command(`CREATE DATABASE ${database} COMMENT '${UNFINISHED}'`);
    const renamed = database === wanted.clickhouse.database ? "" : ` AS ${database}`;
    await runAsync(
      client,
      `RESTORE DATABASE ${wanted.clickhouse.database}${renamed} FROM File('${wanted.name}') SETTINGS allow_different_database_def = 1`,
    );
  });
  const limits = tableLimits(wanted.lanes, wanted.positions);
  const { trimmed, touched } = await trim(client, database, limits);
  const rebuilt = await rebuildViews(client, database, [...new Set([...wanted.clickhouse.unsettled, ...touched])].toSorted());
  await compare(client, database, wanted, limits, nowMs);
  return { trimmed, rebuilt };
}

export async function finishClickhouse(client: Clickhouse, database: string): Promise<void> {
  await client.command(`ALTER DATABASE ${database} MODIFY COMMENT ''`);
}

async function trim(
  client: Clickhouse,
  database: string,
  limits: readonly TableLimit[],
): Promise<{ readonly trimmed: number; readonly touched: readonly string[] }> {
  if (limits.length === 0) return { trimmed: 0, touched: [] };
  const found = await client.query<{ readonly id: string; readonly rows: number }>(
    `SELECT _partition_id AS id, toFloat64(count()) AS rows FROM ${database}.events WHERE ${behind(limits)} GROUP BY id`,
  );
  if (found.length > 0) await client.command(`ALTER TABLE ${database}.events DELETE WHERE ${behind(limits)} SETTINGS mutations_sync = 2`);
  return { trimmed: found.reduce((sum, { rows }) => sum + rows, 0), touched: found.map(({ id }) => id) };
}

interface ViewRow {
  readonly name: string;
  readonly query: string;
  readonly target: string;
  readonly partitionKey: string;
}

/** Of every view over `events`: its target's partitions, dropped and counted anew by the view's own query. */
async function rebuildViews(client: Clickhouse, database: string, partitions: readonly string[]): Promise<string[]> {
  if (partitions.length === 0) return [];
  const views = await client.query<ViewRow>(
    `SELECT v.name AS name, v.as_select AS query, v.target AS target, t.partition_key AS partitionKey
     FROM (SELECT name, as_select, extract(create_table_query, ' TO [\`"]?[\\\\w]+[\`"]?\\\\.[\`"]?([\\\\w]+)') AS target
           FROM system.tables WHERE database = {database:String} AND engine = 'MaterializedView') AS v
     JOIN (SELECT name, partition_key FROM system.tables WHERE database = {database:String}) AS t ON t.name = v.target`,
    { database },
  );
  const table = new RegExp(`\\bFROM ${database}\\.events\\b`);
  const rebuilt: string[] = [];
  for (const { name, query, target, partitionKey } of views) {
    if (!table.test(query)) continue;
    // A target that is not cut by the month of the event is counted anew as a whole.
    const byMonth = /^toYYYYMM\(\w+\)$/.test(partitionKey);
    if (!byMonth) await client.command(`TRUNCATE TABLE ${database}.${target} SYNC`);
    for (const id of byMonth ? partitions : [null]) {
      if (id !== null) await client.command(`ALTER TABLE ${database}.${target} DROP PARTITION ID '${id}'`);
      const where = id === null ? "" : ` WHERE _partition_id = '${id}'`;
      await client.command(
        `INSERT INTO ${database}.${target} ${query.replace(table, () => `FROM (SELECT * FROM ${database}.events${where}) AS events`)}
         SETTINGS async_insert = 0, insert_deduplicate = 0, optimize_aggregation_in_order = 1, max_bytes_before_external_group_by = 500000000,
                  materialized_views_ignore_errors = 0`,
      );
    }
    rebuilt.push(name);
  }
  return rebuilt;
}

/** @throws CorruptStateError RESTORE_DIFFERS */
async function compare(
  client: Clickhouse,
  database: string,
  wanted: Manifest,
  limits: readonly TableLimit[],
  nowMs: number,
): Promise<void> {
  const { sinceMs, events } = wanted.clickhouse;
  // An old backup's rows expire while they are looked at.
  if (sinceMs < nowMs - TTL_MS) return;
  const now = await checkEvents(client, database, limits, sinceMs);
  for (const [i, { lane, partition, rows, hash }] of events.entries()) {
    const found = now[i]!;
    if (found.rows === rows && found.hash === hash) continue;
    throw new CorruptStateError(
      `partition ${partition} of lane ${lane} has ${found.rows} rows (${found.hash}) after the restore, the backup counted ${rows} (${hash})`,
      { code: "RESTORE_DIFFERS", hint: "weir backup verify; restore an older backup" },
    );
  }
}
