/**
 * Sends the letters of one replay, each once, whatever is killed and how often it is run again.
 *
 * I1 The records of a replay stand in each target partition in one order (partition, offset of events.dlq) and numbered from 0 under the replay's
 *    own producer id: the broker appends each number once.
 * I2 What was sent is read from the target's log, never believed from memory: the row in PostgreSQL only says from where to look.
 * I3 Which letter follows which is decided by the stored request alone, so two processes can never give one number to two letters.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Pacer } from "#loadgen/pacer.ts";
import type { NumberedKafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import type { ReplayStep, StoredReplay, TargetProgress } from "#shared/clients/postgres/dlq-replays-store.ts";
import { HEADERS } from "#shared/events/names.ts";
import { assert } from "#shared/kernel/assert.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import type { Letter } from "./letter.ts";
import type { Judgement } from "./letter-judge.ts";
import { type LetterRange, readLetters, readRecords } from "./letters.ts";
import type { ReplayRequest } from "./replay-request.ts";

const ROUND_LETTERS = 500;
/** Half of max.message.bytes; one record may be larger alone. */
const BATCH_BYTES = 1_000_000;
const RECORD_EVERY_MS = 2_000;
const TRIES = 5;

interface LetterPlace {
  readonly partition: number;
  readonly offset: number;
}

interface Pending {
  readonly letter: LetterPlace;
  readonly record: OutgoingRecord;
}

export interface ReplayRunOptions {
  readonly kafka: Pick<NumberedKafka, "fetch" | "listOffset" | "produceNumbered">;
  /** Stores it if the row is still at `version`, and tells the new one; null = another process has been there. */
  readonly record: (version: number, step: ReplayStep) => Promise<number | null>;
  readonly replay: StoredReplay<ReplayRequest>;
  readonly dlqTopic: string;
  /** Letters under way at a time. Default 500. */
  readonly roundLetters?: number;
  readonly ratePerSecond?: number | undefined;
  readonly stop: AbortSignal;
  readonly onSent?: (sent: number) => void;
}

/** Decides alike about a letter whenever it is asked. */
export interface Judge {
  judge(letter: Letter): Promise<Judgement | null>;
}

export class ReplayRun {
  readonly #options: ReplayRunOptions;
  #targets: TargetProgress[];
  /** Not yet in PostgreSQL. */
  #unrecorded: { target: number; sequence: number; partition: number; offsets: number[] }[] = [];
  #recordedAtMs = performance.now();
  /** Of the row in PostgreSQL, as this process wrote it. */
  #version: number;

  constructor(options: ReplayRunOptions) {
    this.#options = options;
    this.#targets = [...options.replay.progress];
    this.#version = options.replay.version;
  }

  /** Letters in the target, sent by this process or an earlier one. */
  get sent(): number {
    return this.#targets.reduce((sum, { sequence }) => sum + sequence, 0);
  }

