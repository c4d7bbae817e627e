/**
 * What a copy of a server at work may hold: rows of `events` behind the positions, and a view that is further than its table. The restore takes both
 * out, so that the sinks' replay makes each row once.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { backUpClickhouse } from "#backup/clickhouse-backup.ts";
import { refuseFilledClickhouse, restoreClickhouse } from "#backup/clickhouse-restore.ts";
import { openFolderLocation } from "#backup/folder-location.ts";
import type { GroupPosition, LaneId, Manifest } from "#backup/manifest.ts";
import { PartWriter } from "#backup/parts.ts";
import { tableLimits } from "#backup/log-positions.ts";
import { withStaging } from "#backup/staging.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { fillRows } from "#test/bench/analytics-rows.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";

const EVENTS = 20_000;
/** Partition 2's position; the others' rows are all durable. */
const DURABLE = 12_000;
const LANES: readonly LaneId[] = [{ lane: "live", generation: 1, partitions: 4 }];

let client: Clickhouse;
let folder: string;
let database: string;

const positions: GroupPosition[] = [0, 1, 2, 3].map((partition) => ({
  group: "weir-sink-clickhouse-live-1",
  topic: "events.clean",
  partition,
  offset: 100,
  metadata: JSON.stringify({ oseq: partition === 2 ? DURABLE : EVENTS }),
}));

beforeAll(() => {
  client = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
});

afterAll(async () => {
  await client.close();
});

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-backup-"));
  database = `weir_${uniqueLane().replace("-", "_")}`;
  await migrateClickhouse(client, database, { replicated: false });
  const hourMs = 3_600_000;
  const fromMs = Math.floor(Date.now() / hourMs) * hourMs - 2 * hourMs;
  await fillRows({ client, database, events: EVENTS, users: 500, fromMs, spanMs: hourMs, blockRows: 5_000 });
  return async () => {
    for (const each of [database, `${database}_into`]) await client.command(`DROP DATABASE IF EXISTS ${each} SYNC`);
    rmSync(folder, { recursive: true, force: true });
  };
});

async function backUp(name: string, base: Manifest | null): Promise<Manifest> {
  const location = openFolderLocation(folder);
  const writer = new PartWriter(location, name, base?.parts);
  const limits = tableLimits(LANES, positions);
  const clickhouse = await backUpClickhouse({ client, database, name, base, location, writer, limits, nowMs: Date.now() });
  const at = new Date().toISOString();
  return {
    v: 1,
    name,
    kind: base === null ? "full" : "incremental",
    base: base?.name ?? null,
    startedAt: at,
    finishedAt: at,
    lanes: [...LANES],
    positions,
    clickhouse,
    postgres: { migrations: [], tables: [] },
    parts: writer.parts,
    bytesWritten: writer.bytesWritten,
  };
}

async function figures(of: string): Promise<{ behind: number; rows: number; viewed: number; differing: number }> {
  const [found] = await client.query<{ behind: number; rows: number; viewed: number; differing: number }>(
    `SELECT (SELECT toFloat64(countIf(p = 2 AND oseq > ${DURABLE})) FROM ${of}.events) AS behind,
            (SELECT toFloat64(count()) FROM ${of}.events) AS rows, (SELECT toFloat64(sum(events)) FROM ${of}.user_activity_1min) AS viewed,
            (SELECT toFloat64(count()) FROM (
               SELECT user_id, toStartOfMinute(event_time) AS minute, event_type, count() AS n, uniqExactIf(session_id, session_id != '') AS s
               FROM ${of}.events GROUP BY ALL) AS t
             FULL JOIN (SELECT user_id, minute, event_type, sum(events) AS n, uniqExactMerge(sessions) AS s FROM ${of}.user_activity_1min GROUP BY ALL) AS v
             USING (user_id, minute, event_type) WHERE t.n != v.n OR t.s != v.s) AS differing`,
  );
  return found!;
}

