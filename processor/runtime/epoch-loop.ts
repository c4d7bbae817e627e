/**
 * The steady life of a partition: fetch, fold, commit, again. One commit is in flight at most; what is fetched meanwhile is folded and its
 * outputs are held back until that commit is known to be good. An epoch therefore holds what came in during the commit before it: small when
 * quiet, large under load, without a setting.
 *
 * I1  Outputs leave only through a transaction that also carries their input position (epoch-transaction.ts).
 * I2  A transaction begins only after the one before it is known to be committed.
 * I3  A snapshot is written only after the transaction of its offset is known to be committed.
 */
import type { FetchedRecord } from "#shared/clients/kafka/types.ts";
import { encodeControl } from "#shared/events/control.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { describeError, OperatingError } from "#shared/kernel/errors.ts";
import type { TaskEvent } from "../checkpoint/state.ts";
import { neededWith } from "./enrichment-objects.ts";
import { commitEpoch } from "./epoch-transaction.ts";
import { IdleTick } from "./idle-tick.ts";
import type { InputBatch, InputLog } from "./input-log.ts";
import type { TaskOptions, TaskPorts } from "./ports.ts";
import type { Recovered } from "./recovery.ts";
import { copyOf, type SnapshotCopy, type SnapshotWriter } from "./snapshot-writer.ts";

export interface EpochContext {
  readonly ports: TaskPorts;
  readonly options: TaskOptions;
  readonly input: InputLog;
  readonly writer: SnapshotWriter;
  readonly stop: AbortSignal;
  readonly advance: (event: TaskEvent) => void;
  /** After each commit. */
  readonly committed: () => void;
}

/**
 * What may be folded behind a commit before it is waited for, bytes of input: two dozen blocks. Less, and an event that comes during a commit after
 * another one misses the next epoch and waits for two; more, and an epoch after an outage grows with the time that the one before it took.
 */
const HELD_BACK_BYTES = 1 << 20;

const TICK = new TextEncoder().encode("tick");

export class EpochLoop {
  readonly #context: EpochContext;
  readonly #session: Recovered;
  readonly #idle: IdleTick;
  /** Next input offset to fold, and to commit: the epoch in the making is what lies between. */
  #folded: number;
  #sent: number;
  #inFlight: Promise<void> | null = null;
  /** Asked of the input log and not folded yet: it outlives a commit that lands meanwhile. */
  #fetching: Promise<InputBatch> | null = null;
  #heldBackBytes = 0;
  /** A commit may be answered after its session was given up: nobody wants to know then. */
  #over = false;

  constructor(context: EpochContext, session: Recovered) {
    this.#context = context;
    this.#session = session;
    this.#idle = new IdleTick({ idleTickMs: context.options.idleTickMs, nowMs: context.ports.clock.now() });
    this.#folded = session.offset;
    this.#sent = session.offset;
  }

  /** Returns after a planned hand-over; throws what ended the session otherwise. */
  async run(): Promise<void> {
    try {
      await this.#run();
    } finally {
      this.#over = true;
    }
  }