  /**
   * Learns from the target's log what earlier processes have sent. Whoever gives the replay up takes what can still be read.
   *
   * @throws OperatingError DLQ_REPLAY_EXPIRED, DLQ_REPLAY_FOREIGN, DLQ_REPLAY_OVERTAKEN.
   */
  async recover({ givingUp = false } = {}): Promise<void> {
    for (let target = 0; target < this.#targets.length; target++) await this.#recoverTarget(target, givingUp);
    await this.#record();
  }

  /** False: stopped before the end. After {@link recover}. */
  async send(judge: Judge): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#sendRest(judge);
      } catch (thrown) {
        if (!(thrown instanceof OperatingError) || thrown.code !== "KAFKA_SEQUENCE" || tries === TRIES) throw thrown;
        // What a killed process had under way has come to the log after all, or another one is at work: then this throws.
        await this.recover();
      }
    }
  }

  async #sendRest(judge: Judge): Promise<boolean> {
    const { kafka, replay, dlqTopic, ratePerSecond, stop, roundLetters = ROUND_LETTERS } = this.#options;
    const pacer =
      ratePerSecond === undefined
        ? undefined
        : new Pacer({ ratePerSecond, startMs: performance.now(), debtMsMax: Number.MAX_SAFE_INTEGER });
    let allowed = pacer === undefined ? Number.POSITIVE_INFINITY : 0;
    let pending: Pending[][] = this.#targets.map(() => []);
    let waiting = 0;
    const flush = async (): Promise<void> => {
      const round = pending;
      pending = this.#targets.map(() => []);
      waiting = 0;
      await this.#sendRound(round);
    };
    for await (const letter of readLetters(kafka, dlqTopic, this.#remaining(replay.request.ranges))) {
      if (stop.aborted) break;
      const judgement = await judge.judge(letter);
      if (judgement?.kind !== "sent") continue;
      const { target, record } = judgement;
      if (isBehind(letter, this.#targets[target]!.last)) continue;
      if (waiting >= roundLetters || allowed <= 0) {
        if (waiting > 0) await flush();
        while (allowed <= 0 && !stop.aborted) allowed += await due(pacer, stop);
      }
      pending[target]!.push({ letter, record });
      waiting++;
      allowed--;
    }
    if (waiting > 0) await flush();
    return !stop.aborted;
  }

  /** After {@link send} has come to its end, or never began: nothing of this replay will be sent any more. */
  end(state: "done" | "abandoned", counts: Readonly<Record<string, number>>): Promise<void> {
    failpoint("replay-before-end");
    return this.#record({ state, counts: { ...counts, sent: this.sent } });
  }

  async #recoverTarget(target: number, givingUp: boolean): Promise<void> {
    const { kafka, replay } = this.#options;
    const { logOffset } = this.#targets[target]!;
    const at = { topic: replay.request.target, partition: target };
    const [start, end] = await Promise.all([
      kafka.listOffset(at, "earliest", "read_uncommitted"),
      kafka.listOffset(at, "latest", "read_uncommitted"),
    ]);
    if (start > logOffset && !givingUp)
      throw new OperatingError(`replay ${replay.name} cannot go on: what it sent to ${at.topic}/${target} has expired`, {
        code: "DLQ_REPLAY_EXPIRED",
        hint: `weir dlq replay --abandon ${replay.name}`,
      });
    for await (const record of readRecords(kafka, { ...at, offset: Math.max(start, logOffset) }, end, "read_uncommitted")) {
      const name = record.headers.find(([key]) => key === HEADERS.replay)?.[1];
      const letter = name === undefined ? undefined : letterOf(Buffer.from(name).toString(), replay.name);
      if (letter === undefined) continue;
      if (isBehind(letter, this.#targets[target]!.last)) {
        if (!givingUp) throw this.#foreign(target, letter, record.offset);
      } else this.#note(target, [letter], record.offset);
    }
    this.#targets[target] = { ...this.#targets[target]!, logOffset: end };
  }

  #foreign(target: number, { partition, offset }: LetterPlace, logOffset: number): OperatingError {
    const { name, request } = this.#options.replay;
    return new OperatingError(
      `${request.target}/${target}/${logOffset} says that it is letter ${partition}/${offset} of replay ${name}, which did not send it there`,
      {
        code: "DLQ_REPLAY_FOREIGN",
        hint: `look for the producer that copies or forges weir-replay, then weir dlq replay --abandon ${name}`,
      },
    );
  }

  #note(target: number, letters: readonly LetterPlace[], firstLogOffset: number): void {
    for (const [i, { partition, offset }] of letters.entries()) {
      const { sequence } = this.#targets[target]!;
      const run = this.#unrecorded.findLast((each) => each.target === target);
      if (run?.partition === partition) run.offsets.push(offset);
      else this.#unrecorded.push({ target, sequence, partition, offsets: [offset] });
      this.#targets[target] = { logOffset: firstLogOffset + i + 1, sequence: sequence + 1, last: { partition, offset } };
    }
  }

  /** Where no target needs the letters before, they are not read again. */
  #remaining(ranges: readonly LetterRange[]): LetterRange[] {
    const lasts = this.#targets.map(({ last }) => last);
    if (lasts.includes(null)) return [...ranges];
    const first = lasts.reduce((a, b) => (isBehind(a!, b) ? a : b))!;
    return ranges.flatMap((range) => {
      if (range.partition < first.partition) return [];
      return [{ ...range, from: range.partition === first.partition ? Math.max(range.from, first.offset + 1) : range.from }];
    });
  }

  async #sendRound(round: readonly (readonly Pending[])[]): Promise<void> {
    const outcomes = await Promise.allSettled(
      round.map(async (letters, target) => {
        for (const batch of batchesOf(letters)) await this.#sendBatch(target, batch);
      }),
    );
    // Only now is nothing in flight any more, so that the log may be read again.
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    failpoint("replay-after-produce");
    this.#options.onSent?.(this.sent);
    if (performance.now() - this.#recordedAtMs >= RECORD_EVERY_MS) await this.#record();
  }

  async #sendBatch(target: number, batch: readonly Pending[]): Promise<void> {
    const { kafka, replay } = this.#options;
    const { sequence } = this.#targets[target]!;
    const logOffset = await kafka.produceNumbered(
      { topic: replay.request.target, partition: target },
      batch.map(({ record }) => record),
      { producerId: replay.producerId, sequence },
    );
    assert(logOffset >= this.#targets[target]!.logOffset, "a batch lies behind what was read");
    this.#note(
      target,
      batch.map(({ letter }) => letter),
      logOffset,
    );
  }

  async #record(end?: { readonly state: "done" | "abandoned"; readonly counts: Readonly<Record<string, number>> }): Promise<void> {
    const { record, replay } = this.#options;
    const sent = this.#unrecorded;
    const version = await record(this.#version, { progress: [...this.#targets], sent, ...(end === undefined ? {} : { end }) });
    // Another process has read the log since and goes on from there.
    if (version === null) throw overtaken(replay.name);
    this.#version = version;
    this.#unrecorded = [];
    this.#recordedAtMs = performance.now();
  }
}

