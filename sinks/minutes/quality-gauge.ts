/** The newest closed minute's data quality over all sources and types, as gauges. A minute that is read again long after it was logged is no news. */
import type { Series } from "#shared/telemetry/series.ts";
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { type MinuteRows, numbersOf } from "./minute-rows.ts";
import { sharesOf } from "./quality-shares.ts";

const NEWS_MS = 600_000;

export class QualityGauge {
  #minuteMs = -Infinity;
  #loggedMs = -Infinity;
  #percents: readonly number[] = [];

  see(rows: MinuteRows, loggedMs: number): void {
    if (rows.kind !== "quality" || rows.rows === 0) return;
    const minuteMs = numbersOf(rows, "minute")[0]!;
    const { total, percents } = sharesOf(rows);
    if (minuteMs < this.#minuteMs || total === 0) return;
    this.#minuteMs = minuteMs;
    this.#loggedMs = loggedMs;
    this.#percents = percents;
  }

  series(nowMs: number): Series[] {
    if (nowMs - this.#loggedMs > NEWS_MS) return [];
    return QUALITY_DIMENSIONS.map(({ metric }, i) => ({ name: metric, labels: {}, value: this.#percents[i]! }));
  }
}
