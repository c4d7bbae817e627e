/**
 * ClickHouse's own BACKUP, full or as difference to an earlier one (clickhouse.com/docs/operations/backup). The server writes into the folder of its
 * configuration that is open to backups (`backups.allowed_path`), whose files are then taken from there: so this runs on the server's machine, or where
 * that folder is mounted. Of the base a difference needs only the list of its files, `.backup`.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import type { BackupLocation } from "./location.ts";
import type { TableLimit } from "./log-positions.ts";
import type { EventsCheck, Manifest } from "./manifest.ts";
import { type PartWriter, writeFiles } from "./parts.ts";
import { withStaging } from "./staging.ts";

/** Below it lie the files of the server as it wrote them. */
export const CLICKHOUSE_PREFIX = "clickhouse/";
const FILE_LIST = ".backup";
const POLL_MS = 100;

/** Ended by something else than success. */
const FAILED = /FAILED|CANCELLED/;

/** Lanes and generations that have rows, and the one that runs. */
export async function lanesIn(client: Clickhouse, database: string): Promise<{ readonly lane: string; readonly generation: number }[]> {
  return client.query(`SELECT DISTINCT lane, toUInt32(gen) AS generation FROM ${database}.events ORDER BY lane, generation`);
}

/** Starts BACKUP or RESTORE and waits for its end, however long. @throws OperatingError BACKUP_CLICKHOUSE with the server's own text. */
export async function runAsync(client: Clickhouse, statement: string): Promise<void> {
  const [started] = await client.query<{ readonly id: string }>(`${statement} ASYNC`);
  for (;;) {
    const [at] = await client.query<{ readonly status: string; readonly error: string }>(
      "SELECT status, error FROM system.backups WHERE id = {id:String}",
      { id: started!.id },
    );
    if (at === undefined || FAILED.test(at.status)) {
      throw new OperatingError(`ClickHouse gave up: ${(at?.error ?? "it was restarted meanwhile").split(/, Stack trace|\n/)[0]}`, {
        code: "BACKUP_CLICKHOUSE",
        hint: "the message has the cause; nothing of this attempt counts: run it again",
      });
    }
    if (at.status === "BACKUP_CREATED" || at.status === "RESTORED") return;
    await sleep(POLL_MS);
  }
}

export interface ClickhouseBackupOptions {
  readonly client: Clickhouse;
  readonly database: string;
  readonly name: string;
  readonly base: Manifest | null;
  readonly location: BackupLocation;
  readonly writer: PartWriter;
  readonly limits: readonly TableLimit[];
  readonly nowMs: number;
}

/** Ten days less than the live lane's 90: what the check counts is still there when the backup is restored within ten days. */
const CHECKED_MS = 80 * 86_400_000;

export async function backUpClickhouse(options: ClickhouseBackupOptions): Promise<Manifest["clickhouse"]> {
  const { client, database, name, base, location, writer, limits, nowMs } = options;
  return withStaging(client, async (folder) => {
    if (base !== null) {
      const list = base.parts.filter(({ file }) => file === `${CLICKHOUSE_PREFIX}${FILE_LIST}`);
      await writeFiles(location, list, CLICKHOUSE_PREFIX, join(folder, base.name));
    }
    const difference = base === null ? "" : ` SETTINGS base_backup = File('${base.name}')`;
    await runAsync(client, `BACKUP DATABASE ${database} TO File('${name}')${difference}`);
    const unsettled = await unsettledPartitions(client, database, limits);
    await writer.addFolder(CLICKHOUSE_PREFIX, join(folder, name));
    const [server] = await client.query<{ readonly version: string }>("SELECT version() AS version");
    const tables = await client.query<{ readonly name: string; readonly rows: number }>(
      `SELECT name, toFloat64(ifNull(total_rows, 0)) AS rows FROM system.tables
       WHERE database = {database:String} AND engine LIKE '%MergeTree' ORDER BY name`,
      { database },
    );
    const sinceMs = nowMs - CHECKED_MS;
    const events = await checkEvents(client, database, limits, sinceMs);
    return { database, version: server!.version, tables, unsettled, sinceMs, events };
  });
}

/** A row is in the table before it is in a view: a view that has more than the table of this backup has it in one of these partitions. */
async function unsettledPartitions(client: Clickhouse, database: string, limits: readonly TableLimit[]): Promise<string[]> {
  if (limits.length === 0) return [];
  const found = await client.query<{ readonly id: string }>(
    `SELECT DISTINCT _partition_id AS id FROM ${database}.events WHERE ${behind(limits)} ORDER BY id`,
  );
  return found.map(({ id }) => id);
}

/** Rows that the log gives again. */
export function behind(limits: readonly TableLimit[]): string {
  return limits
    .map(({ lane, generation, partition, oseq }) => `(lane = '${lane}' AND gen = ${generation} AND p = ${partition} AND oseq > ${oseq})`)
    .join(" OR ");
}

export async function checkEvents(
  client: Clickhouse,
  database: string,
  limits: readonly TableLimit[],
  sinceMs: number,
): Promise<EventsCheck[]> {
  const checks: EventsCheck[] = [];
  for (const { lane, generation, partition, oseq } of limits) {
    const [found] = await client.query<{ readonly rows: number; readonly hash: string }>(
      `SELECT toFloat64(count()) AS rows, hex(groupBitXor(cityHash64(event_id, event_time, user_id, oseq, source_offset, properties))) AS hash
       FROM ${database}.events WHERE lane = {lane:String} AND gen = {generation:UInt16} AND p = {partition:UInt16} AND oseq <= {oseq:UInt64}
       AND event_time >= fromUnixTimestamp64Milli({sinceMs:Int64})`,
      { lane, generation, partition, oseq, sinceMs },
    );
    checks.push({ lane, generation, partition, upTo: oseq, rows: found!.rows, hash: found!.hash });
  }
  return checks;
}
