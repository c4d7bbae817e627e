/**
 * The rules in use, kept warm between invocations and looked at again now and then. What is damaged, older or out of reach never replaces a
 * good release, and no invocation that has one waits long for another.
 *
 * Environments change over together: a release is in force from a time on that lies {@link SETTLE_MS} behind its publication, and none decides
 * by a look that is older than {@link FRESH_MS} unless the store gives no other. So no partition, whose batches come one after the other but to
 * any environment, sees old rules again after new ones.
 */
import { describeError, toError } from "#shared/kernel/errors.ts";
import {
  CURRENT_KEY,
  loadPublished,
  loadSchedule,
  parsePointerObject,
  type ReleaseObjects,
  type ScheduledRelease,
} from "#shared/rules/load-release.ts";
import { compilePlan, type Plan } from "#shared/rules/plan.ts";

const LOOK_AGAIN_MS = 1_000;
/** Below SETTLE_MS of shared/clients/rules/publication.ts by more than clocks differ. */
const FRESH_MS = 2_000;
/** How long an invocation waits for a look when the last good one is not fresh. Once per look: a store that hangs must not slow every batch. */
const WAIT_MS = 500;
/** Then the look is given up: the function may have been frozen in the middle of it. */
const LOOK_LIMIT_MS = 3_000;
/** Without any release the batch cannot go on; the mapping delivers it again. */
const FIRST_LIMIT_MS = 8_000;

export interface RulesState {
  /** In force. */
  readonly version: number;
  /** Since what is published was last known for certain. */
  readonly ageMs: number;
  /** Since when every look has failed; null = the last one was well. */
  readonly failingForMs: number | null;
}

export interface RulesSource {
  /** The same object as long as the release is the same. @throws OperatingError RULES_UNREADABLE as long as there never was a usable one. */
  plan(): Promise<Plan>;
  /** null before the first plan. */
  state(): RulesState | null;
}

export interface RulesSourceOptions {
  /** Called until it succeeds once. */
  readonly open: () => Promise<ReleaseObjects>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Epoch milliseconds. */
  readonly wallClock: () => number;
  /** Once per problem. */
  readonly onFallback: (problem: string, version: number) => void;
  readonly onSwitch?: (version: number, from: number) => void;
  readonly waitMs?: number;
  readonly freshMs?: number;
}

export function createRulesSource(options: RulesSourceOptions): RulesSource {
  return new WarmRules(options);
}

interface Look {
  readonly done: Promise<void>;
  readonly startedAt: number;
  readonly abort: AbortController;
  waitedFor: boolean;
}

interface InForce extends ScheduledRelease {
  readonly plan: Plan;
}

class WarmRules implements RulesSource {
  readonly #options: RulesSourceOptions;
  #objects: Promise<ReleaseObjects> | undefined;
  #first: Promise<void> | undefined;
  /** Ascending by time; the first is in use. Empty before the first load. */
  #schedule: readonly InForce[] = [];
  /** Of the pointer that named the schedule; undefined = to be read in full. */
  #etag: string | undefined;
  #published = false;
  #confirmedAt = -Infinity;
  #failingSince: number | null = null;
  #reported: string | null = null;
  #lookedAt = -Infinity;
  #look: Look | undefined;

  constructor(options: RulesSourceOptions) {
    this.#options = options;
  }

  async plan(): Promise<Plan> {
    if (this.#schedule.length === 0) {
      // Cold: there is nothing to go on with, so the invocation waits.
      this.#first ??= this.#load().finally(() => (this.#first = undefined));
      await this.#first;
    }
    const { now, waitMs = WAIT_MS, freshMs = FRESH_MS } = this.#options;
    if (this.#look !== undefined && now() - this.#look.startedAt > LOOK_LIMIT_MS) this.#giveUp(this.#look);
    if (this.#look === undefined && now() - this.#lookedAt >= LOOK_AGAIN_MS) this.#startLook();
    if (this.#look !== undefined && !this.#look.waitedFor && now() - this.#confirmedAt >= freshMs) {
      this.#look.waitedFor = true;
      await within(waitMs, this.#look.done);
    }
    return this.#inForce().plan;
  }

  state(): RulesState | null {
    const [inForce] = this.#schedule;
    if (inForce === undefined) return null;
    const now = this.#options.now();
    return {
      version: inForce.release.version,
      ageMs: now - this.#confirmedAt,
      failingForMs: this.#failingSince === null ? null : now - this.#failingSince,
    };
  }

  #inForce(): InForce {
    const [before] = this.#schedule;
    const wallMs = this.#options.wallClock();
    const at = this.#schedule.findLastIndex(({ fromMs }) => fromMs <= wallMs);
    if (at > 0) {
      this.#schedule = this.#schedule.slice(at);
      this.#options.onSwitch?.(this.#schedule[0]!.release.version, before!.release.version);
    }
    return this.#schedule[0]!;
  }

  async #load(): Promise<void> {
    const startedAt = this.#options.now();
    const nowMs = this.#options.wallClock();
    const { schedule, fallback, published } = await loadPublished(await this.#open(), {
      nowMs,
      signal: AbortSignal.timeout(FIRST_LIMIT_MS),
    });
    this.#lookedAt = startedAt;
    this.#published = published;
    this.#take(schedule);
    this.#confirmedAt = startedAt;
    if (fallback !== null) this.#fail(fallback);
  }