  async #run(): Promise<void> {
    const { stop, advance } = this.#context;
    while (!stop.aborted) {
      const batch = await this.#nextBatch();
      if (batch !== null) {
        const { records, logEnd, release } = batch;
        this.#context.ports.observer?.fetched(records, logEnd);
        await this.#fold(records);
        release();
        this.#context.ports.observer?.folded();
      }
      if (this.#folded > this.#sent) {
        if (this.#heldBackBytes >= HELD_BACK_BYTES) await this.#inFlight;
        if (this.#inFlight === null) this.#send();
      } else if (batch !== null && this.#inFlight === null) await this.#maybeTick();
    }
    advance("stop");
    await this.#handOver();
    advance("handed-over");
  }

  /** null: the commit in flight has landed, and what is held back may go. One that fails ends the session now, not when input comes. */
  async #nextBatch(): Promise<InputBatch | null> {
    const fetching = (this.#fetching ??= this.#context.input.read(this.#folded));
    const batch = await (this.#inFlight === null ? fetching : Promise.race([fetching, this.#inFlight.then(() => null)]));
    if (batch !== null) this.#fetching = null;
    return batch;
  }

  async #fold(records: readonly FetchedRecord[]): Promise<void> {
    const { fold } = this.#session;
    let onlyTicks = true;
    for (const record of records) {
      const needed = neededWith(record, fold, this.#context.ports.readObject);
      if (needed === null) fold.apply(record);
      else fold.apply(record, await needed);
      this.#folded = record.offset + 1;
      this.#heldBackBytes += record.value?.length ?? 0;
      onlyTicks &&= isTick(record);
    }
    if (!onlyTicks) this.#idle.sawInput(this.#context.ports.clock.now());
  }

  /** Only when nothing is in flight (I2). */
  #send(): void {
    const { options, writer, advance, ports } = this.#context;
    const { fold, producer } = this.#session;
    const offset = this.#folded;
    const outputs = fold.takeOutputs();
    const progress = fold.progress();
    // The copy is taken at the epoch's boundary, before the next batch is folded, and waits for the commit (I3).
    const copy = writer.isDue() ? this.#copy(offset, progress) : null;
    this.#sent = offset;
    this.#heldBackBytes = 0;
    advance("epoch-sent");
    ports.observer?.sent();
    const onProduced = (): void => ports.observer?.produced();
    const inFlight = commitEpoch(producer, { outputs, offset, progress }, options, onProduced).then(() => {
      if (!this.#over) ports.observer?.committed(offset, progress);
      this.#committed(copy);
    });
    // Whoever awaits it sees the failure; a session that ended for another reason does not look.
    inFlight.catch(() => undefined);
    this.#inFlight = inFlight;
  }

  #copy(offset: number, progress: Progress): SnapshotCopy | null {
    const { observer, sealer } = this.#context.ports;
    observer?.copying();
    const copy = copyOf(this.#session.fold, sealer);
    observer?.copied();
    return copy === null ? null : { offset, progress, ...copy };
  }

  #committed(copy: SnapshotCopy | null): void {
    if (this.#over) {
      if (copy !== null) this.#context.writer.drop(copy);
      return;
    }
    this.#inFlight = null;
    this.#context.advance("committed");
    this.#context.committed();
    if (copy !== null) this.#context.writer.start(copy);
  }

  async #maybeTick(): Promise<void> {
    const { ports, options } = this.#context;
    const { kafka, clock, log } = ports;
    const { fold } = this.#session;
    const { id, partition } = options;
    const nowMs = clock.now();
    // With nothing open a tick is worth its record only where it is due: the end of a minute, once a minute.
    if (!fold.hasOpenWork && nowMs < (fold.nextDueMs ?? Infinity)) return;
    if (!this.#idle.isDue(nowMs, fold.nextDueMs)) return;
    try {
      const rawEnd = await kafka.listOffset({ topic: topicName(id.lane, "raw"), partition }, "latest", "read_uncommitted");
      // Behind it the validator is slow, not the producers silent: time must not overtake what it still holds.
      if (rawEnd === fold.progress().hw + 1) {
        await kafka.produce({ topic: topicName(id.lane, "valid"), partition }, [encodeControl({ kind: "tick", now: clock.now() })]);
      }
    } catch (thrown) {
      // Plain requests, not part of a transaction: the tick is in the log or it is not, and either is well.
      if (!(thrown instanceof OperatingError)) throw thrown;
      log.warn("tick not appended", { partition, error: describeError(thrown) });
    }
    this.#idle.ticked(clock.now());
  }

  /** Planned: what is folded is committed, and the successor finds a snapshot at the last commit. */
  async #handOver(): Promise<void> {
    const { writer, ports } = this.#context;
    await this.#inFlight;
    if (this.#folded > this.#sent) {
      this.#send();
      await this.#inFlight;
    }
    await writer.settle();
    const { fold } = this.#session;
    if (this.#sent > 0 && writer.lastOffset < this.#sent) {
      try {
        await writer.write({ offset: this.#sent, progress: fold.progress(), state: fold.snapshot(), isWhole: true });
      } catch (thrown) {
        ports.log.warn("snapshot at hand-over failed", { offset: this.#sent, error: describeError(thrown) });
      }
    }
  }
}

function isTick(record: FetchedRecord): boolean {
  return record.headers.some(
    ([key, value]) => key === HEADERS.kind && value.length === TICK.length && TICK.every((byte, i) => value[i] === byte),
  );
}
