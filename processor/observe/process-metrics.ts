/** What all threads of this process read, as series of the catalogue: the Prometheus page, and documents for CloudWatch. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Config } from "#shared/config/config.ts";
import { OUTPUT_ROLES } from "#shared/events/names.ts";
import { EmfMetrics } from "#shared/telemetry/emf.ts";
import { addReadings, EMPTY_READING } from "#shared/telemetry/histogram.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import type { MetricName } from "#shared/telemetry/metrics-catalogue.ts";
import { prometheusText } from "#shared/telemetry/prometheus.ts";
import { type MetricsPage, openMetricsPage } from "#shared/telemetry/prometheus-page.ts";
import { type Series, SeriesEmitter } from "#shared/telemetry/series.ts";
import { COUNTERS, HISTOGRAMS, type TaskReading } from "./task-metrics.ts";
import { READINGS_CHANNEL, type ThreadReading } from "./thread-observation.ts";

/** Often enough for alarms that look once a minute, seldom enough to cost nothing. */
const EMIT_EVERY_MS = 10_000;
const DELAY_RESOLUTION_MS = 10;

export interface ProcessFacts {
  readonly residentBytes: number;
  readonly eventLoopDelayMs: number;
}

/** Pure: one process' series from its threads' readings. `refused`: partitions that are the process' own, but have no task. */
export function processorSeries(threads: readonly ThreadReading[], facts: ProcessFacts, refused: readonly number[] = []): Series[] {
  const tasks = threads.flatMap((thread) => thread.tasks);
  const owned = tasks.filter((task) => task.isOwned);
  const plain = (name: MetricName, value: number): Series => ({ name, labels: {}, value });
  const byPartition = (name: MetricName, valueOf: (task: TaskReading) => number | null): Series[] =>
    owned.flatMap((task) => {
      const value = valueOf(task);
      return value === null ? [] : [{ name, labels: { partition: String(task.partition) }, value }];
    });
  const seconds = (ms: number | null): number | null => (ms === null ? null : Math.round(ms) / 1_000);
  const stateBytes = new Map<string, number>();
  for (const task of tasks)
    for (const [table, bytes] of Object.entries(task.stateBytes)) stateBytes.set(table, (stateBytes.get(table) ?? 0) + bytes);
  return [
    plain("PartitionsOwned", owned.length),
    plain("PartitionsRunning", owned.filter((task) => task.isRunning).length),
    // A 0 for each that is well: a series that only exists while something is wrong cannot be told from a process that says nothing.
    ...[...new Set([...owned.map(({ partition }) => partition), ...refused])].map((partition): Series => ({
      name: "PartitionRefused",
      labels: { partition: String(partition) },
      value: refused.includes(partition) ? 1 : 0,
    })),
    ...byPartition("WatermarkLagSeconds", (task) => seconds(task.watermarkLagMs)),
    ...byPartition("OffsetLag", (task) => task.offsetLag),
    ...byPartition("TimeLagSeconds", (task) => seconds(task.timeLagMs)),
    ...byPartition("CheckpointAgeSeconds", (task) => seconds(task.checkpointAgeMs)),
    ...COUNTERS.map((name) =>
      plain(
        name,
        tasks.reduce((sum, task) => sum + task.counters[name], 0),
      ),
    ),
    ...OUTPUT_ROLES.map((role): Series => {
      const value = tasks.reduce((sum, task) => sum + task.rowsOut[role], 0);
      return { name: "RowsOut", labels: { output: role }, value };
    }),
    ...HISTOGRAMS.map((name): Series => {
      const value = tasks.reduce((sum, task) => addReadings(sum, task.histograms[name]), EMPTY_READING);
      return { name, labels: {}, value };
    }),
    ...[...stateBytes].map(([table, value]): Series => ({ name: "StateBytes", labels: { table }, value })),
    plain("ResidentBytes", facts.residentBytes),
    plain("EventLoopDelayMs", facts.eventLoopDelayMs),
    plain(
      "SpansDropped",
      threads.reduce((sum, thread) => sum + thread.spansDropped, 0),
    ),
  ];
}

export interface ProcessMetrics {
  /** null = no page. */
  readonly url: string | null;
  close(): void;
}

/** Once per process, in its main thread. `refused` is asked at each look. */
export async function openProcessMetrics(config: Config, log: Logger, refused: () => readonly number[]): Promise<ProcessMetrics> {
  if (config.metricsPort === 0 && config.metrics === "none") return { url: null, close: () => undefined };
  const threads = new Map<number, ThreadReading>();
  const channel = new BroadcastChannel(READINGS_CHANNEL);
  channel.onmessage = (event) => {
    const reading = (event as { readonly data: ThreadReading }).data;
    threads.set(reading.threadId, reading);
  };
  channel.unref();
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
  delay.enable();
  const series = (): Series[] => {
    // The measuring timer itself is due every so often: what is above it is delay.
    const eventLoopDelayMs = Math.max(0, delay.percentile(99) / 1e6 - DELAY_RESOLUTION_MS);
    delay.reset();
    return processorSeries([...threads.values()], { residentBytes: process.memoryUsage.rss(), eventLoopDelayMs }, refused());
  };
  const dimensions = { service: "processor", environment: config.environment, lane: config.lane };
  const page: MetricsPage | null =
    config.metricsPort === 0 ? null : await openMetricsPage(config.metricsPort, () => prometheusText(series(), dimensions), log);
  const timer = config.metrics === "emf" ? emitRegularly(dimensions, series) : null;
  return {
    url: page?.url ?? null,
    close() {
      if (timer !== null) clearInterval(timer);
      page?.close();
      delay.disable();
      channel.close();
    },
  };
}

function emitRegularly(
  dimensions: { readonly service: string; readonly environment: string; readonly lane: string },
  series: () => Series[],
): NodeJS.Timeout {
  const write = (line: string): void => void process.stdout.write(`${line}\n`);
  const emitter = new SeriesEmitter(new EmfMetrics({ dimensions, intervalMs: 0, now: Date.now, write }));
  return setInterval(() => emitter.emit(series()), EMIT_EVERY_MS).unref();
}
