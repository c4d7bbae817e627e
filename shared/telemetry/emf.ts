/**
 * CloudWatch's embedded metric format: JSON lines that the log agent turns into metrics, so that no call leaves the process
 * (docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html). Limits there: 100 metrics per
 * directive, 100 values per metric, 30 dimensions, 1 KB per dimension value; a log event of 256 KB.
 */
import {
  BASE_DIMENSIONS,
  type DimensionedMetricName,
  METRICS,
  METRICS_NAMESPACE,
  type MetricName,
  type PlainMetricName,
} from "./metrics-catalogue.ts";

const VALUES_MAX = 100;
const DIMENSION_VALUE_LENGTH_MAX = 256;

export interface Metrics {
  count(name: PlainMetricName, value: number): void;
  countBy(name: DimensionedMetricName, value: string, count: number): void;
  sample(name: PlainMetricName, value: number): void;
  gauge(name: PlainMetricName, value: number): void;
  /** What the log line says beside the metrics: for a query by hand, never a time series. */
  property(name: string, value: string | number): void;
  /** End of a batch: writes when it is time to. */
  flush(): void;
}

export const NO_METRICS: Metrics = {
  count: () => undefined,
  countBy: () => undefined,
  sample: () => undefined,
  gauge: () => undefined,
  property: () => undefined,
  flush: () => undefined,
};

export interface EmfOptions {
  readonly dimensions: Readonly<Record<(typeof BASE_DIMENSIONS)[number], string>>;
  /** Documents are at least so far apart; what comes in between is added up, and written by the first flush behind it. 0 = each flush writes. */
  readonly intervalMs: number;
  /** Epoch milliseconds: the document's time. */
  readonly now: () => number;
  /** One line, without its end. Must not go through `console`, which Lambda wraps into JSON of its own. */
  readonly write: (line: string) => void;
}

export class EmfMetrics implements Metrics {
  readonly #options: EmfOptions;
  readonly #values = new Map<PlainMetricName, number | number[]>();
  /** By metric, then by value of its dimension. */
  readonly #byDimension = new Map<DimensionedMetricName, Map<string, number>>();
  #properties: Record<string, string | number> = {};
  #writtenAtMs = Number.NEGATIVE_INFINITY;
  #full = false;

  constructor(options: EmfOptions) {
    this.#options = options;
  }

  count(name: PlainMetricName, value: number): void {
    this.#values.set(name, ((this.#values.get(name) as number | undefined) ?? 0) + value);
  }

  countBy(name: DimensionedMetricName, value: string, count: number): void {
    let counts = this.#byDimension.get(name);
    if (counts === undefined) this.#byDimension.set(name, (counts = new Map()));
    counts.set(value, (counts.get(value) ?? 0) + count);
  }

  sample(name: PlainMetricName, value: number): void {
    const values = this.#values.get(name) as number[] | undefined;
    if (values === undefined) this.#values.set(name, [value]);
    else if (values.push(value) >= VALUES_MAX) this.#full = true;
  }

  gauge(name: PlainMetricName, value: number): void {
    this.#values.set(name, value);
  }

  property(name: string, value: string | number): void {
    this.#properties[name] = value;
  }

  flush(): void {
    const { now, intervalMs, write } = this.#options;
    const nowMs = now();
    if (!this.#full && nowMs - this.#writtenAtMs < intervalMs) return;
    this.#writtenAtMs = nowMs;
    this.#full = false;
    if (this.#values.size > 0) write(this.#document(nowMs, [...this.#values], {}));
    for (const [name, counts] of this.#byDimension) {
      const { dimension } = METRICS[name];
      for (const [value, count] of counts) write(this.#document(nowMs, [[name, count]], { [dimension]: clipped(value) }));
    }
    this.#values.clear();
    this.#byDimension.clear();
    this.#properties = {};
  }

  #document(
    nowMs: number,
    values: readonly (readonly [MetricName, number | number[]])[],
    further: Readonly<Record<string, string>>,
  ): string {
    // The catalogue is far from the 100 metrics that a directive may hold; a test says so.
    return JSON.stringify({
      _aws: {
        Timestamp: Math.round(nowMs),
        CloudWatchMetrics: [
          {
            Namespace: METRICS_NAMESPACE,
            Dimensions: [[...BASE_DIMENSIONS, ...Object.keys(further)]],
            Metrics: values.map(([name]) => ({ Name: name, Unit: METRICS[name].unit })),
          },
        ],
      },
      ...this.#properties,
      ...this.#options.dimensions,
      ...further,
      ...Object.fromEntries(values),
    });
  }
}

function clipped(value: string): string {
  return value.slice(0, DIMENSION_VALUE_LENGTH_MAX);
}
