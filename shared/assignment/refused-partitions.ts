/**
 * Partitions that are this process's and refuse to start: each needs a person, none of them the process' end, for the others are well. They are
 * tried again slowly, because the fix is applied beside us and nobody tells: a restored snapshot, a rebuilt position.
 */
import type { Logger } from "#shared/telemetry/logger.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

/** Why a partition cannot start, and the command or step that decides. */
export interface RefusalVerdict {
  readonly refusal: string;
  readonly message: string;
  readonly fix: string;
}

interface Refused {
  verdict: RefusalVerdict;
  readonly sinceMs: number;
  /** Aborts when the partition is no longer ours to try. */
  readonly givenUp: AbortController;
}

export interface RefusedPorts {
  readonly clock: { now(): number; sleep(durationMs: number, signal: AbortSignal): Promise<void> };
  readonly log: Logger;
  readonly retryMs: number;
  /** {@link RefusedPartitions.trouble} has changed. */
  readonly onChange: () => void;
}

export class RefusedPartitions {
  readonly #ports: RefusedPorts;
  readonly #refused = new Map<number, Refused>();

  constructor(ports: RefusedPorts) {
    this.#ports = ports;
  }

  /** In ascending order. One that is being tried again is still among them. */
  get partitions(): readonly number[] {
    return [...this.#refused.keys()].toSorted((a, b) => a - b);
  }

  has(partition: number): boolean {
    return this.#refused.has(partition);
  }

  /** For the first line of the process: which, and what to do about the first of them. */
  get facts(): Readonly<Record<string, string>> {
    const { partitions } = this;
    if (partitions.length === 0) return {};
    const { refusal, fix } = this.#refused.get(partitions[0]!)!.verdict;
    return { refused: partitions.join(), refusal, fix };
  }

  /** In a line, for whoever looks at the running process; null = nothing refuses. */
  get trouble(): string | null {
    const [first, ...others] = this.partitions;
    if (first === undefined) return null;
    const { refusal, message, fix } = this.#refused.get(first)!.verdict;
    const more = others.length === 0 ? "" : `; its log has the fix for ${others.join(", ")}, which refuse as well`;
    return `partition ${first} refuses to start (${refusal}: ${message}), fix: ${fix}${more}`;
  }

  /** An error once per verdict; the same one again is no news, but stays the last word of the log on it. */
  add(partition: number, verdict: RefusalVerdict): void {
    const { clock, log, retryMs } = this.#ports;
    const known = this.#refused.get(partition);
    const fields = { partition, refusal: verdict.refusal, why: verdict.message, fix: verdict.fix, retryMs };
    if (known === undefined) this.#refused.set(partition, { verdict, sinceMs: clock.now(), givenUp: new AbortController() });
    else if (isSame(known.verdict, verdict)) {
      log.warn("partition still refuses to start", { ...fields, sinceMs: known.sinceMs });
      return;
    } else known.verdict = verdict;
    log.error("partition refuses to start", { ...fields, code: "PARTITION_REFUSED" });
    this.#ports.onChange();
  }

  /** True when it is to be tried again, false when it was given up meanwhile. */
  async isDue(partition: number): Promise<boolean> {
    const refused = this.#refused.get(partition);
    if (refused === undefined) return false;
    const { clock, retryMs } = this.#ports;
    await clock.sleep(retryMs, refused.givenUp.signal);
    return !refused.givenUp.signal.aborted;
  }

  runs(partition: number): void {
    const refused = this.#refused.get(partition);
    if (refused === undefined) return;
    const { clock, log } = this.#ports;
    this.forget(partition);
    log.info("partition runs again after it refused to start", {
      partition,
      refusal: refused.verdict.refusal,
      refusedForMs: clock.now() - refused.sinceMs,
    });
  }

  /** It is not ours any more, or we leave. */
  forget(partition: number): void {
    const refused = this.#refused.get(partition);
    if (refused === undefined) return;
    refused.givenUp.abort();
    this.#refused.delete(partition);
    this.#ports.onChange();
  }

  /** What ends a process whose every partition refuses. */
  error(): OperatingError {
    const { refusal, message, fix } = this.#refused.get(this.partitions[0]!)!.verdict;
    return new OperatingError(`${refusal}: ${message}`, { code: "PARTITION_REFUSED", hint: fix });
  }
}

function isSame(one: RefusalVerdict, other: RefusalVerdict): boolean {
  return one.refusal === other.refusal && one.message === other.message && one.fix === other.fix;
}
