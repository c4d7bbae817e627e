/**
 * Replays on a simulated broker: processes that are killed or held up at any call, several of them at once, requests that reach the log when their
 * sender is long dead. Deterministic by seed. The broker's rule is Kafka's (ProducerStateManager): the next sequence is appended, one of the last
 * five batches repeated is taken for itself, anything else refused.
 */
import { describe, expect, test } from "vitest";
import { readLetter } from "../../../cli/dlq/letter.ts";
import { type Judge, ReplayRun } from "../../../cli/dlq/replay-run.ts";
import type { ReplayRequest } from "../../../cli/dlq/replay-request.ts";
import type { FetchedPartition, FetchedRecord, NumberedKafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import type { ReplayStep, StoredReplay } from "#shared/clients/postgres/dlq-replays-store.ts";
import { HEADERS } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

const NAME = "00000000000000ff";
const SEEDS = 400;

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 + 1) >>> 0;
  }

  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }
}

/** Lets one of those who wait go on at a time. */
class Turns {
  readonly #waiting: (() => void)[] = [];
  readonly #random: Random;
  constructor(random: Random) {
    this.#random = random;
  }

  wait(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async until(work: readonly Promise<unknown>[]): Promise<void> {
    const ended = new AbortController();
    void Promise.allSettled(work).then(() => ended.abort());
    while (!ended.signal.aborted) {
      if (this.#waiting.length > 0) this.#waiting.splice(this.#random.below(this.#waiting.length), 1)[0]!();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

class Killed extends Error {}

interface Faults {
  /** Negative controls. */
  readonly brokerForgets?: boolean;
  readonly storeIsUnguarded?: boolean;
}

interface Batch {
  readonly first: number;
  readonly next: number;
  readonly offset: number;
}

class World {
  readonly random: Random;
  readonly turns: Turns;
  readonly targets: OutgoingRecord[][];
  readonly dlq: FetchedRecord[][];
  stored: StoredReplay<ReplayRequest>;
  readonly letters = new Map<string, number>();
  readonly #sequences: { next: number; last: Batch[] }[];
  /** Requests whose senders are dead and that have not come to the broker yet. */
  #underWay: (() => void)[] = [];
  readonly #faults: Faults;

  constructor(seed: number, faults: Faults) {
    this.random = new Random(seed);
    this.#faults = faults;
    this.turns = new Turns(this.random);
    const { random } = this;
    const targetCount = 1 + random.below(3);
    this.targets = Array.from({ length: targetCount }, () => Array.from({ length: random.below(4) }, () => ({ key: null, value: null })));
    this.#sequences = this.targets.map(() => ({ next: 0, last: [] }));
    this.dlq = Array.from({ length: 1 + random.below(3) }, () => {
      // Markers of the processor's transactions take offsets.
      let offset = 0;
      return Array.from({ length: random.below(40) }, () => ({
        offset: (offset += 1 + random.below(2)),
        timestampMs: 0,
        key: null,
        value: Buffer.from(String(random.below(100))),
        headers: [],
      }));
    });
    const request: ReplayRequest = {
      filter: { reasons: [], sinceMs: null, untilMs: null, user: null },
      edits: [],
      keyFrom: null,
      target: "events.raw",
      limit: null,
      again: false,
      evenRejected: false,
      ranges: this.dlq.map((records, partition) => ({ partition, from: 0, until: (records.at(-1)?.offset ?? -1) + 1 })),
      rulesVersion: 1,
      atMs: 0,
    };
    this.stored = {
      name: NAME,
      commandHash: "",
      request,
      producerId: 1n,
      progress: this.targets.map((log) => ({ logOffset: log.length, sequence: 0, last: null })),
      state: "running",
      counts: {},
      version: 1,
      createdBy: "",
      createdAtMs: 0,
      updatedAtMs: 0,
    };
  }

  /** Some letters are left, the others go where their value says: the same whenever it is asked. */
  readonly judge: Judge = {
    judge: async ({ value, partition, offset }) => {
      const number = Number(Buffer.from(value!));
      if (number % 5 === 0) return { kind: "left", because: "rejected" };
      const headers = [[HEADERS.replay, Buffer.from(`${NAME}/${partition}/${offset}`)]] as const;
      return {
        kind: "sent",
        target: number % this.targets.length,
        record: { key: null, value, headers },
        verdict: { reason: "", pointer: "", rejected: false, eventTimeMs: 0 },
        changes: [],
      };
    },
  };

  append(target: number, records: readonly OutgoingRecord[], first: number): number {
    const log = this.targets[target]!;
    const sequences = this.#sequences[target]!;
    const next = first + records.length;
    if (this.#faults.brokerForgets !== true) {
      const repeated = sequences.last.find((batch) => batch.first === first && batch.next === next);
      if (repeated !== undefined) return repeated.offset;
      if (first !== sequences.next) throw new OperatingError("sequence", { code: "KAFKA_SEQUENCE" });
    }
    sequences.last = [...sequences.last.slice(-4), { first, next, offset: log.length }];
    sequences.next = next;
    log.push(...records);
    return log.length - records.length;
  }

  deliver(): void {
    const requests = this.#underWay;
    this.#underWay = [];
    for (const request of requests) request();
  }

  /** A process that is killed at one of its calls, or held up there while others go on. */
  async run(killAt: number): Promise<void> {
    for (let turns = this.random.below(60); turns > 0; turns--) await this.turns.wait();
    let calls = 0;
    const call = async (whenKilled: () => void = () => undefined): Promise<void> => {
      // Now and then it stands still, as under SIGSTOP or a long collection of garbage.
      for (let turns = this.random.below(8) === 0 ? 40 : 1; turns > 0; turns--) await this.turns.wait();
      if (this.random.below(12) === 0) this.deliver();
      if (++calls < killAt) return;
      if (calls === killAt) whenKilled();
      throw new Killed();
    };
    const kafka: Pick<NumberedKafka, "fetch" | "listOffset" | "produceNumbered"> = {
      listOffset: async ({ topic, partition }, where) => {
        await call();
        if (where === "earliest") return 0;
        return topic === "events.dlq" ? (this.dlq[partition]!.at(-1)?.offset ?? -1) + 1 : this.targets[partition]!.length;
      },
      fetch: async ([request]) => {
        await call();
        const { topic, partition, offset } = request!;
        const all = topic === "events.dlq" ? this.dlq[partition]! : this.targets[partition]!.map(asFetched);
        const records = all.filter((record) => record.offset >= offset).slice(0, 1 + this.random.below(6));
        const nextOffset = records.length === 0 ? offset : records.at(-1)!.offset + 1;
        return [
          {
            topic,
            partition,
            records,
            nextOffset,
            highWatermarkOffset: 0,
            lastStableOffset: 0,
            logStartOffset: 0,
          } satisfies FetchedPartition,
        ];
      },
      produceNumbered: async ({ partition }, records, { sequence }) => {
        const send = (): void => {
          try {
            this.append(partition, records, sequence);
          } catch {
            // Refused, and nobody hears it.
          }
        };
        await call(() => {
          const fate = this.random.below(3);
          if (fate === 0) send();
          else if (fate === 1) this.#underWay.push(send);
        });
        const offset = this.append(partition, records, sequence);
        // Killed when the records are in the log and the answer is on its way.
        await call();
        return offset;
      },
    };
    const seen = this.stored;
    const run = new ReplayRun({
      kafka,
      replay: seen,
      dlqTopic: "events.dlq",
      roundLetters: 1 + this.random.below(4),
      stop: new AbortController().signal,
      record: async (version, step) => {
        await call();
        const stored = this.#store(version, step);
        await call();
        return stored;
      },
    });
    try {
      if (seen.state !== "running") return;
      await run.recover();
      await run.send(this.judge);
      await run.end("done", {});
    } catch (thrown) {
      const expected = thrown instanceof Killed || (thrown instanceof OperatingError && /OVERTAKEN|SEQUENCE/.test(thrown.code));
      if (!expected) throw thrown;
    }
  }

  #store(version: number, { progress, sent, end }: ReplayStep): number | null {
    const isMine = this.stored.version === version && this.stored.state === "running";
    if (!isMine && this.#faults.storeIsUnguarded !== true) return null;
    for (const { partition, offsets } of sent)
      for (const offset of offsets) this.letters.set(`${partition}/${offset}`, (this.letters.get(`${partition}/${offset}`) ?? 0) + 1);
    this.stored = { ...this.stored, progress, version: this.stored.version + 1, state: end?.state ?? this.stored.state };
    return this.stored.version;
  }

  /** What is wrong at the end; "" = nothing. */
  async verdict(): Promise<string> {
    const expected: string[] = [];
    for (const [partition, records] of this.dlq.entries()) {
      for (const record of records) {
        const judgement = await this.judge.judge(readLetter(partition, record));
        if (judgement?.kind === "sent") expected.push(`${judgement.target}: ${partition}/${record.offset}`);
      }
    }
    const found = this.targets.flatMap((log, target) =>
      log.flatMap(({ headers = [] }) =>
        headers.map(
          ([, value]) =>
            `${target}: ${Buffer.from(value)
              .toString()
              .slice(NAME.length + 1)}`,
        ),
      ),
    );
    const inOrder = expected.toSorted((a, b) => Number(a.split(":")[0]) - Number(b.split(":")[0]));
    if (JSON.stringify(found) !== JSON.stringify(inOrder)) return `sent ${JSON.stringify(found)}, expected ${JSON.stringify(inOrder)}`;
    const noted = [...this.letters].filter(([, times]) => times === 1).map(([letter]) => letter);
    if (noted.length !== this.letters.size) return "a letter is noted twice";
    return noted.length === expected.length ? "" : `noted ${noted.length} of ${expected.length}`;
  }
}

function asFetched({ headers = [], value }: OutgoingRecord, offset: number): FetchedRecord {
  return { offset, timestampMs: 0, key: null, value, headers };
}

async function simulate(seed: number, faults: Faults = {}): Promise<{ problem: string; crashes: number }> {
  const world = new World(seed, faults);
  let crashes = 0;
  for (let round = 0; round < 6; round++) {
    const processes = Array.from({ length: 1 + world.random.below(3) }, () => {
      const dies = world.random.below(3) > 0;
      if (dies) crashes++;
      return world.run(dies ? 1 + world.random.below(80) : Number.POSITIVE_INFINITY);
    });
    await world.turns.until(processes);
    await Promise.all(processes);
  }
  // Alone and unharmed it comes to its end.
  for (let tries = 0; world.stored.state === "running" && tries < 3; tries++) {
    const last = world.run(Number.POSITIVE_INFINITY);
    await world.turns.until([last]);
    await last;
  }
  world.deliver();
  const problem = world.stored.state === "done" ? await world.verdict() : "it never came to its end";
  return { problem, crashes };
}

describe("a replay", () => {
  test(`sends each letter once and in order, and notes it once, in ${SEEDS} histories of kills, zombies and late requests`, async () => {
    let crashes = 0;
    for (let seed = 1; seed <= SEEDS; seed++) {
      const outcome = await simulate(seed);
      expect(outcome.problem, `seed ${seed}`).toBe("");
      crashes += outcome.crashes;
    }
    expect(crashes).toBeGreaterThan(SEEDS);
  });

  test.each([
    ["a broker that appends every number again", { brokerForgets: true }],
    ["a store that lets two processes write", { storeIsUnguarded: true }],
  ] as const)("on %s is caught by this very check", async (_what, faults) => {
    const problems: string[] = [];
    for (let seed = 1; seed <= 100; seed++) {
      try {
        const { problem } = await simulate(seed, faults);
        if (problem !== "") problems.push(problem);
      } catch (thrown) {
        problems.push(String(thrown));
      }
    }
    expect(problems.length).toBeGreaterThan(20);
  });
});
