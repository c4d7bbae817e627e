/**
 * Records of metrics.minutes: the rows of one kind of one closed minute of log time, as an Arrow IPC stream; header `kind` says which. Equal rows give
 * equal bytes. What writes them, and when a minute closes: docs/specs/second-stage.md.
 */
import { defineSchema, type ArrowColumn, type ArrowField } from "./arrow/schema.ts";
import { encodeColumns } from "./arrow/writer.ts";
import { dictionaryOf, type DictionaryColumn } from "./columns.ts";

export type MinuteKind = "metrics" | "quality" | "cost";

/** The empty text where an event names no source or type. */
export interface MetricRow {
  readonly minuteMs: number;
  readonly metric: string;
  readonly source: string;
  readonly eventType: string;
  /** NaN = null: there was nothing to measure. */
  readonly value: number;
  readonly count: number;
}

/** How many of `total` are as they should be, by dimension. */
export interface QualityRow {
  readonly minuteMs: number;
  readonly source: string;
  readonly eventType: string;
  readonly total: number;
  readonly complete: number;
  readonly consistent: number;
  readonly timely: number;
  readonly unique: number;
  readonly accurate: number;
}

export interface CostRow {
  readonly minuteMs: number;
  readonly source: string;
  readonly destination: string;
  readonly events: number;
  readonly bytes: number;
  readonly usd: number;
}

/** Also what the tables take, by name. */
export const MINUTE_FIELDS: Readonly<Record<MinuteKind, readonly ArrowField[]>> = {
  metrics: [
    { name: "minute", type: "timestamp" },
    { name: "metric", type: "dictionary16" },
    { name: "source", type: "dictionary16" },
    { name: "event_type", type: "dictionary16" },
    { name: "value", type: "float64" },
    { name: "count", type: "int64" },
  ],
  quality: [
    { name: "minute", type: "timestamp" },
    { name: "source", type: "dictionary16" },
    { name: "event_type", type: "dictionary16" },
    { name: "total", type: "int64" },
    { name: "complete", type: "int64" },
    { name: "consistent", type: "int64" },
    { name: "timely", type: "int64" },
    { name: "unique", type: "int64" },
    { name: "accurate", type: "int64" },
  ],
  cost: [
    { name: "minute", type: "timestamp" },
    { name: "source", type: "dictionary16" },
    { name: "destination", type: "dictionary16" },
    { name: "events", type: "int64" },
    { name: "bytes", type: "int64" },
    { name: "usd", type: "float64" },
  ],
};

const METRICS = defineSchema(MINUTE_FIELDS.metrics);
const QUALITY = defineSchema(MINUTE_FIELDS.quality);
const COST = defineSchema(MINUTE_FIELDS.cost);

export function encodeMetricRows(rows: readonly MetricRow[]): Uint8Array {
  const columns: ArrowColumn[] = [
    numbers(rows, "minuteMs"),
    texts(rows, "metric"),
    texts(rows, "source"),
    texts(rows, "eventType"),
    numbers(rows, "value"),
    numbers(rows, "count"),
  ];
  return encodeColumns(METRICS, rows.length, columns);
}

export function encodeQualityRows(rows: readonly QualityRow[]): Uint8Array {
  const columns: ArrowColumn[] = [
    numbers(rows, "minuteMs"),
    texts(rows, "source"),
    texts(rows, "eventType"),
    ...(["total", "complete", "consistent", "timely", "unique", "accurate"] as const).map((name) => numbers(rows, name)),
  ];
  return encodeColumns(QUALITY, rows.length, columns);
}

export function encodeCostRows(rows: readonly CostRow[]): Uint8Array {
  const columns: ArrowColumn[] = [
    numbers(rows, "minuteMs"),
    texts(rows, "source"),
    texts(rows, "destination"),
    ...(["events", "bytes", "usd"] as const).map((name) => numbers(rows, name)),
  ];
  return encodeColumns(COST, rows.length, columns);
}

function numbers<K extends string>(rows: readonly Readonly<Record<K, number>>[], name: K): Float64Array {
  return Float64Array.from(rows, (row) => row[name]);
}

function texts<K extends string>(rows: readonly Readonly<Record<K, string>>[], name: K): DictionaryColumn {
  return dictionaryOf(rows.map((row) => row[name]));
}
