/** Data quality and cost of a period, added up from the minutes that the second stage has closed. One generation only: two may hold the same minutes. */
import type { Clickhouse } from "../clients/clickhouse/client.ts";
import { QUALITY_DIMENSIONS } from "./quality-targets.ts";

export interface MinutesPeriod {
  readonly database: string;
  readonly lane: string;
  readonly generation: number;
  /** Epoch milliseconds; minutes that begin at or after it. */
  readonly fromMs: number;
  /** Exclusive. Undefined = all that follow. */
  readonly toMs?: number;
}

export type QualityGrouping = "source" | "type" | "minute";

export interface QualityRow {
  /** What the row is of, in the order of the grouping: a source, a source and a type, or a minute (UTC). */
  readonly of: readonly string[];
  readonly events: number;
  /** In the order of {@link QUALITY_DIMENSIONS}. */
  readonly percents: readonly number[];
}

const QUALITY_KEYS: Readonly<Record<QualityGrouping, readonly string[]>> = {
  source: ["toString(source)"],
  type: ["toString(source)", "toString(event_type)"],
  minute: ["formatDateTime(minute, '%Y-%m-%dT%H:%i:00Z', 'UTC')"],
};

const PERIOD = `lane = {lane:String} AND gen = {generation:UInt16} AND minute >= toDateTime({from:UInt32}, 'UTC') AND minute < toDateTime({to:UInt32}, 'UTC')`;
/** The end of DateTime. */
const END_OF_TIME_S = 0xffff_ffff;

function parametersOf({ lane, generation, fromMs, toMs }: MinutesPeriod): Readonly<Record<string, unknown>> {
  const to = toMs === undefined ? END_OF_TIME_S : Math.ceil(toMs / 1_000);
  return { lane, generation, from: Math.max(0, Math.ceil(fromMs / 1_000)), to };
}

/** In the order of the keys. Groups without events are left out: they have no quality. */
export async function qualityBy(client: Clickhouse, grouping: QualityGrouping, period: MinutesPeriod): Promise<QualityRow[]> {
  const shares = QUALITY_DIMENSIONS.map(({ column }) => `100 * sum(${column}) / sum(total)`).join(", ");
  return client.query<QualityRow>(
    `SELECT [${QUALITY_KEYS[grouping].join(", ")}] AS of, toFloat64(sum(total)) AS events, [${shares}] AS percents
     FROM ${period.database}.quality_1min FINAL WHERE ${PERIOD} GROUP BY of HAVING events > 0 ORDER BY of`,
    parametersOf(period),
  );
}

export type CostGrouping = "source" | "destination" | "both";

export interface CostRow {
  /** A source, a destination, or a source and a destination. */
  readonly of: readonly string[];
  readonly events: number;
  readonly bytes: number;
  readonly usd: number;
}

const COST_KEYS: Readonly<Record<CostGrouping, string>> = {
  source: "[toString(source)]",
  destination: "[toString(destination)]",
  both: "[toString(source), toString(destination)]",
};

/** Dearest first. */
export async function costBy(client: Clickhouse, grouping: CostGrouping, period: MinutesPeriod): Promise<CostRow[]> {
  return client.query<CostRow>(
    `SELECT ${COST_KEYS[grouping]} AS of, toFloat64(sum(c.events)) AS events, toFloat64(sum(c.bytes)) AS bytes, sum(c.usd) AS usd
     FROM ${period.database}.cost_1min AS c FINAL WHERE ${PERIOD} GROUP BY of ORDER BY usd DESC, of`,
    parametersOf(period),
  );
}
