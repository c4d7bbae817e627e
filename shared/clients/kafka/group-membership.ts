/**
 * Membership in a consumer group, as an oracle of who works on what: nothing is fetched and no offset is committed through it. Cooperative
 * (KIP-429): a rebalance stops nobody; a partition that has to move is first taken from its old member, who gives it up in its own time and
 * joins again, and only the round after that gives it to the new one.
 *
 * Liveness only. Two members may both believe that a partition is theirs; whoever works on it must have another way to find out.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { FencedError, type OperatingError, UnavailableError } from "../../kernel/errors.ts";
import { BrokerError, brokerError, CODE, ConnectionLostError } from "./broker-error.ts";
import { Cluster } from "./cluster.ts";
import {
  type MemberClaim,
  type MemberIdentity,
  requestHeartbeat,
  requestJoin,
  requestLeave,
  requestSync,
} from "./group-membership-requests.ts";
import type { KafkaOptions } from "./types.ts";

const ILLEGAL_GENERATION = 22;
const UNKNOWN_MEMBER = 25;
const REBALANCE_IN_PROGRESS = 27;
const MEMBER_ID_REQUIRED = 79;
const FENCED_INSTANCE = 82;

const HEARTBEAT_MS_MAX = 1_000;
/** Of the session: so many heartbeats may be lost before the member is. */
const HEARTBEATS_PER_SESSION = 8;
const PAUSE_MS_MIN = 20;
const PAUSE_MS_MAX = 1_000;
const ANSWER_MARGIN_MS = 5_000;
const LEAVE_LIMIT_MS = 2_000;
/** A new group has no coordinator for a moment. */
const TROUBLE_AFTER_MS = 2_000;

/** Whom each partition is given to, by member. Pure: every member would come to the same. */
export type Assignor = (members: readonly MemberClaim[], partitions: number) => ReadonlyMap<string, readonly number[]>;

export interface MembershipOptions {
  readonly group: string;
  readonly topic: string;
  readonly partitions: number;
  /** Of the assignor: members that do not share one cannot be in one group. */
  readonly protocol: string;
  readonly assign: Assignor;
  /** The broker takes 6 s to 30 min, unless configured otherwise. */
  readonly sessionTimeoutMs: number;
  /** Static membership (KIP-345): who joins under the name of another takes its place at once. Empty = dynamic. */
  readonly instanceId: string;
  /** What is not a failure yet: a coordinator that has moved, a broker that does not answer. Told when it lasts, once. */
  readonly onTrouble: (error: Error) => void;
}

export interface MembershipListener {
  /** What is being worked on now, whatever is assigned. */
  owned(): readonly number[];
  /** Everything that is assigned from now on. What is owned and not in it must be given up; after that, {@link GroupMembership.rejoin}. */
  assigned(partitions: readonly number[], generation: number): void;
  /** The group gave this member up: everything may have another owner by now. Resolves when nothing is worked on any more. */
  lost(): Promise<void>;
}

export class GroupMembership {
  readonly #cluster: Cluster;
  readonly #options: MembershipOptions;
  readonly #heartbeatMs: number;
  readonly #unavailableAfterMs: number;
  #memberId = "";
  #generation = -1;
  #assigned: ReadonlySet<number> = new Set();
  /** While a round is under way: resolves with its end. */
  #round: PromiseWithResolvers<void> | null = null;
  #isRejoinWanted = false;
  #wake = (): void => undefined;
  #answeredAtMs = performance.now();
  #hasJoined = false;
  #isTroubleTold = false;

  constructor(kafka: KafkaOptions, options: MembershipOptions) {
    this.#cluster = new Cluster(kafka);
    this.#options = options;
    this.#heartbeatMs = Math.min(HEARTBEAT_MS_MAX, options.sessionTimeoutMs / HEARTBEATS_PER_SESSION);
    this.#unavailableAfterMs = kafka.unavailableAfterMs ?? 30_000;
  }

