/**
 * One simulated life of one partition: input with redeliveries, owners that are killed, frozen, overtaken and replaced, a network that loses
 * and delays, snapshots that go bad; and then the question whether anybody downstream could tell. The code under test is the real one:
 * PartitionTask with everything below it.
 */
import type { resolveStart as ResolveStart } from "#processor/checkpoint/resolve.ts";
import { resolveStart } from "#processor/checkpoint/resolve.ts";
import { parseSnapshotKey } from "#processor/checkpoint/snapshot-key.ts";
import { PartitionTask, type TaskEnd } from "#processor/runtime/partition-task.ts";
import type { FoldFactory } from "#processor/runtime/ports.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, OUTPUT_ROLES, topicName } from "#shared/events/names.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import { SimulatedBroker } from "./broker.ts";
import { type FoldKit, modelKit } from "./fold-kit.ts";
import { plainCodec, SimulatedObjects } from "./object-store.ts";
import { SimulatedProcess, World } from "./world.ts";

export interface Controls {
  readonly fences?: boolean;
  /** Wraps what a process is given: how a negative control breaks one rule. */
  readonly kafka?: (kafka: Kafka) => Kafka;
  readonly folds?: (folds: FoldFactory, objects: SimulatedObjects) => FoldFactory;
  readonly resolve?: typeof ResolveStart;
}

export interface ScenarioOptions {
  readonly seed: number;
  readonly kit?: FoldKit;
  readonly controls?: Controls;
  /** No chaos but this: the owner dies just before its n-th step. */
  readonly killAtStep?: number;
  /** Blocks of input. Default: up to 40, by seed. */
  readonly blocks?: number;
}

export interface Report {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly facts: {
    readonly steps: number;
    readonly owners: number;
    readonly kills: number;
    readonly freezes: number;
    readonly damages: number;
    readonly fenced: number;
    readonly refused: number;
    readonly commits: number;
    readonly rows: number;
    readonly ticks: number;
  };
  readonly log: readonly string[];
}

const ID = { lane: "live", generation: 1 };
const VALID = { topic: topicName(ID.lane, "valid"), partition: 0 };
const RAW = { topic: topicName(ID.lane, "raw"), partition: 0 };
const GROUP = groupId(ID, "processor");
const LIMIT_MS = 3_600_000;
const decoder = new TextDecoder();

export async function runScenario(options: ScenarioOptions): Promise<Report> {
  return new Scenario(options).run();
}

interface Owner {
  readonly process: SimulatedProcess;
  readonly task: PartitionTask;
  readonly stop: AbortController;
  end: TaskEnd | null;
}

class Scenario {
  readonly #options: ScenarioOptions;
  readonly #world: World;
  readonly #broker: SimulatedBroker;
  readonly #objects: SimulatedObjects;
  readonly #kit: FoldKit;
  readonly #owners: Owner[] = [];
  readonly #violations: string[] = [];
  readonly #log: string[] = [];
  readonly #isCalm: boolean;
  readonly #facts = { kills: 0, freezes: 0, damages: 0, fenced: 0, refused: 0 };
  /** Rows in events.raw, and how many of them the validator has written. */
  #rawRows = 0;
  #validRows = 0;
  /** Offset behind the last block of events.valid. */
  #blocksEnd = 0;
  #blocksLeft: number;
  #chaosUntilMs = 0;

