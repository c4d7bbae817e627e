/**
 * The observers of the tasks of one thread. Their readings go out on a broadcast channel once a second, to whichever thread of this process
 * wants them (process-metrics.ts): workers and main thread need no protocol for it, and a thread that is busy folding is not asked.
 */
import { threadId } from "node:worker_threads";
import type { Config } from "#shared/config/config.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import { SpanExporter } from "#shared/telemetry/span-exporter.ts";
import { EpochSpans } from "./epoch-spans.ts";
import { TaskMetrics, type TaskReading } from "./task-metrics.ts";
import { observeAll, type TaskObserver } from "./task-observer.ts";

export const READINGS_CHANNEL = "weir-processor-readings";
const PUBLISH_EVERY_MS = 1_000;

export interface ThreadReading {
  readonly threadId: number;
  readonly spansDropped: number;
  readonly tasks: readonly TaskReading[];
}

const clock = { epochMs: () => Date.now(), steadyMs: () => performance.now() };
/** The wall clock's time when the thread began, and a clock that never jumps from there. */
const spanNowMs = (): number => performance.timeOrigin + performance.now();

/** Holds nothing open: the thread may end whenever its work has. */
export class ThreadObservation {
  readonly #config: Config;
  readonly #exporter: SpanExporter | null;
  readonly #tasks = new Map<number, TaskMetrics>();
  readonly #channel = new BroadcastChannel(READINGS_CHANNEL);

  constructor(config: Config, log: Logger) {
    this.#config = config;
    const { lane, environment, otlpUrl } = config;
    const resource = {
      "service.name": "weir-processor",
      "deployment.environment.name": environment,
      "weir.lane": lane,
      "process.pid": process.pid,
    };
    this.#exporter = otlpUrl === "" ? null : new SpanExporter({ url: otlpUrl, resource, log });
    this.#channel.unref();
    setInterval(() => this.#publish(), PUBLISH_EVERY_MS).unref();
  }

  /** A partition that comes back goes on counting where it left off. */
  observer(partition: number): TaskObserver {
    let metrics = this.#tasks.get(partition);
    if (metrics === undefined) this.#tasks.set(partition, (metrics = new TaskMetrics(partition, clock)));
    if (this.#exporter === null) return metrics;
    const attributes = { "weir.partition": partition, "weir.generation": this.#config.generation };
    return observeAll([metrics, new EpochSpans(this.#exporter, attributes, spanNowMs)]);
  }

  #publish(): void {
    const tasks = [...this.#tasks.values()].map((task) => task.read());
    const reading: ThreadReading = { threadId, spansDropped: this.#exporter?.dropped ?? 0, tasks };
    this.#channel.postMessage(reading);
  }
}