describe("after a restore", () => {
  test("rows behind the positions are gone, and the view counts what the table holds, also where it was ahead of it", async () => {
    // The view has a block that the table does not have yet, as when the copy of the table was made a moment earlier.
    await client.command(
      `INSERT INTO ${database}.user_activity_1min SELECT * REPLACE (event_type || '' AS event_type) FROM ${database}.user_activity_1min LIMIT 50`,
    );
    const manifest = await backUp("20261124T120000000Z-full", null);
    expect(manifest.clickhouse.unsettled.length).toBeGreaterThan(0);
    const before = await figures(database);
    expect(before.behind).toBeGreaterThan(100);
    expect(before.viewed).toBeGreaterThan(before.rows);
    const into = { client, chain: [manifest], location: openFolderLocation(folder), database: `${database}_into`, nowMs: Date.now() };
    const restored = await restoreClickhouse(into);
    expect(restored).toEqual({ trimmed: before.behind, rebuilt: ["user_activity_1min_view"] });
    const after = await figures(`${database}_into`);
    expect(after).toEqual({ behind: 0, rows: before.rows - before.behind, viewed: before.rows - before.behind, differing: 0 });
    // The original is as it was, and the server's folder for backups is empty again.
    expect(await figures(database)).toEqual(before);
    expect(await client.query(`SELECT count() AS n FROM system.backups WHERE status = 'RESTORED'`)).not.toEqual([]);
    await withStaging(client, async (staging) => expect(readdirSync(staging)).toEqual(["holder.pid"]));
  });

  test("a row that is missing or another is found, and the restore fails by name", async () => {
    const manifest = await backUp("20261124T120000000Z-full", null);
    const other: Manifest = {
      ...manifest,
      clickhouse: { ...manifest.clickhouse, events: manifest.clickhouse.events.map((check) => Object.assign({}, check, { hash: "0" })) },
    };
    const into = { client, chain: [other], location: openFolderLocation(folder), database: `${database}_into`, nowMs: Date.now() };
    await expect(restoreClickhouse(into)).rejects.toMatchObject({ code: "RESTORE_DIFFERS" });
    // What such an attempt leaves is no database that somebody filled: the next may take its place.
    await refuseFilledClickhouse(client, `${database}_into`);
  });

  test("new rows work on: the restored view takes what is inserted into the restored table", async () => {
    const manifest = await backUp("20261124T120000000Z-full", null);
    const name = `${database}_into`;
    await restoreClickhouse({ client, chain: [manifest], location: openFolderLocation(folder), database: name, nowMs: Date.now() });
    const before = await figures(name);
    // What the log gives again.
    await client.command(
      `INSERT INTO ${name}.events SELECT * FROM ${database}.events WHERE p = 2 AND oseq > ${DURABLE} SETTINGS async_insert = 0`,
    );
    const after = await figures(name);
    expect(after).toMatchObject({ rows: EVENTS, viewed: EVENTS, differing: 0 });
    expect(after.rows).toBeGreaterThan(before.rows);
  });
});

test("a difference holds only what is new, and without its base it is refused", async () => {
  const full = await backUp("20261124T120000000Z-full", null);
  await client.command(`INSERT INTO ${database}.dead_letters SELECT * REPLACE (oseq + 1000000 AS oseq) FROM ${database}.dead_letters`);
  const next = await backUp("20261124T130000000Z-incremental", full);
  expect(next.bytesWritten).toBeLessThan(full.bytesWritten / 3);
  const into = { client, location: openFolderLocation(folder), database: `${database}_into`, nowMs: Date.now() };
  await expect(restoreClickhouse({ ...into, chain: [next] })).rejects.toMatchObject({ code: "BACKUP_CLICKHOUSE" });
  await restoreClickhouse({ ...into, chain: [full, next] });
  const [count] = await client.query<{ n: number }>(`SELECT toFloat64(count()) AS n FROM ${database}_into.dead_letters FINAL`);
  const [wanted] = await client.query<{ n: number }>(`SELECT toFloat64(count()) AS n FROM ${database}.dead_letters FINAL`);
  expect(count).toEqual(wanted);
});
