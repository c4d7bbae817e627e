/**
 * Keeps the tasks that run equal to the partitions that are assigned: starts what is added, drains what is taken away, and tells the group when
 * that is done. What the tasks write is safe without it (docs/specs/commit-protocol.md): this decides only who works.
 */
import type { MembershipListener } from "#shared/clients/kafka/group-membership.ts";
import { describeError, toError, UnavailableError } from "#shared/kernel/errors.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import type { RefusalVerdict, RefusedPartitions } from "./refused-partitions.ts";

/** How the work on one partition ends. */
export type TaskEnd =
  /** Handed over, or never began. */
  | { readonly kind: "stopped" }
  | { readonly kind: "refused"; readonly verdict: RefusalVerdict }
  /** A newer owner exists. */
  | { readonly kind: "fenced"; readonly error: Error }
  | { readonly kind: "failed"; readonly error: Error };

export interface HostedTask {
  /** Resolves when the partition runs for the first time; never when it ends before. */
  readonly running: Promise<void>;
  /** Never rejects. */
  readonly end: Promise<TaskEnd>;
  /** Planned hand-over. */
  stop(): void;
}

/** Whether the partition is this process's, asked of the group. */
export type Confirm = (partition: number) => Promise<boolean>;

interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Resolves early, without error, when the signal aborts. */
  sleep(durationMs: number, signal: AbortSignal): Promise<void>;
}

/** A zombie that wakes up between being asked and being answered can fence us once; whoever does it again and again is no zombie. */
const FENCED_MAX = 5;
const FENCED_WITHIN_MS = 60_000;
const FENCED_PAUSE_MS = 200;

export interface OwnerPorts {
  readonly host: { start(partition: number): HostedTask };
  readonly clock: Clock;
  readonly log: Logger;
  readonly confirm: Confirm;
  /** Everything given up: the group may assign it. */
  readonly rejoin: () => void;
  /** What refuses to start; told from outside by whoever has them too. */
  readonly refused: RefusedPartitions;
  /** Once: everything assigned at first runs, but for what refuses. */
  readonly onReady: (partitions: number) => void;
}

interface Held {
  readonly task: HostedTask;
  /** Taken away, or the process leaves. */
  isStopping: boolean;
}

export class PartitionOwner implements MembershipListener {
  readonly #ports: OwnerPorts;
  readonly #held = new Map<number, Held>();
  readonly #ends = new Set<Promise<void>>();
  readonly #fencedAtMs = new Map<number, number[]>();
  readonly #broken = Promise.withResolvers<Error>();
  #failure: Error | null = null;
  readonly #leaving = new AbortController();
  #assigned: ReadonlySet<number> = new Set();
  #hasBeenReady = false;

  constructor(ports: OwnerPorts) {
    this.#ports = ports;
  }

  /** Resolves with what must end the process: a partition that cannot go on. */
  get broken(): Promise<Error> {
    return this.#broken.promise;
  }

  get failure(): Error | null {
    return this.#failure;
  }

