import { mkdtempSync, chmodSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { startClickhouse } from "#local/services/clickhouse.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { encodeClean } from "#shared/events/block.ts";
import { armFailpoint } from "#shared/kernel/failpoint.ts";
import { monthBlocks } from "#sinks/clickhouse/event-rows.ts";
import { createEventsStore } from "#sinks/clickhouse/events-store.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import type { SinkStore } from "#sinks/runtime/partition-sink.ts";
import { settles } from "#test/support/process.ts";
import { BASE_MS, cleanColumns, enrichmentOf, LARGE_USER, rowOf, USERS } from "#test/support/sink-rows.ts";
import { outgoing, OutputLog } from "./output-log.ts";
import { SinksProcess } from "./sinks-process.ts";

const DATABASE = "weir_test_sink_events";
const GROUP = "sink-clickhouse";

let log: OutputLog;
let clickhouse: Clickhouse;

beforeAll(async () => {
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(clickhouse, DATABASE, { replicated: false });
});

afterAll(async () => {
  await clickhouse.command(`DROP DATABASE ${DATABASE}`);
  await clickhouse.close();
});

beforeEach(async () => {
  log = await OutputLog.open();
});

afterEach(async () => {
  await log.kafka.close();
});

function storeOn(client: Clickhouse, database = DATABASE): SinkStore {
  return createEventsStore(client, `${database}.events`, log.partition("clean").topic, log.provenance);
}

interface Totals {
  readonly rows: number;
  readonly distinct: number;
  readonly valueSum: number;
  readonly viewEvents: number;
  readonly viewValueSum: number;
}

async function totals(client = clickhouse, database = DATABASE): Promise<Totals> {
  const [found] = await client.query<Totals>(
    `SELECT
       (SELECT toFloat64(count()) FROM ${database}.events WHERE lane = {lane:String}) AS rows,
       (SELECT toFloat64(uniqExact(oseq)) FROM ${database}.events WHERE lane = {lane:String}) AS distinct,
       (SELECT sum(ifNull(value, 0)) FROM ${database}.events WHERE lane = {lane:String}) AS valueSum,
       (SELECT toFloat64(sum(events)) FROM ${database}.user_activity_1min WHERE lane = {lane:String}) AS viewEvents,
       (SELECT sum(value_sum) FROM ${database}.user_activity_1min WHERE lane = {lane:String}) AS viewValueSum`,
    { lane: log.lane },
  );
  return found!;
}

/** Of rows 1 to `rows`, as the log holds them. */
function expected(rows: number): Totals {
  let valueSum = 0;
  for (let oseq = 1; oseq <= rows; oseq++) valueSum += rowOf(oseq).value ?? 0;
  return { rows, distinct: rows, valueSum, viewEvents: rows, viewValueSum: valueSum };
}

describe("events.clean in ClickHouse", () => {
  test("a row comes out as it was written, with where it comes from", async () => {
    await log.clean([3, 4, 40], { end: "row" });
    await log.drain("clean", log.group(GROUP), storeOn(clickhouse));
    const rows = await clickhouse.query<Record<string, unknown>>(
      `SELECT toString(event_id) AS event_id, toUnixTimestamp64Milli(event_time)::Float64 AS event_time, toString(user_id) AS user_id, event_type, source,
              session_id, value, device_info, geo_location, properties, reason, toUnixTimestamp64Milli(timestamp)::Float64 AS timestamp, window_events,
              toUnixTimestamp64Milli(session_start)::Float64 AS session_start, session_events, score, enrichment, gen, p, oseq::Float64 AS oseq, cut::Float64 AS cut, source_offset::Float64 AS source_offset
       FROM ${DATABASE}.events WHERE lane = {lane:String} ORDER BY oseq`,
      { lane: log.lane },
    );
    expect(rows).toEqual(
      Array.from({ length: 47 }, (_, i) => {
        const row = rowOf(i + 1);
        return {
          event_id: `00000000-0000-0000-0000-${row.oseq.toString(16).padStart(12, "0")}`,
          event_time: row.eventTimeMs,
          user_id: String(row.userId),
          event_type: row.eventType,
          source: row.source ?? "",
          session_id: row.sessionId ?? "",
          value: row.value,
          device_info: row.deviceInfo ?? "",
          geo_location: "",
          properties: row.properties,
          reason: row.reason ?? "",
          timestamp: row.eventTimeMs! + 40,
          window_events: row.oseq,
          session_start: BASE_MS,
          session_events: row.oseq + 1,
          score: row.oseq % 3 === 0 ? row.oseq / 8 : null,
          enrichment: enrichmentOf(row.oseq) ?? "",
          gen: 1,
          p: 0,
          oseq: row.oseq,
          cut: 1,
          source_offset: row.sourceOffset,
        };
      }),
    );
    expect(rows.some((row) => row["user_id"] === String(LARGE_USER))).toBe(true);
  });

  test("the view counts events and values by minute, and no session where there is none", async () => {
    await log.clean([500], { end: "row" });
    await log.drain("clean", log.group(GROUP), storeOn(clickhouse));
    const ask = (table: string, columns: string, minute: string): Promise<unknown[]> =>
      clickhouse.query(
        `SELECT ${minute} AS m, toString(user_id) AS u, event_type AS t, ${columns} FROM ${DATABASE}.${table} WHERE lane = {lane:String} GROUP BY m, u, t ORDER BY m, u, t`,
        { lane: log.lane },
      );
    const view =
      "toFloat64(sum(events)) AS n, sum(value_sum) AS s, toFloat64(sum(value_count)) AS c, toFloat64(uniqExactMerge(sessions)) AS k";
    const table =
      "toFloat64(count()) AS n, sum(ifNull(value, 0)) AS s, toFloat64(count(value)) AS c, toFloat64(uniqExact(nullIf(session_id, ''))) AS k";
    const rows = await ask("user_activity_1min", view, "minute");
    expect(rows.length).toBeGreaterThan(USERS);
    expect(rows).toEqual(await ask("events", table, "toStartOfMinute(toDateTime(event_time, 'UTC'))"));
  });

  test("a cut is one insert whatever its records, one more where the month changes, none when it is empty", async () => {
    await log.clean([10, 20, 30], { end: "mark" });
    await log.clean([], { end: "mark" });
    await log.clean([100], { end: "row", spacingMs: 500 });
    await log.drain("clean", log.group(GROUP), storeOn(clickhouse));
    expect(await totals()).toMatchObject({ rows: 160, distinct: 160, viewEvents: 160 });
    const blocks = await clickhouse.query<{ cut: number; month: number; rows: number }>(
      `SELECT toFloat64(cut) AS cut, toYYYYMM(event_time) AS month, toFloat64(count()) AS rows
       FROM ${DATABASE}.events WHERE lane = {lane:String} GROUP BY cut, month ORDER BY cut, month`,
      { lane: log.lane },
    );
    // The month ends a minute behind the base: with row 120 of every half second.
    expect(blocks).toEqual([
      { cut: 1, month: 202_611, rows: 60 },
      { cut: 3, month: 202_611, rows: 59 },
      { cut: 3, month: 202_612, rows: 41 },
    ]);
    const inserts = await clickhouse.query<{ parts: number }>(
      `SELECT toFloat64(uniqExact(_part)) AS parts FROM ${DATABASE}.events WHERE lane = {lane:String}`,
      { lane: log.lane },
    );
    expect(inserts[0]!.parts).toBeLessThanOrEqual(3);
  });

  test("an open cut waits: nothing is inserted and no position moves until the log ends it", async () => {
    await log.clean([5], { end: "row" });
    await log.clean([5, 5]);
    const group = log.group(GROUP);
    const sink = log.run("clean", group, storeOn(clickhouse));
    await settles(async () => expect(await totals()).toEqual(expected(5)));
    await settles(async () => expect((await log.committed("clean", group)).offset).toBe(1));
    await log.clean([5], { end: "row" });
    await settles(async () => expect(await totals()).toEqual(expected(20)));
    await sink.stop();
    expect((await log.committed("clean", group)).offset).toBe(4);
  });

  test("the answer to an insert is lost: the same block goes again and counts once, in the table and in the view", async () => {
    for (let cut = 0; cut < 4; cut++) await log.clean([100, 50], { end: "row" });
    armFailpoint("insert-no-answer:throw:2");
    await log.drain("clean", log.group(GROUP), storeOn(clickhouse));
    expect(await totals()).toEqual(expected(600));
  });

  test("everything delivered again under another group counts once", async () => {
    for (let cut = 0; cut < 5; cut++) await log.clean([40], { end: "row", spacingMs: 500 });
    for (const name of ["a", "b", "c"]) await log.drain("clean", `${log.lane}-${name}`, storeOn(clickhouse));
    expect(await totals()).toMatchObject({ rows: 200, distinct: 200, viewEvents: 200 });
  });

  test("a zombie beside its successor, both at work on the same log: each row counts once, in the table and in the view", async () => {
    const group = log.group(GROUP);
    const sinks = [storeOn(clickhouse), storeOn(clickhouse)].map((store) => log.run("clean", group, store));
    for (let cut = 0; cut < 15; cut++) await log.clean([30, 20], { end: cut % 2 === 0 ? "row" : "mark", spacingMs: 500 });
    await settles(async () => expect(await log.isCaughtUp("clean", group)).toBe(true), { limitMs: 30_000 });
    for (const sink of sinks) await sink.stop();
    // Whoever was second has committed too, maybe an older position: that too must be harmless.
    await log.kafka.commitOffsets(group, [{ ...log.partition("clean"), offset: 2, metadata: '{"oseq":50}' }]);
    await log.drain("clean", group, storeOn(clickhouse));
    expect(await totals()).toMatchObject({ rows: 750, distinct: 750, viewEvents: 750 });
  });

  test("what an aborted epoch wrote is never seen, and what is not decided yet waits", async () => {
    const transactionalId = `${log.lane}-0`;
    const epoch = (first: number, count: number, cut: number): OutgoingRecord =>
      outgoing({
        value: encodeClean(cleanColumns(Array.from({ length: count }, (_, row) => rowOf(first + row)))),
        oseq: first,
        count,
        cut,
        isEnd: true,
      });
    const doomed = await log.kafka.initProducer(transactionalId, { transactionTimeoutMs: 60_000 });
    await doomed.send(log.partition("clean"), [epoch(1, 10, 1)]);
    await doomed.commit();
    await doomed.send(log.partition("clean"), [epoch(11, 90, 2)]);
    const sink = log.run("clean", log.group(GROUP), storeOn(clickhouse));
    await settles(async () => expect((await log.committed("clean", log.group(GROUP))).metadata).toBe('{"oseq":10}'));
    expect(await totals()).toEqual(expected(10));
    const successor = await log.kafka.initProducer(transactionalId, { transactionTimeoutMs: 60_000 });
    for (let i = 0; i < 5; i++) {
      await successor.send(log.partition("clean"), [epoch(11 + i * 10, 10, 2 + i)]);
      await successor.commit();
    }
    await settles(async () => expect((await log.committed("clean", log.group(GROUP))).metadata).toBe('{"oseq":60}'));
    await sink.stop();
    expect(await totals()).toEqual(expected(60));
  });

  test("negative control: the same block again without de-duplication in the view counts twice there", async () => {
    const rows = Array.from({ length: 10 }, (_, i) => rowOf(i + 1));
    const [block] = monthBlocks([{ columns: cleanColumns(rows), oseq: 1 }], 1, log.provenance);
    for (let attempt = 0; attempt < 2; attempt++) {
      const url = new URL(inject("stack").clickhouse);
      url.search = new URLSearchParams({
        query: `INSERT INTO ${DATABASE}.events FORMAT ArrowStream`,
        async_insert: "0",
        insert_deduplication_token: `${log.lane}-control`,
        deduplicate_blocks_in_dependent_materialized_views: "0",
      }).toString();
      const answer = await fetch(url, { method: "POST", body: block!.bytes as Uint8Array<ArrayBuffer> });
      expect(await answer.text()).toBe("");
    }
    expect(await totals()).toMatchObject({ rows: 10, viewEvents: 20 });
  });

  test.each(["events", "user_activity_1min"])(
    "a block whose token is known but which is missing in %s, as a kill in mid-insert leaves it, is put back",
    async (victim) => {
      const database = `${DATABASE}_torn_${victim}`;
      await migrateClickhouse(clickhouse, database, { replicated: false });
      for (let cut = 0; cut < 4; cut++) await log.clean([60], { end: "row", spacingMs: 500 });
      const group = log.group(GROUP);
      await log.drain("clean", group, storeOn(clickhouse, database));
      await clickhouse.command(
        `ALTER TABLE ${database}.${victim} DELETE WHERE ${victim === "events" ? "cut = 4" : "1"} SETTINGS mutations_sync = 2`,
      );
      // The last cut was tried, and its position was not committed.
      const offset = victim === "events" ? 3 : 0;
      await log.kafka.commitOffsets(group, [{ ...log.partition("clean"), offset, metadata: `{"oseq":${offset * 60}}` }]);
      await log.drain("clean", group, storeOn(clickhouse, database));
      expect(await totals(clickhouse, database)).toMatchObject({
        rows: 240,
        distinct: 240,
        viewEvents: 240,
        viewValueSum: expected(240).valueSum,
      });
      await clickhouse.command(`DROP DATABASE ${database}`);
    },
  );

  test("a lost position and forgotten tokens: what the table has is passed over", async () => {
    const database = `${DATABASE}_forgetful`;
    await migrateClickhouse(clickhouse, database, { replicated: false });
    for (const table of ["events", "user_activity_1min"])
      await clickhouse.command(`ALTER TABLE ${database}.${table} MODIFY SETTING non_replicated_deduplication_window = 1`);
    for (let cut = 0; cut < 6; cut++) await log.clean([10], { end: "row" });
    for (const name of ["a", "b"]) await log.drain("clean", `${log.lane}-${name}`, storeOn(clickhouse, database));
    expect(await totals(clickhouse, database)).toEqual(expected(60));
    await clickhouse.command(`DROP DATABASE ${database}`);
  });

  test("a record whose columns are torn stops the sink, and nothing of its cut is inserted", async () => {
    await log.clean([5]);
    await log.append("clean", { value: new Uint8Array(100), oseq: 6, count: 5, cut: 1, isEnd: true });
    await expect(log.run("clean", log.group(GROUP), storeOn(clickhouse)).ended).rejects.toMatchObject({ code: "ARROW_CORRUPT" });
    expect(await totals()).toMatchObject({ rows: 0 });
  });
});

describe("kill -9 of the sinks", () => {
  test.each(["before-insert", "insert-no-answer", "after-insert"] as const)("%s: nothing lost, nothing doubled", async (failpoint) => {
    for (let cut = 0; cut < 6; cut++) await log.clean([50, 50], { end: cut % 2 === 0 ? "row" : "mark" });
    const { kafka, clickhouse: address, redis } = inject("stack");
    const config = { lane: log.lane, partitions: 1, kafka, clickhouse: address, redis, clickhouseDatabase: DATABASE };
    const doomed = new SinksProcess(config, `${failpoint}:kill:3`);
    expect((await doomed.exit).signal, doomed.log).toBe("SIGKILL");
    expect(await log.isCaughtUp("clean", log.group(GROUP))).toBe(false);
    const next = new SinksProcess(config);
    try {
      await settles(async () => expect(await log.isCaughtUp("clean", log.group(GROUP)), next.log).toBe(true), {
        limitMs: 30_000,
        unless: () => next.hasEnded,
      });
      expect(await totals()).toEqual(expected(600));
      expect(await next.leave()).toBe(0);
    } finally {
      next.kill();
    }
  });
});

describe("a ClickHouse server that dies", () => {
  const folder = mkdtempSync(join(tmpdir(), "weir-sink-"));
  chmodSync(folder, 0o755);
  let server: RunningServer;
  let client: Clickhouse;

  beforeAll(async () => {
    server = await startClickhouse({ dir: folder });
    client = new Clickhouse({ url: server.address, user: "default", password: "" });
    await migrateClickhouse(client, DATABASE, { replicated: false });
  });

  afterAll(async () => {
    await client.close();
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test("killed between inserts, three times: the sink waits, goes on by itself, and table and view equal the log", async () => {
    const sink = log.run("clean", log.group(GROUP), storeOn(client, DATABASE));
    let rows = 0;
    for (let round = 0; round < 3; round++) {
      for (let cut = 0; cut < 15; cut++) await log.clean([200], { end: "row" });
      rows += 3_000;
      // In the middle: some of the cuts are in.
      await settles(async () => expect((await totals(client)).rows).toBeGreaterThan(rows - 3_000));
      process.kill(server.pid, "SIGKILL");
      await server.exited;
      server = await startClickhouse({ dir: folder, port: server.port });
    }
    await settles(async () => expect(await log.isCaughtUp("clean", log.group(GROUP))).toBe(true), { limitMs: 30_000 });
    await sink.stop();
    expect(await totals(client)).toEqual(expected(rows));
  });
});
