/**
 * What only kill -9 of a server with plain (not replicated) tables needs. Such a table writes the token of a block before the block is in it:
 * killed in between, it takes the block's retry for a repetition, and the block is missing in that table (26.7: the view's, about once in 40
 * kills in mid-insert). So behind a failure the sink looks at what the tables really have. Replicated tables write both at once, in Keeper.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Provenance } from "./event-rows.ts";

const OF_CUT = "lane = {lane:String} AND gen = {generation:UInt16} AND p = {partition:UInt16} AND cut = {cut:UInt64}";
const MINUTE = "toStartOfMinute(toDateTime(event_time, 'UTC'))";
/** Longer than an insert leaves a table and its view apart. */
const SETTLE_MS = 300;
const KEY = "minute, user_id, event_type, lane";

export async function isReplicated(client: Clickhouse, table: string): Promise<boolean> {
  const found = await client.query(
    "SELECT 1 FROM system.tables WHERE concat(database, '.', name) = {table:String} AND engine LIKE 'Replicated%'",
    { table },
  );
  return found.length > 0;
}

export async function rowsOfCut(client: Clickhouse, table: string, cut: number, month: number, from: Provenance): Promise<number> {
  const [found] = await client.query<{ readonly rows: number }>(
    `SELECT toFloat64(count()) AS rows FROM ${table} WHERE ${OF_CUT} AND toYYYYMM(event_time) = {month:UInt32}`,
    { ...from, cut, month },
  );
  return found?.rows ?? 0;
}

/** What is different, per key of the view's target, over the users and minutes of this cut. The columns are those of the view's query. */
function difference(table: string, target: string): string {
  const touched = `SELECT user_id, ${MINUTE} FROM ${table} WHERE ${OF_CUT}`;
  return `
    SELECT ${KEY}, base.events - held.events AS events, base.value_sum - held.value_sum AS value_sum,
           base.value_count - held.value_count AS value_count, base.sessions AS sessions
    FROM (
      SELECT ${MINUTE} AS minute, user_id, event_type, lane, count() AS events, sum(ifNull(value, 0)) AS value_sum, count(value) AS value_count,
             uniqExactIfState(session_id, session_id != '') AS sessions
      FROM ${table} WHERE lane = {lane:String} AND (user_id, ${MINUTE}) IN (${touched}) GROUP BY ${KEY}
    ) AS base
    LEFT JOIN (
      SELECT ${KEY}, sum(events) AS events, sum(value_sum) AS value_sum, sum(value_count) AS value_count
      FROM ${target} WHERE lane = {lane:String} AND (user_id, minute) IN (${touched}) GROUP BY ${KEY}
    ) AS held USING (${KEY})
    WHERE base.events != held.events`;
}

/**
 * Adds to the view's target what it lacks (or takes away what it has too much: unsigned sums wrap). Only this partition's sink writes those
 * users. A predecessor that is still leaving has rows in the table before they are in the view: what comes and goes is no damage, so only a
 * difference that stays the same while no insert of this partition runs is repaired. States of distinct values are sets: no difference.
 */
export async function repairActivity(client: Clickhouse, table: string, topic: string, cut: number, from: Provenance): Promise<void> {
  const target = table.replace(/events$/, "user_activity_1min");
  const parameters = { ...from, cut, inserts: `${topic}:${from.partition}:${from.generation}:` };
  const look = async (): Promise<string | null> => {
    const [found] = await client.query<{ readonly keys: number; readonly hash: string; readonly running: number }>(
      `SELECT toFloat64(count()) AS keys, toString(groupBitXor(cityHash64(minute, user_id, event_type, events))) AS hash,
              (SELECT toFloat64(count()) FROM system.processes WHERE startsWith(query_id, {inserts:String})) AS running
       FROM (${difference(table, target)}) SETTINGS join_use_nulls = 0`,
      parameters,
    );
    if (found === undefined || found.keys === 0) return null;
    return found.running === 0 ? found.hash : "moving";
  };
  for (let before = await look(); before !== null;) {
    await sleep(SETTLE_MS);
    const now = await look();
    if (now === before && now !== "moving") {
      await client.command(
        `INSERT INTO ${target} (${KEY}, events, value_sum, value_count, sessions) ${difference(table, target)}
         SETTINGS insert_deduplicate = 0, async_insert = 0, join_use_nulls = 0`,
        parameters,
      );
      return;
    }
    before = now;
  }
}