  /**
   * Stays in the group until `leave`, then leaves it in order.
   * @throws FencedError KAFKA_INSTANCE_FENCED when another took its name, UnavailableError when no broker answers at first, BrokerError.
   */
  async run(listener: MembershipListener, leave: AbortSignal): Promise<void> {
    const onLeave = (): void => this.#wake();
    leave.addEventListener("abort", onLeave);
    let pauseMs = PAUSE_MS_MIN;
    try {
      while (!leave.aborted) {
        try {
          await this.#stay(listener, leave);
          pauseMs = PAUSE_MS_MIN;
        } catch (thrown) {
          if (!isPassing(thrown)) throw thrown;
          this.#cluster.forget();
          if (!this.#hasJoined && performance.now() - this.#answeredAtMs > this.#unavailableAfterMs) throw thrown;
          this.#trouble(thrown);
          await this.#pause(pauseMs);
          pauseMs = Math.min(pauseMs * 2, PAUSE_MS_MAX);
        }
      }
    } finally {
      leave.removeEventListener("abort", onLeave);
      this.#round?.resolve();
      await this.#leave();
      await this.#cluster.close();
    }
  }

  /** Another round: what was to be given up has been. */
  rejoin(): void {
    this.#isRejoinWanted = true;
    this.#wake();
  }

  /**
   * Asks the broker whether the partition is this member's at this moment. A "yes" can be overtaken as soon as it is given; it keeps a process
   * that slept through its session from fencing its successor.
   */
  async confirm(partition: number): Promise<boolean> {
    for (;;) {
      if (this.#memberId === "" && this.#round === null) return false;
      const { generation, memberId } = this.#identity();
      const code = await this.#cluster.retry("heartbeat", { repeatable: true }, () => this.#heartbeat());
      const isCurrent = generation === this.#generation && memberId === this.#memberId;
      if (code === CODE.none || code === REBALANCE_IN_PROGRESS) {
        if (isCurrent) return this.#assigned.has(partition);
      } else {
        // Seen by the heartbeats too, but later.
        this.#wake();
        if (code === UNKNOWN_MEMBER || code === FENCED_INSTANCE) return false;
        if (isCurrent && this.#round === null) return false;
      }
      await this.#round?.promise;
    }
  }

  #trouble(error: Error): void {
    if (this.#isTroubleTold || performance.now() - this.#answeredAtMs < TROUBLE_AFTER_MS) return;
    this.#isTroubleTold = true;
    this.#options.onTrouble(error);
  }

  #answered(): void {
    this.#answeredAtMs = performance.now();
    this.#isTroubleTold = false;
  }

  #identity(): MemberIdentity {
    const { group, instanceId } = this.#options;
    return { group, memberId: this.#memberId, instanceId: instanceId === "" ? null : instanceId, generation: this.#generation };
  }

  async #heartbeat(): Promise<number> {
    const code = await requestHeartbeat(this.#cluster, this.#identity(), this.#options.sessionTimeoutMs);
    if (isCoordinatorAway(code)) throw brokerError(`heartbeat of group ${this.#options.group}`, code);
    this.#answered();
    return code;
  }

  /** One generation: joins, is assigned, and beats until another round is due. */
  async #stay(listener: MembershipListener, leave: AbortSignal): Promise<void> {
    this.#round ??= Promise.withResolvers();
    this.#isRejoinWanted = false;
    const partitions = await this.#joinAndSync(listener, leave);
    if (partitions === null || leave.aborted) return;
    this.#assigned = new Set(partitions);
    // Who comes back under its name gets its old place without a round (KIP-345). If it ended while it handed a partition over, that one has no owner
    // and nobody else asks for a round: the first assignment under a name is always followed by another.
    if (!this.#hasJoined && this.#options.instanceId !== "") this.#isRejoinWanted = true;
    this.#hasJoined = true;
    this.#round.resolve();
    this.#round = null;
    listener.assigned(partitions, this.#generation);
    while (!leave.aborted && !this.#isRejoinWanted) {
      await this.#pause(this.#heartbeatMs);
      if (leave.aborted || this.#isRejoinWanted) return;
      const code = await this.#heartbeat();
      if (code === CODE.none) continue;
      await this.#refused("heartbeat", code, listener);
      return;
    }
  }

  /** null: begin again. */
  async #joinAndSync(listener: MembershipListener, leave: AbortSignal): Promise<readonly number[] | null> {
    const { topic, protocol, assign, sessionTimeoutMs } = this.#options;
    const requestTimeoutMs = sessionTimeoutMs * 2 + ANSWER_MARGIN_MS;
    const join = {
      protocol,
      topic,
      owned: listener.owned(),
      sessionTimeoutMs,
      // Nobody stops its work to join, so nobody takes long; who is silent for a session is gone.
      rebalanceTimeoutMs: sessionTimeoutMs,
      requestTimeoutMs,
    };
    const joining = requestJoin(this.#cluster, this.#identity(), join);
    const joined = await unlessAborted(joining, leave);
    if (joined === null) return null;
    if (!isCoordinatorAway(joined.code)) this.#answered();
    if (joined.code === MEMBER_ID_REQUIRED) {
      this.#memberId = joined.memberId;
      return null;
    }
    if (joined.code !== CODE.none) {
      await this.#refused("join", joined.code, listener);
      return null;
    }
    this.#memberId = joined.memberId;
    this.#generation = joined.generation;
    const assignments = joined.members === null ? new Map<string, readonly number[]>() : assign(joined.members, this.#options.partitions);
    const syncing = requestSync(this.#cluster, this.#identity(), { protocol, topic, assignments }, requestTimeoutMs);
    const synced = await unlessAborted(syncing, leave);
    if (synced === null) return null;
    if (synced.code === CODE.none) return synced.partitions;
    await this.#refused("sync", synced.code, listener);
    return null;
  }

  /** Returns when joining again is the answer. */
  async #refused(what: string, code: number, listener: MembershipListener): Promise<void> {
    const { group, instanceId } = this.#options;
    switch (code) {
      case REBALANCE_IN_PROGRESS:
      case ILLEGAL_GENERATION:
        return;
      case UNKNOWN_MEMBER:
        this.#memberId = "";
        this.#generation = -1;
        this.#assigned = new Set();
        await listener.lost();
        return;
      case FENCED_INSTANCE:
        throw new FencedError(`another process joined group ${group} as ${instanceId}`, {
          code: "KAFKA_INSTANCE_FENCED",
          hint: "give each processor a name of its own: WEIR_PROCESSOR_INSTANCE",
        });
      default:
        throw brokerError(`${what} of group ${group}`, code);
    }
  }

  async #pause(durationMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, durationMs);
    await promise;
    clearTimeout(timer);
  }

  /** Says good-bye, so that nobody waits for the session's end. Best effort. */
  async #leave(): Promise<void> {
    if (this.#memberId === "") return;
    try {
      await Promise.race([requestLeave(this.#cluster, this.#identity(), LEAVE_LIMIT_MS), sleep(LEAVE_LIMIT_MS, undefined, { ref: false })]);
    } catch (thrown) {
      if (!isPassing(thrown)) throw thrown;
      this.#options.onTrouble(thrown);
    }
    this.#memberId = "";
  }
}

/** null when the signal came first; what the promise then ends with does not matter any more. */
async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | null> {
  const { promise: aborted, resolve } = Promise.withResolvers<null>();
  const onAbort = (): void => resolve(null);
  signal.addEventListener("abort", onAbort);
  promise.catch(() => undefined);
  try {
    return signal.aborted ? null : await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function isCoordinatorAway(code: number): boolean {
  return code === CODE.coordinatorNotAvailable || code === CODE.notCoordinator || code === CODE.coordinatorLoadInProgress;
}

function isPassing(thrown: unknown): thrown is OperatingError {
  if (thrown instanceof BrokerError) return thrown.retriable;
  return thrown instanceof UnavailableError || thrown instanceof ConnectionLostError;
}