function overtaken(name: string): OperatingError {
  return new OperatingError(`another process goes on with replay ${name}: this one stops, nothing was sent twice`, {
    code: "DLQ_REPLAY_OVERTAKEN",
    hint: "weir dlq replays",
  });
}

function letterOf(text: string, replay: string): LetterPlace | undefined {
  const [, name, partition, offset] = /^([0-9a-f]+)\/(\d+)\/(\d+)$/.exec(text) ?? [];
  return name === replay ? { partition: Number(partition), offset: Number(offset) } : undefined;
}

/** At `last` or before it. */
function isBehind(letter: LetterPlace, last: LetterPlace | null): boolean {
  return last !== null && (letter.partition < last.partition || (letter.partition === last.partition && letter.offset <= last.offset));
}

function batchesOf(letters: readonly Pending[]): Pending[][] {
  const batches: Pending[][] = [];
  let room = 0;
  for (const pending of letters) {
    const { key, value, headers = [] } = pending.record;
    const size = headers.reduce(
      (sum, [name, bytes]) => sum + 3 * name.length + bytes.length + 8,
      32 + (key?.length ?? 0) + (value?.length ?? 0),
    );
    if (size > room) {
      batches.push([]);
      room = BATCH_BYTES;
    }
    batches.at(-1)!.push(pending);
    room -= size;
  }
  return batches;
}

async function due(pacer: Pacer | undefined, stop: AbortSignal): Promise<number> {
  for (;;) {
    const count = pacer?.take(performance.now(), ROUND_LETTERS) ?? ROUND_LETTERS;
    if (count > 0 || stop.aborted) return count;
    await sleep(2, undefined, { signal: stop }).catch(() => undefined);
  }
}