  constructor(options: ScenarioOptions) {
    this.#options = options;
    this.#isCalm = options.killAtStep !== undefined;
    const isRough = !this.#isCalm && options.seed % 3 !== 0;
    this.#world = new World(
      options.seed,
      isRough ? { lostRequest: 0.004, lostAnswer: 0.006, lateRequest: 0.004 } : { lostRequest: 0, lostAnswer: 0, lateRequest: 0 },
    );
    const { random } = this.#world;
    this.#broker = new SimulatedBroker(this.#world, {
      protocol: options.seed % 5 === 0 ? "V1" : "V2",
      fences: options.controls?.fences ?? true,
    });
    this.#objects = new SimulatedObjects(this.#world);
    this.#kit = options.kit ?? modelKit();
    this.#blocksLeft = options.blocks ?? random.int(5, 40);
    if (options.killAtStep !== undefined) this.#world.killAtStep = options.killAtStep;
  }

  async run(): Promise<Report> {
    const world = this.#world;
    const startedMs = world.nowMs;
    this.#start();
    this.#feed();
    if (!this.#isCalm) this.#disturb();
    this.#chaosUntilMs = Infinity;
    let calmSinceMs = -1;
    while (world.nowMs - startedMs < LIMIT_MS) {
      await world.step();
      if (this.#blocksLeft === 0 && this.#chaosUntilMs === Infinity) this.#chaosUntilMs = world.nowMs;
      this.#supervise();
      if (!this.#isDone()) calmSinceMs = -1;
      else if (calmSinceMs < 0) calmSinceMs = world.nowMs;
      // Long enough for a few ticks, late requests and zombies to come out.
      else if (world.nowMs - calmSinceMs > 45_000) break;
      if (this.#facts.refused > 0) break;
    }
    if (calmSinceMs < 0 && this.#facts.refused === 0) this.#violations.push("the partition never caught up");
    await this.#stopAll();
    this.#check();
    const { steps } = world;
    const commits = this.#broker.commits.length;
    const ticks = this.#broker
      .log(VALID)
      .entries.filter(({ record }) => record.headers.some(([, value]) => decoder.decode(value) === "tick")).length;
    const facts = { ...this.#facts, steps, owners: this.#owners.length, commits, rows: this.#rawRows, ticks };
    return { seed: this.#options.seed, violations: this.#violations, facts, log: this.#log };
  }

  #start(): void {
    const world = this.#world;
    const { controls = {} } = this.#options;
    const process = new SimulatedProcess(`owner-${this.#owners.length + 1}`, this.#isCalm ? 0 : world.random.int(-500, 500));
    const stop = new AbortController();
    const kafka = this.#broker.client(process);
    const ports = {
      kafka: controls.kafka?.(kafka) ?? kafka,
      folds: controls.folds?.(this.#kit.folds, this.#objects) ?? this.#kit.folds,
      snapshots: this.#objects.client(process),
      codec: plainCodec,
      clock: world.clock(process),
      log: this.#logger(process),
      resolve: controls.resolve ?? resolveStart,
    };
    const options = {
      id: ID,
      partition: 0,
      partitions: 1,
      idleTickMs: 500,
      snapshotIntervalMs: 4_000,
      transactionTimeoutMs: 20_000,
      fetchWaitMs: 400,
    };
    const task = new PartitionTask(ports, options);
    const owner: Owner = { process, task, stop, end: null };
    this.#owners.push(owner);
    world.at(0, process, () => {
      void task.run(stop.signal).then((end) => {
        owner.end = end;
        if (end.kind === "fenced") this.#facts.fenced += 1;
        if (end.kind === "refused") {
          this.#facts.refused += 1;
          this.#log.push(`${process.name} refuses: ${end.verdict.refusal}: ${end.verdict.message}`);
          // Only where the log is cut and the snapshots above the cut are bad is there nothing to begin from.
          const mayRefuse = end.verdict.refusal === "no-usable-snapshot" && this.#broker.log(VALID).start > 0 && this.#facts.damages > 0;
          if (!mayRefuse) this.#violations.push(`${process.name} refuses: ${end.verdict.refusal}: ${end.verdict.message}`);
        }
        if (end.kind === "failed") this.#violations.push(`${process.name} failed: ${end.error.stack}`);
      });
    });
  }

  #logger(process: SimulatedProcess): Logger {
    const write =
      (level: string) =>
      (message: string, fields: object = {}): void => {
        this.#log.push(`${((this.#world.nowMs % 1e7) / 1e3).toFixed(3)} ${process.name} ${level} ${message} ${JSON.stringify(fields)}`);
      };
    const logger: Logger = { debug: write("debug"), info: write("info"), warn: write("warn"), error: write("error"), child: () => logger };
    return logger;
  }

  /** Producer and validator: rows appear in events.raw, and later, in order, as blocks in events.valid. Some blocks come twice. */
  #feed(): void {
    const world = this.#world;
    const { random } = world;
    const next = (): void => {
      if (this.#blocksLeft === 0) return;
      this.#blocksLeft -= 1;
      const rows = random.int(1, 6);
      const first = this.#rawRows;
      this.#rawRows += rows;
      this.#broker.append(
        RAW,
        Array.from({ length: rows }, () => ({ key: null, value: null })),
      );
      world.at(random.next() * 30, null, () => this.#validate(first, rows));
      world.at(random.chance(0.15) ? random.int(1_000, 12_000) : random.next() * 200 + 40, null, next);
    };
    world.at(1, null, next);
  }

  #validate(first: number, rows: number): void {
    const { random } = this.#world;
    this.#appendBlock(first, rows);
    this.#validRows = first + rows;
    if (!random.chance(0.2)) return;
    // A second invocation begins anywhere at or below the frontier and may reach beyond nothing.
    const again = Math.max(0, first - random.int(0, 8));
    this.#world.at(random.next() * 20, null, () => this.#appendBlock(again, first + rows - again));
  }

  #appendBlock(first: number, rows: number): void {
    this.#blocksEnd = this.#broker.append(VALID, [this.#kit.block(first, rows, this.#world.nowMs)]) + 1;
  }

  #disturb(): void {
    const world = this.#world;
    const { random } = world;
    const next = (): void => {
      if (world.nowMs > this.#chaosUntilMs) return;
      this.#disturbOnce();
      world.at(random.next() * (random.chance(0.3) ? 500 : 8_000), null, next);
    };
    world.at(random.next() * 4_000, null, next);
  }

  #disturbOnce(): void {
    const { random, nowMs } = this.#world;
    const living = this.#owners.filter(({ process, end }) => process.isAlive && end === null);
    const victim = living[random.int(0, Math.max(0, living.length - 1))];
    const kind = random.next();
    if (kind < 0.35) {
      if (victim !== undefined) this.#kill(victim);
    } else if (kind < 0.6) {
      if (victim === undefined) return;
      this.#facts.freezes += 1;
      victim.process.frozenUntilMs = nowMs + random.int(10, random.chance(0.3) ? 40_000 : 3_000);
      // The platform takes it for dead, or does not.
      if (random.chance(0.7)) this.#start();
    } else if (kind < 0.75) this.#start();
    else if (kind < 0.8) victim?.stop.abort();
    else if (kind < 0.85) this.#expireInput();
    else {
      const { keys } = this.#objects;
      const key = keys[random.chance(0.6) ? keys.length - 1 : random.int(0, keys.length - 1)];
      if (key === undefined) return;
      this.#facts.damages += 1;
      this.#objects.damage(key, (["torn", "flipped", "gone"] as const)[random.int(0, 2)]!);
    }
  }

  /** Retention reaches up to the second newest snapshot: enough for a good recovery, until snapshots go bad. */
  #expireInput(): void {
    const offsets = this.#objects.keys.map((key) => parseSnapshotKey(key)!.offset).filter((offset) => offset <= this.#position());
    const log = this.#broker.log(VALID);
    log.start = Math.max(log.start, offsets.at(-2) ?? 0);
  }

  #kill(owner: Owner): void {
    this.#facts.kills += 1;
    owner.process.isAlive = false;
    this.#log.push(`${owner.process.name} killed`);
  }

  /** Restarts what is gone, as the platform would. */
  #supervise(): void {
    if (this.#facts.refused > 0 || this.#owners.some(({ process, end }) => process.isAlive && end === null)) return;
    if (this.#owners.length > 200) throw new Error(`seed ${this.#options.seed}: owners do not come to rest`);
    if (this.#isCalm) this.#facts.kills += 1;
    this.#start();
  }

  /** Every tenth run goes on until no window is open, an hour of ticks with the real fold; the others until the last block is committed. */
  #isDone(): boolean {
    const end = this.#options.seed % 10 === 0 ? this.#broker.log(VALID).end : this.#blocksEnd;
    return this.#blocksLeft === 0 && this.#validRows === this.#rawRows && this.#position() >= end;
  }

  #position(): number {
    return this.#broker.committedOffset(GROUP, VALID)?.offset ?? 0;
  }

  async #stopAll(): Promise<void> {
    const world = this.#world;
    for (const { stop } of this.#owners) stop.abort();
    const deadlineMs = world.nowMs + 120_000;
    const isLeaving = (): boolean => this.#owners.some(({ process, end }) => process.isAlive && end === null);
    while (isLeaving() && world.nowMs < deadlineMs && (await world.step()));
    if (isLeaving()) this.#violations.push("an owner does not stop");
  }

  /** Everything that a reader, a successor or the ledger relies on. */
  #check(): void {
    const fold = this.#options.kit === undefined ? modelKit().folds.create() : this.#kit.folds.create();
    const progressAt = new Map<number, string>();
    const expected = new Map(OUTPUT_ROLES.map((role) => [role, [] as string[]]));
    const position = this.#position();
    for (const { record } of this.#broker.log(VALID).entries.slice(0, position)) {
      fold.apply(record);
      for (const { role, value } of fold.takeOutputs()) if (value !== null) expected.get(role)!.push(...this.#kit.rowsOf(role, value));
      progressAt.set(record.offset + 1, JSON.stringify(fold.progress()));
    }
    for (const { offset, metadata } of this.#broker.commits) {
      if (progressAt.get(offset) !== metadata)
        this.#violations.push(`progress at ${offset}: ${metadata}, oracle ${progressAt.get(offset)}`);
    }
    if (this.#broker.commits.some(({ offset }, i, all) => i > 0 && offset <= all[i - 1]!.offset))
      this.#violations.push("the committed offset went back");
    for (const role of OUTPUT_ROLES) this.#checkOutput(role, expected.get(role)!);
    if (this.#facts.refused === 0 && fold.progress().hw !== this.#rawRows - 1)
      this.#violations.push(`folded to ${fold.progress().hw} of ${this.#rawRows} rows`);
  }

  #checkOutput(role: (typeof OUTPUT_ROLES)[number], expected: readonly string[]): void {
    const found: string[] = [];
    let owner = 0;
    for (const { record, owner: writer } of this.#broker.log({ topic: topicName(ID.lane, role), partition: 0 }).committed()) {
      if (writer < owner) this.#violations.push(`${role}: a record of owner ${writer} behind one of owner ${owner}`);
      owner = writer;
      const header = (key: string): number => Number(decoder.decode(record.headers.find(([name]) => name === key)?.[1]));
      if (header(HEADERS.oseq) !== found.length + 1)
        this.#violations.push(`${role}: oseq ${header(HEADERS.oseq)} where ${found.length + 1} was due`);
      const rows = record.value === null ? [] : this.#kit.rowsOf(role, record.value);
      if (rows.length !== header(HEADERS.count))
        this.#violations.push(`${role}: ${rows.length} rows, header says ${header(HEADERS.count)}`);
      found.push(...rows);
    }
    const at = found.findIndex((row, i) => row !== expected[i]);
    if (at !== -1) this.#violations.push(`${role}: row ${at + 1} is "${found[at]}", oracle "${expected[at]}"`);
    else if (found.length !== expected.length) this.#violations.push(`${role}: ${found.length} rows, oracle ${expected.length}`);
  }
}
