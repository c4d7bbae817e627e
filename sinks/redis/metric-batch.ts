/** Closed minutes as values by name: of each series the newest minute. Sums over sources and types are made where they mean something. */
import { metricKey, METRIC_TTL_SECONDS } from "#shared/read/hot-keys.ts";
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { decodeMinuteRows, type MinuteRows, numbersOf, textAt } from "../minutes/minute-rows.ts";
import { sharesOf } from "../minutes/quality-shares.ts";
import { type HotBatch, type HotValue, ttlSeconds } from "./hot-batch.ts";

interface Point {
  readonly loggedMs: number;
  readonly minuteMs: number;
  /** NaN = none. */
  readonly value: number;
  /** What the value is of, in events. */
  readonly count: number;
}

export class MetricBatch implements HotBatch {
  readonly #lane: string;
  readonly #points = new Map<string, Point>();

  constructor(lane: string) {
    this.#lane = lane;
  }

  get size(): number {
    return this.#points.size;
  }

  add(value: Uint8Array, loggedMs: number, kind?: string): void {
    const rows = decodeMinuteRows(kind, value);
    if (rows.rows === 0) return;
    if (rows.kind === "metrics") this.#addMetrics(rows, loggedMs);
    else if (rows.kind === "quality") this.#addQuality(rows, loggedMs);
    else this.#addCost(rows, loggedMs);
  }

  values(nowMs: number): HotValue[] {
    const values: HotValue[] = [];
    for (const [key, { loggedMs, minuteMs, value, count }] of this.#points) {
      const ttl = ttlSeconds(METRIC_TTL_SECONDS, loggedMs, nowMs);
      if (ttl > 0) values.push(["metric", key, ttl, minuteMs, Number.isNaN(value) ? "" : value, count]);
    }
    return values;
  }

  #addMetrics(rows: MinuteRows, loggedMs: number): void {
    const [minutes, values, counts] = [numbersOf(rows, "minute"), numbersOf(rows, "value"), numbersOf(rows, "count")];
    for (let row = 0; row < rows.rows; row++) {
      const name = [textAt(rows, "metric", row), textAt(rows, "source", row), textAt(rows, "event_type", row)];
      this.#put(name, { loggedMs, minuteMs: minutes[row]!, value: values[row]!, count: counts[row]! });
    }
  }

  #addQuality(rows: MinuteRows, loggedMs: number): void {
    const minuteMs = numbersOf(rows, "minute")[0]!;
    for (const [path, members] of groups(rows, "source", "event_type")) {
      const { total, percents } = sharesOf(rows, members);
      for (const [i, { name }] of QUALITY_DIMENSIONS.entries())
        this.#put([`quality.${name}`, ...path], { loggedMs, minuteMs, value: percents[i]!, count: total });
    }
  }

  #addCost(rows: MinuteRows, loggedMs: number): void {
    const minuteMs = numbersOf(rows, "minute")[0]!;
    const [events, bytes, usd] = [numbersOf(rows, "events"), numbersOf(rows, "bytes"), numbersOf(rows, "usd")];
    for (const [path, members] of groups(rows, "source", "destination")) {
      const sum = (values: Float64Array): number => members.reduce((total, row) => total + values[row]!, 0);
      this.#put(["cost.usd", ...path], { loggedMs, minuteMs, value: sum(usd), count: sum(events) });
      this.#put(["cost.bytes", ...path], { loggedMs, minuteMs, value: sum(bytes), count: sum(events) });
    }
  }

  #put(name: readonly string[], point: Point): void {
    const key = metricKey(this.#lane, name);
    if (point.minuteMs >= (this.#points.get(key)?.minuteMs ?? -Infinity)) this.#points.set(key, point);
  }
}

/** Rows of all, of each `first`, and of each pair. Those that name none are in the sums only: their keys would be those of the sums. */
function groups(rows: MinuteRows, first: string, second: string): [path: readonly string[], members: number[]][] {
  const found = new Map<string, [path: readonly string[], members: number[]]>();
  for (let row = 0; row < rows.rows; row++) {
    const pair = [textAt(rows, first, row), textAt(rows, second, row)];
    for (let depth = 0; depth <= pair.length; depth++) {
      const path = pair.slice(0, depth);
      if (path.at(-1) === "") continue;
      const group = found.get(JSON.stringify(path));
      if (group === undefined) found.set(JSON.stringify(path), [path, [row]]);
      else group[1].push(row);
    }
  }
  return [...found.values()];
}
