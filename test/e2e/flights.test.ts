import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startClickhouse } from "#local/services/clickhouse.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { flightsEvents } from "#loadgen/flights.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { type Oracle, recompute, type WindowRow } from "#test/support/duckdb-oracle.ts";
import { processesOf, Starter, temporaryFolder } from "#test/support/starter.ts";

const LANE = "historical";

/** Sums of doubles depend on their order; the two engines add in different ones. */
const SUM_DIGITS = 6;

function sortable(rows: readonly WindowRow[]): string[] {
  return rows
    .map((row) => `${row.kind} ${row.userId} ${row.startMs} ${row.endMs} ${row.events} ${row.valueSum.toFixed(SUM_DIGITS)}`)
    .toSorted();
}

describe("200,000 recorded flights through the whole pipeline", () => {
  let folder: string;
  let starter: Starter;
  let exitCode: number;
  let server: RunningServer;
  let tables: Clickhouse;
  let oracle: Oracle;

  beforeAll(async () => {
    folder = temporaryFolder();
    starter = new Starter(["--data-dir", folder, "--seed", "flights", "--headless"], folder);
    exitCode = await starter.exited;
    if (exitCode !== 0) throw new Error(`the run ended with ${exitCode}:\n${starter.stderr}\n${starter.stdout}`);
    const lines = join(folder, "flights.jsonl");
    writeFileSync(lines, [...flightsEvents()].map(({ line }) => line).join("\n"));
    oracle = await recompute(lines, "delay");
    // Only the tables are needed now, as the run left them.
    server = await startClickhouse({ dir: join(folder, "clickhouse") });
    tables = new Clickhouse({ url: server.address, user: "default", password: "", database: "weir" });
  }, 240_000);

  afterAll(async () => {
    await tables?.close();
    await server?.stop();
    expect(processesOf(folder)).toEqual([]);
    rmSync(folder, { recursive: true, force: true });
  });

  test("balance in the ledger, with nothing lost and nothing doubled", () => {
    expect(starter.stdout).toContain("raw 200000 = clean 200000 + dead-lettered 0 + duplicate 0 + late 0");
    expect(starter.stdout).toContain("lost 0, doubled 0");
    expect(starter.stdout).toMatch(/^balanced$/m);
  });

  test("give the windows that DuckDB computes from the same lines: tumbling 5 min and 1 h, sessions of a 30 s gap", async () => {
    const rows = await tables.query<WindowRow>(
      `SELECT kind, toString(user_id) AS userId, toUnixTimestamp64Milli(window_start)::Float64 AS startMs, toUnixTimestamp64Milli(window_end)::Float64 AS endMs,
              events, ifNull(value_sum, 0) AS valueSum
       FROM windows FINAL WHERE lane = {lane:String}`,
      { lane: LANE },
    );
    expect(rows.length).toBeGreaterThan(100_000);
    expect(sortable(rows)).toEqual(sortable(oracle.windows));
  });

  test("give the totals that DuckDB computes, in the table and in the view", async () => {
    const table = await tables.query(
      `SELECT event_type AS eventType, toUInt32(count()) AS events, toUInt32(uniqExact(user_id)) AS users, sum(value) AS valueSum
       FROM events WHERE lane = {lane:String} GROUP BY event_type`,
      { lane: LANE },
    );
    const view = await tables.query(
      `SELECT event_type AS eventType, toUInt32(sum(events)) AS events, toUInt32(uniqExact(user_id)) AS users, sum(value_sum) AS valueSum
       FROM user_activity_1min WHERE lane = {lane:String} GROUP BY event_type`,
      { lane: LANE },
    );
    expect(oracle.events).toBe(200_000);
    expect(table).toEqual(oracle.types);
    expect(view).toEqual(oracle.types);
  });
});
