/**
 * Owner of one partition for as long as the process lives: recovery, epochs, and recovery again after whatever fails. Crash-only: nothing of a
 * failed session is mended; producer, fold and fetch position are thrown away and rebuilt from the log.
 */
import { topicName } from "#shared/events/names.ts";
import { describeError, type OperatingError, toError } from "#shared/kernel/errors.ts";
import { backOffMs, failureEvent } from "../checkpoint/failure.ts";
import { nextState, type TaskEvent, type TaskState } from "../checkpoint/state.ts";
import type { StartVerdict } from "../checkpoint/types.ts";
import { EpochLoop } from "./epoch-loop.ts";
import { InputLog } from "./input-log.ts";
import type { TaskOptions, TaskPorts } from "./ports.ts";
import { recover } from "./recovery.ts";
import { SnapshotWriter } from "./snapshot-writer.ts";

export type TaskEnd =
  /** Handed over, or never began. */
  | { readonly kind: "stopped" }
  | { readonly kind: "refused"; readonly verdict: Extract<StartVerdict, { kind: "refuse" }> }
  /** A newer owner exists. Do not start this task again in this process. */
  | { readonly kind: "fenced"; readonly error: Error }
  | { readonly kind: "failed"; readonly error: Error };

export class PartitionTask {
  readonly #ports: TaskPorts;
  readonly #options: TaskOptions;
  readonly #distrusted = new Set<string>();
  readonly #onRunning: () => void;
  #state: TaskState = "fencing";
  /** Since the last commit. */
  #failures = 0;
  #hasRun = false;

  constructor(ports: TaskPorts, options: TaskOptions, onRunning: () => void = () => undefined) {
    this.#ports = { ...ports, log: ports.log.child({ partition: options.partition }) };
    this.#options = options;
    this.#onRunning = onRunning;
  }

  get state(): TaskState {
    return this.#state;
  }

  /** Never throws. */
  async run(stop: AbortSignal): Promise<TaskEnd> {
    try {
      return await this.#live(stop);
    } finally {
      this.#ports.observer?.ended();
    }
  }

  async #live(stop: AbortSignal): Promise<TaskEnd> {
    const { clock, log } = this.#ports;
    for (;;) {
      try {
        return await this.#session(stop);
      } catch (thrown) {
        const error = toError(thrown);
        this.#failures += 1;
        const event = failureEvent(error, { failures: this.#failures, hasRun: this.#hasRun });
        this.#ports.observer?.sessionLost(error);
        const lostIn = this.#state;
        this.#advance(event);
        if (event === "fenced-out") return { kind: "fenced", error };
        if (event === "broke") return { kind: "failed", error };
        const pauseMs = backOffMs(this.#failures);
        log.warn("session lost, back to recovery", {
          during: lostIn,
          error: describeError(error),
          code: (error as Partial<OperatingError>).code,
          failures: this.#failures,
          pauseMs,
        });
        await clock.sleep(pauseMs, stop);
        if (stop.aborted) {
          this.#advance("stop");
          return { kind: "stopped" };
        }
        this.#advance("backed-off");
      }
    }
  }

  async #session(stop: AbortSignal): Promise<TaskEnd> {
    const ports = this.#ports;
    const options = this.#options;
    const { id, partition, fetchWaitMs: waitMs = 100 } = options;
    const context = {
      ports,
      options,
      stop,
      input: new InputLog(ports.kafka, { topic: topicName(id.lane, "valid"), partition }, { waitMs }),
      writer: new SnapshotWriter(ports, options),
      distrusted: this.#distrusted,
      advance: (event: TaskEvent): void => this.#advance(event),
      committed: (): void => void (this.#failures = 0),
    };
    ports.observer?.recovering();
    const recovered = await recover(context);
    if (recovered.kind === "refuse") return { kind: "refused", verdict: recovered };
    if (recovered.kind === "recovered") {
      if (!this.#hasRun) this.#onRunning();
      this.#hasRun = true;
      await new EpochLoop(context, recovered).run();
    } else this.#advance("stop");
    return { kind: "stopped" };
  }

  #advance(event: TaskEvent): void {
    this.#state = nextState(this.#state, event);
  }
}
