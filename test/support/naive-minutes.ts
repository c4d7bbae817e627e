/** Counting by minute, source and event type written again from docs/QUALITY.md, an object per cell. */
import { eventJson, userIdText } from "#processor/operators/event-json.ts";
import { COUNTERS, LATENCY_BUCKETS, type Counter } from "#shared/events/partials.ts";
import { eventColumns, type EventRow } from "./event-batch.ts";

export interface NaivePartial extends Record<Counter, number> {
  readonly minuteMs: number;
  readonly source: string;
  readonly type: string;
  /** null = no clean event had a value. */
  valueMin: number | null;
  valueMax: number | null;
  /** How many clean and late events in each bucket that has any. */
  readonly latencies: Record<number, number>;
}

type Fate =
  | { readonly outcome: "duplicate" }
  | { readonly outcome: "late"; readonly logTimeMs: number }
  | { readonly outcome: "clean"; readonly reason: string | null; readonly logTimeMs: number }
  | { readonly outcome: "rejected"; readonly reason: string };

const MINUTE_MS = 60_000;
const encoder = new TextEncoder();

/** The reasons that are tried (log-arbitrary.ts): the dimension that each fails, and its stage. */
const REASONS: Readonly<Record<string, readonly [dimension: Counter, stage: Counter | null]>> = {
  "json.syntax": ["inconsistent", "rejected_form"],
  "json.empty": ["incomplete", "rejected_form"],
  "schema.required": ["incomplete", "rejected_schema"],
  "schema.range": ["inaccurate", "rejected_schema"],
  "id.format": ["inconsistent", "rejected_identity"],
  "id.conflict": ["inconsistent", "rejected_identity"],
  "key.mismatch": ["inconsistent", "rejected_identity"],
  "time.future": ["untimely", "rejected_time"],
  "time.unchecked": ["untimely", null],
  "rule.flag": ["inconsistent", null],
  "anomaly.score": ["inaccurate", null],
};

export class NaiveMinutes {
  readonly #output: { partials: NaivePartial[]; marks: number[] };
  #minuteMs: number | null = null;
  #cells = new Map<string, NaivePartial>();

  constructor(output: { partials: NaivePartial[]; marks: number[] }) {
    this.#output = output;
  }

  arrive(logTimeMs: number): void {
    const minuteMs = Math.floor(logTimeMs / MINUTE_MS) * MINUTE_MS;
    if (minuteMs === this.#minuteMs) return;
    if (this.#minuteMs !== null) {
      const cells = [...this.#cells.values()];
      cells.sort((a, b) => (a.source === b.source ? (a.type < b.type ? -1 : 1) : a.source < b.source ? -1 : 1));
      this.#output.partials.push(...cells);
      this.#output.marks.push(minuteMs);
    }
    this.#cells = new Map();
    this.#minuteMs = minuteMs;
  }

  count(row: EventRow, fate: Fate): void {
    const cell = this.#cellOf(row);
    cell.total++;
    const reason = fate.outcome === "clean" || fate.outcome === "rejected" ? fate.reason : null;
    if (reason !== null) cell[REASONS[reason]![0]]++;
    if (fate.outcome === "duplicate") cell.duplicate++;
    else if (fate.outcome === "rejected") {
      cell[REASONS[fate.reason]![1]!]++;
      const [key, value] =
        fate.reason === "id.conflict"
          ? [userIdText(eventColumns([row]), 0), eventJson(eventColumns([row]), 0)]
          : [row.rawKey ?? "", row.raw ?? ""];
      cell.dead_letter_bytes += sizeOf(key) + sizeOf(value);
    } else {
      cell[fate.outcome]++;
      if (fate.outcome === "late") cell.untimely++;
      const { sessionId, deviceInfo, geoLocation, properties = "{}" } = row;
      const texts = [sessionId, deviceInfo, geoLocation, properties].map((text) => sizeOf(text ?? ""));
      cell[`${fate.outcome}_bytes`] += 48 + texts.reduce((sum, size) => sum + size, 0);
      const latencyMs = Math.max(0, fate.logTimeMs - (row.eventTimeMs ?? 0));
      cell.latency_sum_ms += latencyMs;
      const bucket = bucketOf(latencyMs);
      cell.latencies[bucket] = (cell.latencies[bucket] ?? 0) + 1;
      if (fate.outcome === "clean" && row.value !== null && row.value !== undefined) {
        cell.value_count++;
        cell.value_sum += row.value;
        cell.valueMin = Math.min(cell.valueMin ?? Infinity, row.value);
        cell.valueMax = Math.max(cell.valueMax ?? -Infinity, row.value);
      }
    }
  }

  #cellOf(row: EventRow): NaivePartial {
    const source = row.source ?? "";
    const type = row.eventType === undefined ? "click" : (row.eventType ?? "");
    const key = JSON.stringify([source, type]);
    const zero = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<Counter, number>;
    const cell = this.#cells.get(key) ?? {
      ...zero,
      minuteMs: this.#minuteMs!,
      source,
      type,
      valueMin: null,
      valueMax: null,
      latencies: {},
    };
    this.#cells.set(key, cell);
    return cell;
  }
}

function sizeOf(text: string | Uint8Array): number {
  return typeof text === "string" ? encoder.encode(text).length : text.length;
}

/** Bounds 1, 1.5, 2, 3, 4, 6, 8, ... of latency + 1. */
function bucketOf(latencyMs: number): number {
  let bucket = 0;
  while (bucket < LATENCY_BUCKETS - 1 && latencyMs + 1 >= 2 ** Math.floor((bucket + 1) / 2) * ((bucket + 1) % 2 === 1 ? 1.5 : 1)) bucket++;
  return bucket;
}