  #startLook(): void {
    const abort = new AbortController();
    const look: Look = {
      startedAt: this.#options.now(),
      abort,
      waitedFor: false,
      done: this.#lookAgain(abort.signal)
        .then(
          () => this.#look === look && this.#confirm(look),
          (thrown: unknown) => this.#look === look && this.#fail(describeError(thrown)),
        )
        .then(() => this.#end(look)),
    };
    this.#look = look;
  }

  async #lookAgain(signal: AbortSignal): Promise<void> {
    const objects = await this.#open();
    const content = await objects.read(CURRENT_KEY, { knownEtag: this.#etag, signal });
    if (content === "unchanged") return;
    if (content === null) {
      if (!this.#published) return;
      throw new Error(`${objects.address} ${CURRENT_KEY} is gone`);
    }
    const named = parsePointerObject(content.bytes, `${objects.address} ${CURRENT_KEY}`);
    const known = this.#schedule.map(({ release }) => release);
    const newest = this.#schedule.at(-1)!.release.version;
    if (this.#published && named.version < newest) {
      throw new Error(`${objects.address} ${CURRENT_KEY} went back from version ${newest} to ${named.version}: versions only rise`);
    }
    const schedule = await loadSchedule(objects, named, {
      nowMs: this.#options.wallClock(),
      // The seed that stands in for a release may have the number of one.
      known: this.#published ? known : [],
      signal,
    });
    if (signal.aborted) return;
    this.#take(schedule);
    this.#etag = content.etag;
    this.#published = true;
  }

  #take(schedule: readonly ScheduledRelease[]): void {
    const before = this.#schedule;
    this.#schedule = schedule.map((each) => {
      const same = before.find(({ release }) => release === each.release);
      return { ...each, plan: same?.plan ?? compilePlan(each.release) };
    });
    const [from, to] = [before[0]?.release.version, this.#schedule[0]!.release.version];
    if (from !== undefined && from !== to) this.#options.onSwitch?.(to, from);
  }

  #confirm({ startedAt }: Look): void {
    // What is known is as old as the question, not as the answer.
    this.#confirmedAt = startedAt;
    this.#failingSince = null;
    this.#reported = null;
  }

  #fail(problem: string): void {
    this.#failingSince ??= this.#options.now();
    // The next look must read the pointer in full: it may have been mended to what it was.
    this.#etag = undefined;
    if (problem === this.#reported) return;
    this.#reported = problem;
    this.#options.onFallback(problem, this.#schedule[0]!.release.version);
  }

  #giveUp(look: Look): void {
    look.abort.abort();
    this.#fail(`no answer from the store of rules within ${LOOK_LIMIT_MS / 1_000} s`);
    this.#end(look);
  }

  #end(look: Look): void {
    if (this.#look !== look) return;
    this.#look = undefined;
    this.#lookedAt = this.#options.now();
  }

  async #open(): Promise<ReleaseObjects> {
    this.#objects ??= this.#options.open();
    try {
      return await this.#objects;
    } catch (thrown) {
      this.#objects = undefined;
      throw toError(thrown);
    }
  }
}

/** Resolves when `work` does or after `limitMs`; `work` never rejects. */
async function within(limitMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([work, new Promise<void>((resolve) => (timer = setTimeout(resolve, limitMs)))]);
  clearTimeout(timer);
}
