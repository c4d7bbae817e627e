/** Where the tasks of partitions run: in this thread, or in workers (worker-pool.ts). */
import type { Confirm, HostedTask } from "#shared/assignment/partition-owner.ts";
import { FencedError } from "#shared/kernel/errors.ts";
import { PartitionTask } from "../runtime/partition-task.ts";
import type { TaskOptions, TaskPorts } from "../runtime/ports.ts";

export interface TaskHost {
  start(partition: number): HostedTask;
  /** When no task runs any more. */
  close(): Promise<void>;
}

export interface TaskMaker {
  ports(partition: number): TaskPorts;
  options(partition: number): TaskOptions;
}

/** Before the fence: who slept through its session must not fence the one who took over. */
export function confirmedOwner(confirm: Confirm, partition: number): () => Promise<void> {
  return async () => {
    if (await confirm(partition)) return;
    throw new FencedError(`partition ${partition} is assigned to another processor`, { code: "ASSIGNMENT_LOST" });
  };
}

export class LocalHost implements TaskHost {
  readonly #tasks: TaskMaker;
  readonly #confirm: Confirm;

  constructor(tasks: TaskMaker, confirm: Confirm) {
    this.#tasks = tasks;
    this.#confirm = confirm;
  }

  start(partition: number): HostedTask {
    const stopping = new AbortController();
    const running = Promise.withResolvers<void>();
    const ports = { ...this.#tasks.ports(partition), mayFence: confirmedOwner(this.#confirm, partition) };
    const task = new PartitionTask(ports, this.#tasks.options(partition), running.resolve);
    return { running: running.promise, end: task.run(stopping.signal), stop: () => stopping.abort() };
  }

  async close(): Promise<void> {}
}
