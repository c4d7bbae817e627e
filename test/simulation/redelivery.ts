/**
 * The event source mapping at its worst, in simulated time: pollers that deliver a batch again, cut otherwise, or while an older invocation of it
 * is still under way; produces that are late, lost or acknowledged to nobody; functions that are killed between two blocks or between produce and
 * return; partitions that change their poller. The validator and the fold are the real ones, events.valid is a list.
 *
 * What the mapping promises, and the trim rests on: a batch starts at a committed offset, and an offset is committed only when an invocation
 * returned for it.
 */
import { BatchValidator, type BlockPlace } from "#functions/validator/batch-validator.ts";
import { blockHeaders } from "#functions/validator/block-headers.ts";
import { type InvocationRecord, readInvocationEvent } from "#functions/validator/invocation-event.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createFold } from "#processor/fold/partition-fold.ts";
import type { InputRecord } from "#processor/model/ports.ts";
import { decodeBlock, decodeClean, encodeBlock } from "#shared/events/block.ts";
import { HEADERS } from "#shared/events/names.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { cleanRows } from "#test/support/event-batch.ts";
import { SimulatedProcess, World } from "./world.ts";

export type RedeliveryControl = "none" | "trim off" | "acks ignored";

export interface RedeliveryReport {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly facts: {
    rows: number;
    blocks: number;
    /** Rows in events.valid beyond one for each source offset. */
    redelivered: number;
    kills: number;
    /** Blocks that an invocation wrote after its batch had been given to another. */
    zombieBlocks: number;
    lostSends: number;
    moves: number;
    /** Blocks of an invocation that needed several for one partition. */
    furtherBlocks: number;
  };
}

const TOPIC = "events.raw";
const PARTITIONS = 3;
/** How often a faulty mapping may try before the world becomes kind, so that every run ends. */
const FAULTY_INVOCATIONS = 60;
const INVOCATION_LIMIT_MS = 400;
const plan = compilePlan(loadSeedRelease());
const decoder = new TextDecoder();
/** Five of these do not fit into one block. */
const LARGE = Array.from({ length: 6 }, () => "n".repeat(32_000));

export async function runRedelivery(seed: number, control: RedeliveryControl = "none"): Promise<RedeliveryReport> {
  const mapping = new Mapping(seed, control);
  await mapping.run();
  return mapping.report();
}

interface Poller {
  invocation: Invocation | null;
  isAsleep: boolean;
}

interface Invocation {
  readonly process: SimulatedProcess;
  /** First offset of its batch by partition, and the next one once it has returned. */
  readonly starts: ReadonlyMap<number, number>;
  readonly ends: ReadonlyMap<number, number>;
  isAbandoned: boolean;
}

interface Environment {
  readonly validator: BatchValidator;
  current: Invocation | null;
}