  #breaks(error: Error): void {
    this.#failure ??= error;
    this.#broken.resolve(error);
  }

  /**
   * What refuses is claimed as well: given to another, it would refuse there for the same reason, and each move is a round of the whole group.
   * An assignor that takes it away to even the load out may do so; its next owner then reports it.
   */
  owned(): readonly number[] {
    return [...new Set([...this.#held.keys(), ...this.#ports.refused.partitions])];
  }

  assigned(partitions: readonly number[], generation: number): void {
    if (this.#leaving.signal.aborted) return;
    this.#assigned = new Set(partitions);
    const revoked = this.owned().filter((partition) => !this.#assigned.has(partition));
    const added = partitions.filter((partition) => !this.#held.has(partition) && !this.#ports.refused.has(partition));
    const summary = { generation, partitions: partitions.join(), added: added.join(), revoked: revoked.join() };
    if (added.length + revoked.length > 0) this.#ports.log.info("partitions assigned", summary);
    for (const partition of revoked) this.#stop(partition);
    // What refused has nothing to finish: when it is all that is taken away, nobody else will ask for the next round.
    if (revoked.length > 0 && !this.#isStoppingAny()) this.#ports.rejoin();
    for (const partition of added) this.#start(partition);
    this.#watchReady(added);
  }

  async lost(): Promise<void> {
    this.#ports.log.warn("no member of the group any more: its session ended", { partitions: this.owned().join() });
    this.#assigned = new Set();
    await this.#stopAll();
  }

  /** Hands everything over. */
  async drain(): Promise<void> {
    this.#leaving.abort();
    await this.#stopAll();
  }

  async #stopAll(): Promise<void> {
    for (const partition of this.owned()) this.#stop(partition);
    while (this.#ends.size > 0) await Promise.all(this.#ends);
  }

  #isStoppingAny(): boolean {
    return [...this.#held.values()].some(({ isStopping }) => isStopping);
  }

  #stop(partition: number): void {
    this.#ports.refused.forget(partition);
    const held = this.#held.get(partition);
    if (held === undefined || held.isStopping) return;
    held.isStopping = true;
    held.task.stop();
  }

  #start(partition: number): void {
    const held: Held = { task: this.#ports.host.start(partition), isStopping: false };
    this.#held.set(partition, held);
    void held.task.running.then(() => this.#ports.refused.runs(partition));
    const ended = held.task.end.then((end) => this.#ended(partition, held, end));
    this.#ends.add(ended);
    void ended.finally(() => this.#ends.delete(ended));
  }

  #watchReady(added: readonly number[]): void {
    if (this.#hasBeenReady) return;
    this.#hasBeenReady = true;
    // One that is taken away again before it ran is not waited for.
    const all = Promise.all(
      added.map((partition) => Promise.race([this.#held.get(partition)!.task.running, this.#held.get(partition)!.task.end])),
    );
    void all.then(() => this.#firstStarted(added));
  }

  /** A set-up of which nothing works must not look as if it ran. */
  #firstStarted(added: readonly number[]): void {
    const { refused, onReady } = this.#ports;
    if (this.#failure !== null || this.#leaving.signal.aborted) return;
    const running = added.filter((partition) => !refused.has(partition));
    if (added.length > 0 && running.length === 0) this.#breaks(refused.error());
    else onReady(running.length);
  }

  async #ended(partition: number, held: Held, end: TaskEnd): Promise<void> {
    const { log, refused } = this.#ports;
    let isToRestart = end.kind === "stopped";
    if (end.kind === "refused" || (end.kind === "failed" && this.#isBesideTheOthers(partition, end.error))) {
      // Taken away meanwhile, it is its next owner's to report.
      if (!held.isStopping && end.kind === "refused") refused.add(partition, end.verdict);
      isToRestart = held.isStopping;
    } else if (end.kind === "failed") {
      log.error("partition ended", { partition, how: end.kind, error: describeError(end.error) });
      this.#breaks(end.error);
    } else if (end.kind === "fenced") {
      isToRestart = await this.#isStillOurs(partition, end.error, held);
      if (!isToRestart) refused.forget(partition);
      // Most likely by the command that mends it, which must not meet the next try as well.
      else if (refused.has(partition)) isToRestart = false;
    }
    this.#held.delete(partition);
    if (this.#leaving.signal.aborted || this.#failure !== null) return;
    if (!this.#assigned.has(partition)) {
      // Of several that are taken away, the last one done asks for the next round.
      if (!this.#isStoppingAny()) this.#ports.rejoin();
    } else if (isToRestart) this.#start(partition);
    // No round: whoever the group gave it to would have to refuse it too.
    else if (refused.has(partition)) void this.#tryAgain(partition);
    else this.#ports.rejoin();
  }

  /** Of a partition that refused: while it was tried again the broker was away, which the others outlive as well. */
  #isBesideTheOthers(partition: number, error: Error): boolean {
    if (!(error instanceof UnavailableError) || !this.#ports.refused.has(partition)) return false;
    this.#ports.log.warn("partition that refused could not be tried again", { partition, error: describeError(error) });
    return true;
  }

  /** Not one of `#ends`: a drain waits for tasks, not for the next try. */
  async #tryAgain(partition: number): Promise<void> {
    const isDue = await this.#ports.refused.isDue(partition);
    // Between the end of the wait and here a turn has passed: a drain that began in it counts on no new task.
    if (isDue && this.#ports.refused.has(partition) && !this.#held.has(partition) && this.#failure === null) this.#start(partition);
  }

  /** A newer owner exists: by a later assignment, which we learn in a moment, or against it. */
  async #isStillOurs(partition: number, error: Error, held: Held): Promise<boolean> {
    const { log, clock, confirm } = this.#ports;
    log.warn("partition has a newer owner", { partition, error: describeError(error) });
    if (held.isStopping) return false;
    try {
      if (!(await confirm(partition))) return false;
    } catch (thrown) {
      this.#breaks(toError(thrown));
      return false;
    }
    const nowMs = clock.now();
    const recent = [...(this.#fencedAtMs.get(partition) ?? []), nowMs].filter((atMs) => nowMs - atMs < FENCED_WITHIN_MS);
    this.#fencedAtMs.set(partition, recent);
    if (recent.length >= FENCED_MAX) {
      log.error("partition is taken again and again by an owner outside of the group", { partition });
      this.#breaks(error);
      return false;
    }
    await clock.sleep(FENCED_PAUSE_MS * recent.length, this.#leaving.signal);
    return !held.isStopping && this.#assigned.has(partition);
  }
}
