/**
 * Runs the second stage beside the task of partition 0, so that whoever has that partition closes the minutes of the lane, and nobody has to be elected.
 * The stage has its own fence: one that goes on for a moment after the partition went to another process can write nothing.
 */
import type { HostedTask } from "#shared/assignment/partition-owner.ts";
import { describeError } from "#shared/kernel/errors.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import type { SecondStageEnd } from "../minutes/second-stage.ts";
import type { Clock } from "../runtime/ports.ts";
import type { TaskHost } from "./task-host.ts";

export const STAGE_PARTITION = 0;

/** Between one end of the stage and its next try. */
const RETRY_MS = 10_000;

interface StagePorts {
  /** A new stage each time. Never rejects. */
  readonly run: (stop: AbortSignal) => Promise<SecondStageEnd>;
  readonly clock: Clock;
  readonly log: Logger;
}

export class StagedHost implements TaskHost {
  readonly #host: TaskHost;
  readonly #ports: StagePorts;
  readonly #stages = new Set<Promise<void>>();

  constructor(host: TaskHost, ports: StagePorts) {
    this.#host = host;
    this.#ports = ports;
  }

  start(partition: number): HostedTask {
    const task = this.#host.start(partition);
    if (partition !== STAGE_PARTITION) return task;
    const stopping = new AbortController();
    void task.end.then(() => stopping.abort());
    const stage = this.#accompany(task, stopping.signal);
    this.#stages.add(stage);
    void stage.finally(() => this.#stages.delete(stage));
    const stop = (): void => {
      stopping.abort();
      task.stop();
    };
    return { running: task.running, end: task.end, stop };
  }

  async close(): Promise<void> {
    await Promise.all(this.#stages);
    await this.#host.close();
  }

  /** Statistics that cannot be made must not stop events: the error is told, and the stage tried again for as long as the partition is ours. */
  async #accompany(task: HostedTask, stop: AbortSignal): Promise<void> {
    const { run, clock, log } = this.#ports;
    await Promise.race([task.running, task.end]);
    while (!stop.aborted) {
      const end = await run(stop);
      if (end.kind === "stopped" || stop.aborted) return;
      const facts = { error: describeError(end.error), retryMs: RETRY_MS };
      if (end.kind === "fenced") log.warn("second stage has a newer owner", facts);
      else log.error("second stage ended: no minute is closed until it runs", facts);
      await clock.sleep(RETRY_MS, stop);
    }
  }
}
