/** What the sinks tell of themselves: around each store, so that neither stores nor the loop that feeds them know of it. */
import type { Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { describeError } from "#shared/kernel/errors.ts";
import { EmfMetrics } from "#shared/telemetry/emf.ts";
import { Histogram } from "#shared/telemetry/histogram.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import { prometheusText } from "#shared/telemetry/prometheus.ts";
import { openMetricsPage } from "#shared/telemetry/prometheus-page.ts";
import { type Series, SeriesEmitter } from "#shared/telemetry/series.ts";
import type { SinkStore } from "./partition-sink.ts";

/** How often the ends of the outputs are asked for. */
const LOOK_EVERY_MS = 5_000;
const EMIT_EVERY_MS = 10_000;

interface Flow {
  readonly sink: string;
  readonly from: TopicPartition;
  rows: number;
  deliveries: number;
  retries: number;
  /** Next offset to deliver; null = not known yet. */
  position: number | null;
  end: number | null;
}

export class SinkMetrics {
  readonly #flows: Flow[] = [];
  readonly #durations = new Histogram();
  readonly #others: (() => Series[])[] = [];

  /** The same store, counted. `sink` names it: `clickhouse.clean`. */
  around(store: SinkStore, sink: string, from: TopicPartition): SinkStore {
    const flow: Flow = { sink, from, rows: 0, deliveries: 0, retries: 0, position: null, end: null };
    this.#flows.push(flow);
    return {
      ...(store.fetch === undefined ? {} : { fetch: store.fetch }),
      ...(store.horizonMs === undefined ? {} : { horizonMs: store.horizonMs }),
      resume: async (position) => {
        const start = await store.resume(position);
        flow.position = start?.offset ?? flow.position;
        return start;
      },
      deliver: async (records) => {
        const fromMs = performance.now();
        try {
          const durable = await store.deliver(records);
          this.#durations.record(performance.now() - fromMs);
          flow.deliveries += 1;
          for (const record of records) flow.rows += record.count;
          flow.position = durable?.offset ?? flow.position;
          return durable;
        } catch (thrown) {
          flow.retries += 1;
          throw thrown;
        }
      },
    };
  }

  /** What a store tells beside this. */
  also(read: () => Series[]): void {
    this.#others.push(read);
  }

  /** Asks Kafka for the ends; several sinks read one topic. */
  async look(kafka: Pick<Kafka, "listOffset">): Promise<void> {
    const ends = new Map<string, Promise<number>>();
    await Promise.all(
      this.#flows.map(async (flow) => {
        const key = `${flow.from.topic}/${flow.from.partition}`;
        const end = ends.get(key) ?? kafka.listOffset(flow.from, "latest", "read_committed");
        ends.set(key, end);
        flow.end = await end;
      }),
    );
  }

  series(): Series[] {
    const bySink = (name: "SinkRows" | "SinkDeliveries" | "SinkRetries", valueOf: (flow: Flow) => number): Series[] => {
      const sums = new Map<string, number>();
      for (const flow of this.#flows) sums.set(flow.sink, (sums.get(flow.sink) ?? 0) + valueOf(flow));
      return [...sums].map(([sink, value]) => ({ name, labels: { sink }, value }));
    };
    return [
      ...bySink("SinkRows", (flow) => flow.rows),
      ...bySink("SinkDeliveries", (flow) => flow.deliveries),
      ...bySink("SinkRetries", (flow) => flow.retries),
      ...this.#flows.flatMap(({ sink, from, position, end }): Series[] =>
        position === null || end === null
          ? []
          : [{ name: "SinkOffsetLag", labels: { sink, partition: String(from.partition) }, value: Math.max(0, end - position) }],
      ),
      { name: "SinkDurationMs", labels: {}, value: this.#durations.read() },
      ...this.#others.flatMap((read) => read()),
    ];
  }
}

/** Looks, page and documents as configured. @returns what ends them. */
export async function publishSinkMetrics(
  metrics: SinkMetrics,
  { config, kafka, log }: { readonly config: Config; readonly kafka: Kafka; readonly log: Logger },
): Promise<() => void> {
  if (config.sinksMetricsPort === 0 && config.metrics === "none") return () => undefined;
  const dimensions = { service: "sinks", environment: config.environment, lane: config.lane };
  const page =
    config.sinksMetricsPort === 0
      ? null
      : await openMetricsPage(config.sinksMetricsPort, () => prometheusText(metrics.series(), dimensions), log);
  const look = (): void =>
    void metrics.look(kafka).catch((thrown: unknown) => log.debug("ends of the outputs not read", { error: describeError(thrown) }));
  const timers = [setInterval(look, LOOK_EVERY_MS).unref()];
  look();
  if (config.metrics === "emf") {
    const write = (line: string): void => void process.stdout.write(`${line}\n`);
    const emitter = new SeriesEmitter(new EmfMetrics({ dimensions, intervalMs: 0, now: Date.now, write }));
    timers.push(setInterval(() => emitter.emit(metrics.series()), EMIT_EVERY_MS).unref());
  }
  return () => {
    for (const timer of timers) clearInterval(timer);
    page?.close();
  };
}
