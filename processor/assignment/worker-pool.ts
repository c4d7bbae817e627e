/**
 * Worker threads that share nothing: each has its own connections, folds and garbage, so that one partition's long replay or collection stops no
 * other core. A worker that dies takes its partitions' tasks with it: they end as failed, and the process hands the others over and leaves.
 */
import { Worker } from "node:worker_threads";
import type { Confirm, HostedTask, TaskEnd } from "#shared/assignment/partition-owner.ts";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import type { TaskHost } from "./task-host.ts";
import { errorFacts, type FromWorker, taskEnd, type ToWorker } from "./worker-messages.ts";

const CLOSE_LIMIT_MS = 2_000;

interface PooledTask {
  readonly running: PromiseWithResolvers<void>;
  readonly end: PromiseWithResolvers<TaskEnd>;
}

class PooledWorker {
  readonly tasks = new Map<number, PooledTask>();
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  #death: Error | undefined;

  constructor(entry: URL, name: string, confirm: Confirm) {
    this.#worker = new Worker(entry, { name, argv: [name] });
    this.#worker.on("message", (message: FromWorker) => this.#hear(message, confirm));
    this.#worker.on("error", (thrown) => (this.#death ??= toError(thrown)));
    this.#exited = new Promise((resolve) => {
      this.#worker.once("exit", (code) => {
        this.#death ??= new OperatingError(`worker thread ${name} ended with ${code}`, { code: "WORKER_DIED", hint: "see its log above" });
        for (const { end } of this.tasks.values()) end.resolve({ kind: "failed", error: this.#death });
        this.tasks.clear();
        resolve();
      });
    });
  }

  get isAlive(): boolean {
    return this.#death === undefined;
  }

  #hear(message: FromWorker, confirm: Confirm): void {
    if (message.kind === "confirm") {
      const { question, partition } = message;
      confirm(partition).then(
        (isOurs) => this.tell({ kind: "confirmed", question, isOurs, error: null }),
        (thrown: unknown) => this.tell({ kind: "confirmed", question, isOurs: false, error: errorFacts(thrown) }),
      );
      return;
    }
    const task = this.tasks.get(message.partition);
    if (message.kind === "running") task?.running.resolve();
    else {
      this.tasks.delete(message.partition);
      task?.end.resolve(taskEnd(message.end));
    }
  }

  tell(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  start(partition: number): HostedTask {
    const task: PooledTask = { running: Promise.withResolvers(), end: Promise.withResolvers() };
    if (this.#death === undefined) {
      this.tasks.set(partition, task);
      this.tell({ kind: "start", partition });
    } else task.end.resolve({ kind: "failed", error: this.#death });
    return { running: task.running.promise, end: task.end.promise, stop: () => this.tell({ kind: "stop", partition }) };
  }

  async close(): Promise<void> {
    this.tell({ kind: "close" });
    const timer = setTimeout(() => void this.#worker.terminate(), CLOSE_LIMIT_MS);
    await this.#exited;
    clearTimeout(timer);
  }
}

export class WorkerPool implements TaskHost {
  readonly #workers: readonly PooledWorker[];

  /** `entry` runs `runWorker` when it finds itself in a worker thread. */
  constructor(entry: URL, workers: number, confirm: Confirm) {
    this.#workers = Array.from({ length: workers }, (_, i) => new PooledWorker(entry, `worker-${i + 1}`, confirm));
  }

  /** In the living worker that has fewest. */
  start(partition: number): HostedTask {
    const living = this.#workers.filter((worker) => worker.isAlive);
    const candidates = living.length > 0 ? living : this.#workers;
    return candidates.reduce((best, worker) => (worker.tasks.size < best.tasks.size ? worker : best)).start(partition);
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close()));
  }
}
