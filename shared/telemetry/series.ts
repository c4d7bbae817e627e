/** Readings of metrics by label, and what becomes of them: Prometheus text (prometheus.ts) or documents for CloudWatch. */
import type { Metrics } from "./emf.ts";
import { addReadings, EMPTY_READING, type HistogramReading, readingSince, representativesMs } from "./histogram.ts";
import { type Metric, type MetricName, METRICS, type MetricLabel, type PlainMetricName } from "./metrics-catalogue.ts";

export interface Series {
  readonly name: MetricName;
  readonly labels: Readonly<Partial<Record<MetricLabel, string>>>;
  /** count: since the process began; gauge: now; sample: a histogram since the process began. */
  readonly value: number | HistogramReading;
}

/** CloudWatch takes 100 values of a metric at a time; these tell its percentiles closely enough. */
const REPRESENTATIVES = 40;

/** Puts series into documents: counts and samples as what came since the last time, series of one name as one. */
export class SeriesEmitter {
  readonly #metrics: Metrics;
  readonly #before = new Map<MetricName, number | HistogramReading>();

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  emit(series: readonly Series[]): void {
    const byName = new Map<MetricName, (number | HistogramReading)[]>();
    for (const { name, value } of series) byName.set(name, [...(byName.get(name) ?? []), value]);
    for (const [name, values] of byName) this.#emitOne(name as PlainMetricName, METRICS[name], values);
    this.#metrics.flush();
  }

  #emitOne(name: PlainMetricName, metric: Metric, values: readonly (number | HistogramReading)[]): void {
    if (metric.kind === "sample") {
      const whole = values.reduce<HistogramReading>((sum, value) => addReadings(sum, value as HistogramReading), EMPTY_READING);
      const since = readingSince(whole, (this.#before.get(name) as HistogramReading | undefined) ?? EMPTY_READING);
      this.#before.set(name, whole);
      for (const value of representativesMs(since, REPRESENTATIVES)) this.#metrics.sample(name, Math.round(value * 1_000) / 1_000);
      return;
    }
    const numbers = values as readonly number[];
    const sum = numbers.reduce((total, value) => total + value, 0);
    if (metric.kind === "count") {
      const before = (this.#before.get(name) as number | undefined) ?? 0;
      this.#before.set(name, sum);
      // A worker that died took its counts with it.
      this.#metrics.count(name, Math.max(0, sum - before));
    } else this.#metrics.gauge(name, metric.across === "sum" ? sum : Math.max(...numbers));
  }
}