class Mapping {
  readonly #seed: number;
  readonly #control: RedeliveryControl;
  readonly #world: World;
  readonly #raw: InvocationRecord[][];
  readonly #valid: InputRecord[][] = Array.from({ length: PARTITIONS }, () => []);
  readonly #committed: number[] = Array.from({ length: PARTITIONS }, () => 0);
  readonly #owner: number[];
  readonly #pollers: Poller[] = [
    { invocation: null, isAsleep: false },
    { invocation: null, isAsleep: false },
  ];
  /** Warm environments: the next invocation finds their buffers as the last one left them. */
  readonly #warm: Environment[] = [];
  readonly #isBad = new Map<string, boolean>();
  #invocations = 0;
  readonly #facts = { rows: 0, blocks: 0, redelivered: 0, kills: 0, zombieBlocks: 0, lostSends: 0, moves: 0, furtherBlocks: 0 };

  constructor(seed: number, control: RedeliveryControl) {
    this.#seed = seed;
    this.#control = control;
    this.#world = new World(seed, { lostRequest: 0, lostAnswer: 0, lateRequest: 0 });
    const { random } = this.#world;
    const hasLarge = random.chance(0.04);
    this.#raw = Array.from({ length: PARTITIONS }, (_, partition) =>
      Array.from({ length: random.int(5, 25) }, (__, offset) => this.#record(partition, offset, hasLarge && random.chance(0.3))),
    );
    this.#owner = this.#raw.map(() => random.int(0, 1));
  }

  #record(partition: number, offset: number, isLarge: boolean): InvocationRecord {
    const isBad = this.#world.random.chance(0.2);
    this.#isBad.set(`${partition}/${offset}`, isBad);
    const event = {
      event_id: `00000000-0000-4000-800${partition}-${String(offset + 1).padStart(12, "0")}`,
      event_time: this.#world.nowMs,
      user_id: partition + 1,
      event_type: isBad ? "teleport" : "page_view",
      source: "web",
      session_id: `${partition}/${offset}`,
      properties: isLarge ? { note: LARGE } : {},
    };
    return {
      topic: TOPIC,
      partition,
      offset,
      timestamp: this.#world.nowMs,
      key: Buffer.from(String(partition + 1)).toString("base64"),
      value: Buffer.from(JSON.stringify(event)).toString("base64"),
      headers: [],
    };
  }

  get #isFaulty(): boolean {
    return this.#invocations < FAULTY_INVOCATIONS;
  }

  /** Until everything is committed and no zombie has anything more to write. */
  async run(): Promise<void> {
    for (const [number] of this.#pollers.entries()) this.#poll(number);
    this.#world.at(20, null, () => this.#move());
    for (let steps = 0; await this.#world.step(); steps++) if (steps > 100_000) throw new Error(`seed ${this.#seed} does not end`);
  }

  get #isDone(): boolean {
    return this.#committed.every((offset, partition) => offset >= this.#raw[partition]!.length);
  }

  /** A poller is lost or added: a partition goes to the other one, while the first one's invocation runs on. */
  #move(): void {
    if (this.#isDone || !this.#isFaulty) return;
    const { random } = this.#world;
    const partition = random.int(0, PARTITIONS - 1);
    this.#owner[partition] = 1 - this.#owner[partition]!;
    this.#facts.moves++;
    this.#world.at(random.int(5, 150), null, () => this.#move());
  }

  #poll(number: number): void {
    const poller = this.#pollers[number]!;
    poller.isAsleep = this.#isDone;
    if (poller.isAsleep) return;
    if (poller.invocation === null) this.#invoke(number, poller);
    this.#world.at(this.#world.random.int(1, 10), null, () => this.#poll(number));
  }

  #invoke(number: number, poller: Poller): void {
    const { random } = this.#world;
    const records: Record<string, InvocationRecord[]> = {};
    const starts = new Map<number, number>();
    const ends = new Map<number, number>();
    for (const [partition, log] of this.#raw.entries()) {
      const from = this.#committed[partition]!;
      if (this.#owner[partition] !== number || from >= log.length || random.chance(0.2)) continue;
      const to = Math.min(log.length, from + random.int(1, 15));
      records[`${TOPIC}-${partition}`] = log.slice(from, to);
      starts.set(partition, from);
      ends.set(partition, to);
    }
    if (ends.size === 0) return;
    this.#invocations++;
    const invocation: Invocation = {
      process: new SimulatedProcess(`invocation ${this.#invocations}`, 0),
      starts,
      ends,
      isAbandoned: false,
    };
    poller.invocation = invocation;
    const free = (): void => {
      if (poller.invocation === invocation) poller.invocation = null;
      invocation.isAbandoned = true;
    };
    this.#world.at(INVOCATION_LIMIT_MS, null, free);
    if (this.#isFaulty && random.chance(0.25)) {
      this.#world.at(random.next() * 20, null, () => {
        if (invocation.isAbandoned) return;
        invocation.process.isAlive = false;
        this.#facts.kills++;
      });
    }
    // The batch is thought to be lost and delivered again at once: two invocations of it run side by side.
    if (this.#isFaulty && random.chance(0.25)) this.#world.at(random.next() * 15, null, free);
    this.#world.at(0, invocation.process, () => void this.#runFunction(invocation, records, free));
  }

  async #runFunction(invocation: Invocation, records: Readonly<Record<string, InvocationRecord[]>>, free: () => void): Promise<void> {
    let environment = this.#warm.find(({ current }) => current === null);
    if (environment === undefined) {
      const made: Environment = { validator: this.#newValidator(() => made.current!), current: null };
      this.#warm.push(made);
      environment = made;
    }
    environment.current = invocation;
    try {
      await environment.validator.run(readInvocationEvent({ eventSource: "aws:kafka", records }, TOPIC), plan);
    } catch {
      environment.current = null;
      free();
      return;
    }
    environment.current = null;
    // Between the produce and the return, and the return's way to the poller.
    this.#world.at(this.#world.random.next() * 10, invocation.process, () => {
      const wasAbandoned = invocation.isAbandoned;
      free();
      const { random } = this.#world;
      if (this.#isFaulty && random.chance(0.1)) return; // returned, and the commit is lost
      // A late answer may set the position back: the rows before it are in the log either way.
      if (!wasAbandoned || random.chance(0.3)) for (const [partition, end] of invocation.ends) this.#committed[partition] = end;
      for (const [number, { isAsleep }] of this.#pollers.entries()) if (isAsleep) this.#poll(number);
    });
  }

  #newValidator(current: () => Invocation): BatchValidator {
    const ignoresAcks = this.#control === "acks ignored";
    return new BatchValidator(DEFAULT_LIMITS, {
      encode: (columns, place) =>
        encodeBlock(columns, {
          generation: 1,
          topic: TOPIC,
          partition: place.partition,
          firstSourceOffset: place.firstSourceOffset,
          lastSourceOffset: place.lastSourceOffset,
          rulesVersion: place.rulesVersion,
        }),
      send: (value, place) => {
        const sent = this.#send(value, place, current());
        if (!ignoresAcks) return sent;
        sent.catch(() => undefined);
        return Promise.resolve();
      },
    });
  }

  #send(value: Uint8Array, place: BlockPlace, invocation: Invocation): Promise<void> {
    const { random } = this.#world;
    const fate = this.#isFaulty ? random.next() : 1;
    const wayMs = (): number => (this.#isFaulty && random.chance(0.1) ? random.next() * 500 : random.next() * 3);
    return new Promise((resolve, reject) => {
      if (fate < 0.06) {
        this.#facts.lostSends++;
        this.#world.at(5, invocation.process, () => reject(new Error("the produce was lost")));
        return;
      }
      this.#world.at(wayMs(), null, () => {
        this.#append(value, place, invocation);
        this.#world.at(wayMs(), invocation.process, () => (fate < 0.12 ? reject(new Error("the acknowledgement was lost")) : resolve()));
      });
    });
  }

  #append(value: Uint8Array, place: BlockPlace, invocation: Invocation): void {
    const log = this.#valid[place.partition]!;
    log.push({ offset: log.length, timestampMs: Math.floor(this.#world.nowMs), value, headers: blockHeaders(1, place) });
    this.#facts.blocks++;
    if (invocation.isAbandoned) this.#facts.zombieBlocks++;
    if (place.firstSourceOffset > invocation.starts.get(place.partition)!) this.#facts.furtherBlocks++;
  }

  report(): RedeliveryReport {
    const violations = this.#valid.flatMap((log, partition) =>
      this.#check(log, partition).map((problem) => `partition ${partition}: ${problem}`),
    );
    return { seed: this.#seed, violations, facts: this.#facts };
  }

  /** One row per source offset, in order, with the content of that offset. */
  #check(log: readonly InputRecord[], partition: number): string[] {
    const expected = this.#raw[partition]!.length;
    this.#facts.rows += expected;
    let outcome: Outcome;
    try {
      outcome = this.#control === "trim off" ? untrimmed(log) : folded(log, partition);
    } catch (thrown) {
      return [`the fold refuses the log: ${(thrown as Error).message}`];
    }
    this.#facts.redelivered += outcome.redelivered;
    const seen = [...outcome.clean.map(({ offset }) => offset), ...outcome.rejected].toSorted((a, b) => a - b);
    const problems: string[] = [];
    if (seen.length !== expected || seen.some((offset, i) => offset !== i))
      problems.push(`${expected} rows came out as offsets ${seen.join(" ")}`);
    for (const [name, offsets] of [
      ["clean", outcome.clean.map(({ offset }) => offset)],
      ["rejected", outcome.rejected],
    ] as const) {
      if (offsets.some((offset, i) => i > 0 && offset <= offsets[i - 1]!))
        problems.push(`${name} rows are out of order: ${offsets.join(" ")}`);
    }
    for (const { offset, sessionId } of outcome.clean) {
      if (sessionId !== `${partition}/${offset}`) problems.push(`offset ${offset} holds the event of ${String(sessionId)}`);
      if (this.#isBad.get(`${partition}/${offset}`) === true) problems.push(`offset ${offset} is clean and should be rejected`);
    }
    for (const offset of outcome.rejected) {
      if (this.#isBad.get(`${partition}/${offset}`) !== true) problems.push(`offset ${offset} is rejected and should be clean`);
    }
    return problems;
  }
}

interface Outcome {
  readonly clean: readonly { readonly offset: number; readonly sessionId: string | null }[];
  readonly rejected: readonly number[];
  readonly redelivered: number;
}

function folded(log: readonly InputRecord[], partition: number): Outcome {
  const fold = createFold({
    generation: 1,
    partition,
    historical: false,
    outOfOrdernessMs: 60_000,
    idleMarginMs: 1_000,
    dedupHorizonMs: 600_000,
    cutRows: 20,
    cutMs: 1_000,
  });
  for (const record of log) fold.apply(record);
  const outputs = fold.takeOutputs();
  const { counts } = fold.progress();
  if (counts.duplicate + counts.late > 0)
    throw new Error(`${counts.duplicate} duplicates and ${counts.late} late rows where none was sent`);
  return {
    clean: outputs
      .filter(({ role, value }) => role === "clean" && value !== null && value.length > 0)
      .flatMap(({ value }) => cleanRows(decodeClean(value!)).map(({ sourceOffset, sessionId }) => ({ offset: sourceOffset, sessionId }))),
    rejected: outputs.filter(({ role }) => role === "dlq").map(({ headers }) => sourceOffsetIn(headers)),
    redelivered: counts.redelivered,
  };
}

/** Negative control: every row of every block counts. */
function untrimmed(log: readonly InputRecord[]): Outcome {
  const rows = log.flatMap(({ value }) => {
    const { columns } = decodeBlock(value!);
    return Array.from(columns.sourceOffset, (offset, row) => {
      const [from, to] = [columns.sessionId.offsets[row]!, columns.sessionId.offsets[row + 1]!];
      return { offset, sessionId: decoder.decode(columns.sessionId.bytes.subarray(from, to)), isRejected: columns.verdict[row] === 1 };
    });
  });
  return {
    clean: rows.filter(({ isRejected }) => !isRejected),
    rejected: rows.filter(({ isRejected }) => isRejected).map(({ offset }) => offset),
    redelivered: rows.length - new Set(rows.map(({ offset }) => offset)).size,
  };
}

type RecordHeaders = InputRecord["headers"];

/** `topic/partition/offset` of a dead letter. */
function sourceOffsetIn(headers: RecordHeaders): number {
  const value = headers.findLast(([key]) => key === HEADERS.source)?.[1];
  return Number(
    decoder
      .decode(value ?? new Uint8Array(0))
      .split("/")
      .at(-1),
  );
}
