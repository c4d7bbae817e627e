/**
 * Metrics of closed minutes from ClickHouse, by the names that they have in Redis (sinks/redis/metric-batch.ts): shares of quality and cost are of sums
 * over the rows that a name covers. The newest minute counts, and of one minute the newest generation.
 */
import type { Clickhouse } from "../clients/clickhouse/client.ts";
import type { MetricValue } from "./answer.ts";
import type { MetricName } from "./keys.ts";
import { QUALITY_DIMENSIONS } from "./quality-targets.ts";

/** What is older is no value of now; the minute tables have it. */
const AGE_MAX_S = 86_400;

export interface MetricTables {
  readonly database: string;
  readonly lane: string;
  /** The server gives a query up after this long. */
  readonly timeoutMs: number;
}

interface MinuteRow {
  readonly at: number;
  readonly measured: number | null;
  readonly events: number;
}

interface Family {
  readonly table: "metrics_1min" | "quality_1min" | "cost_1min";
  readonly value: string;
  readonly count: string;
  /** Column of the third part of a name. */
  readonly third: "event_type" | "destination";
  /** A shorter name covers all rows, instead of those that have no more to say. */
  readonly isSum: boolean;
}

const COSTS: Readonly<Partial<Record<string, string>>> = { "cost.usd": "usd", "cost.bytes": "bytes" };

function familyOf(metric: string): Family {
  const quality = QUALITY_DIMENSIONS.find(({ name }) => metric === `quality.${name}`);
  if (quality !== undefined) {
    const value = `100 * sum(${quality.column}) / nullIf(sum(total), 0)`;
    return { table: "quality_1min", value, count: "sum(total)", third: "event_type", isSum: true };
  }
  const cost = COSTS[metric];
  if (cost !== undefined) return { table: "cost_1min", value: `sum(${cost})`, count: "sum(events)", third: "destination", isSum: true };
  // One row each by now: the key of the table is the name.
  return { table: "metrics_1min", value: "any(value)", count: "any(count)", third: "event_type", isSum: false };
}

export async function newestMetric(
  client: Clickhouse,
  { database, lane, timeoutMs }: MetricTables,
  [metric, source, of]: MetricName,
  nowMs: number,
): Promise<Omit<MetricValue, "name"> | null> {
  const { table, value, count, third, isSum } = familyOf(metric);
  // As in Redis: what names no source, or no type, is in the sums only.
  if (isSum && (source === "" || of === "")) return null;
  const conditions = ["lane = {lane:String}", "minute >= toDateTime({from:UInt32}, 'UTC')"];
  if (!isSum) conditions.push("metric = {metric:String}");
  if (!isSum || source !== undefined) conditions.push("source = {source:String}");
  if (!isSum || of !== undefined) conditions.push(`${third} = {of:String}`);
  const [found] = await client.query<MinuteRow>(
    `SELECT toUnixTimestamp(minute) AS at, ${value} AS measured, toFloat64(${count}) AS events
     FROM ${database}.${table} FINAL WHERE ${conditions.join(" AND ")} GROUP BY minute, gen ORDER BY minute DESC, gen DESC LIMIT 1
     SETTINGS max_execution_time = ${Math.ceil(timeoutMs / 1_000)}`,
    { lane, metric, source: source ?? "", of: of ?? "", from: Math.max(0, Math.floor(nowMs / 1_000) - AGE_MAX_S) },
  );
  return found === undefined ? null : { minuteMs: found.at * 1_000, value: found.measured, count: found.events };
}
