/**
 * Reads all partitions of metrics.partials and writes each minute once, when all have passed it (docs/specs/second-stage.md). It keeps no snapshot: the
 * committed positions are the oldest records that an open minute needs. Crash-only: whatever fails, the session is thrown away and read again.
 */
import type { CommittedOffset, FetchedRecord, OutgoingRecord, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, type PipelineId, secondStageTransactionalId, topicName } from "#shared/events/names.ts";
import { decodePartial } from "#shared/events/partials.ts";
import { CorruptStateError, describeError, OperatingError, toError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { backOffMs, failureEvent } from "../checkpoint/failure.ts";
import { findLastOutput } from "../runtime/last-output.ts";
import type { TaskPorts } from "../runtime/ports.ts";
import { type ClosedMinute, MinuteMerge } from "./minute-merge.ts";
import { minuteRecords } from "./minute-output.ts";
import { decodeStagePosition, encodeStagePosition } from "./stage-position.ts";

export interface SecondStageOptions {
  readonly id: PipelineId;
  readonly partitions: number;
  readonly transactionTimeoutMs: number;
  /** How long a fetch waits for input. Default 500. */
  readonly fetchWaitMs?: number;
}

export type SecondStagePorts = Pick<TaskPorts, "kafka" | "clock" | "log" | "mayFence">;

export type SecondStageEnd = { readonly kind: "stopped" } | { readonly kind: "fenced" | "failed"; readonly error: Error };

/** A minute is some kilobytes; a catch-up of a day is not one transaction. */
const MINUTES_PER_COMMIT = 60;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class SecondStage {
  readonly #ports: SecondStagePorts;
  readonly #options: SecondStageOptions;
  /** Since the last commit. */
  #failures = 0;
  #hasRun = false;

  constructor(ports: SecondStagePorts, options: SecondStageOptions) {
    this.#ports = ports;
    this.#options = options;
  }

  /** Never throws. */
  async run(stop: AbortSignal): Promise<SecondStageEnd> {
    while (!stop.aborted) {
      try {
        await this.#session(stop);
      } catch (thrown) {
        const error = toError(thrown);
        this.#failures += 1;
        const event = failureEvent(error, { failures: this.#failures, hasRun: this.#hasRun });
        if (event === "fenced-out") return { kind: "fenced", error };
        if (event === "broke") return { kind: "failed", error };
        const pauseMs = backOffMs(this.#failures);
        this.#ports.log.warn("second stage lost its session", { error: describeError(error), failures: this.#failures, pauseMs });
        await this.#ports.clock.sleep(pauseMs, stop);
      }
    }
    return { kind: "stopped" };
  }

  async #session(stop: AbortSignal): Promise<void> {
    const { kafka, log } = this.#ports;
    await this.#ports.mayFence?.();
    if (stop.aborted) return;
    const { transactionTimeoutMs, id } = this.#options;
    const producer = await kafka.initProducer(secondStageTransactionalId(id), { transactionTimeoutMs });
    const { merge, oseq } = await this.#recover();
    this.#hasRun = true;
    log.info("second stage runs", { closedMs: merge.closedMs, oseq });
    let emitted = oseq;
    while (!stop.aborted) {
      await this.#read(merge);
      for (;;) {
        const dueMs = await this.#dueMs(merge);
        if (dueMs <= merge.closedMs || stop.aborted) break;
        emitted = await this.#commit(producer, merge, dueMs, emitted);
      }
    }
  }

  async #recover(): Promise<{ merge: MinuteMerge; oseq: number }> {
    const { kafka } = this.#ports;
    const { id } = this.#options;
    const at = this.#partials();
    const committed = await kafka.committedOffsets(groupId(id, "second-stage"), at, { requireStable: true });
    const places = at.map(({ partition }) => committed.find((one) => one.partition === partition));
    if (places.every((place) => place === undefined || place.offset < 0)) {
      await this.#refuseOutputsWithoutPosition();
      const starts = await Promise.all(at.map((one) => kafka.listOffset(one, "earliest", "read_committed")));
      const partitions = starts.map((offset) => ({ markMs: -Infinity, offset }));
      return { merge: new MinuteMerge({ closedMs: -Infinity, partitions }), oseq: 0 };
    }
    const positions = places.map((place, partition) => decodeStagePosition(place, partition));
    const { closedMs, oseq } = positions[0]!;
    if (positions.some((position) => position.closedMs !== closedMs || position.oseq !== oseq)) throw foreignPosition("do not agree");
    const partitions = positions.map(({ markMs, offset }) => ({ markMs, offset }));
    return { merge: new MinuteMerge({ closedMs, partitions }), oseq };
  }

  async #refuseOutputsWithoutPosition(): Promise<void> {
    const { id } = this.#options;
    const generation = String(id.generation);
    const at = { topic: topicName(id.lane, "minutes"), partition: 0 };
    const last = await findLastOutput(this.#ports.kafka, at, (headers) => headers.get(HEADERS.generation) === generation);
    if (last !== null) throw foreignPosition("are gone, but minutes were written");
  }

  async #read(merge: MinuteMerge): Promise<void> {
    const { fetchWaitMs: maxWaitMs = 500 } = this.#options;
    const requests = this.#partials().map(({ topic, partition }) => ({ topic, partition, offset: merge.offset(partition) }));
    for (const answer of await this.#ports.kafka.fetch(requests, { isolation: "read_committed", maxWaitMs })) {
      for (const record of answer.records) merge.add(answer.partition, this.#partial(record, answer.partition));
      merge.skipTo(answer.partition, answer.nextOffset);
    }
  }

  /** Records of another generation have marks of another log: they are passed. */
  #partial(record: FetchedRecord, partition: number): Parameters<MinuteMerge["add"]>[1] {
    const texts = new Map(record.headers.map(([key, value]) => [key, decoder.decode(value)]));
    const { offset, value } = record;
    if (texts.get(HEADERS.generation) !== String(this.#options.id.generation)) return { offset, markMs: -Infinity, cells: null };
    const markMs = Number(texts.get(HEADERS.mark));
    if (!Number.isSafeInteger(markMs)) {
      throw new CorruptStateError(`record ${offset} of metrics.partials, partition ${partition}, has no mark`, {
        code: "PARTIAL_STRANGE",
        hint: "see who else writes to this topic: only the processor may",
      });
    }
    return { offset, markMs, cells: value === null ? null : decodePartial(value) };
  }

  /**
   * A partition without any event has no mark and never gets one. Asked after the others' marks are known: what is appended to it later has a log time
   * behind them, so no closed minute misses it.
   */
  async #dueMs(merge: MinuteMerge): Promise<number> {
    const silent = merge.silent();
    if (merge.dueMs(new Set(silent)) <= merge.closedMs) return merge.closedMs;
    const empty = new Set<number>();
    for (const partition of silent) {
      const at = { topic: topicName(this.#options.id.lane, "valid"), partition };
      if ((await this.#ports.kafka.listOffset(at, "latest", "read_uncommitted")) === 0) empty.add(partition);
    }
    const dueMs = merge.dueMs(empty);
    const first = merge.oldestMs();
    return Math.min(dueMs, Math.max(first, merge.closedMs) + MINUTES_PER_COMMIT * 60_000);
  }

  /** One transaction: the minutes and the positions behind them. @returns the last oseq used. */
  async #commit(producer: TransactionalProducer, merge: MinuteMerge, dueMs: number, oseq: number): Promise<number> {
    const { id } = this.#options;
    const minutes = merge.close(dueMs);
    const { records, last } = outgoing(minutes, id.generation, oseq);
    failpoint("before-produce");
    for (const record of records) await producer.send({ topic: topicName(id.lane, "minutes"), partition: 0 }, [record]);
    const offsets = merge.marks().map(({ markMs, offset }, partition): CommittedOffset => ({
      topic: topicName(id.lane, "partials"),
      partition,
      offset,
      metadata: encodeStagePosition({ closedMs: merge.closedMs, markMs, oseq: last }),
    }));
    await producer.commitOffsets(groupId(id, "second-stage"), offsets);
    failpoint("before-commit");
    await producer.commit();
    failpoint("after-commit");
    this.#failures = 0;
    const { closedMs } = merge;
    const facts = { minutes: minutes.length, rows: last - oseq, closedMs, lagMs: this.#ports.clock.now() - closedMs };
    this.#ports.log.info("minutes closed", facts);
    return last;
  }

  #partials(): { topic: string; partition: number }[] {
    const topic = topicName(this.#options.id.lane, "partials");
    return Array.from({ length: this.#options.partitions }, (_, partition) => ({ topic, partition }));
  }
}

function outgoing(
  minutes: readonly ClosedMinute[],
  generation: number,
  oseq: number,
): { readonly records: OutgoingRecord[]; readonly last: number } {
  let last = oseq;
  const number = (key: string, value: number): readonly [string, Uint8Array] => [key, encoder.encode(String(value))];
  const records = minutes.flatMap(minuteRecords).map(({ kind, rows, value }): OutgoingRecord => {
    const headers = [
      number(HEADERS.generation, generation),
      number(HEADERS.partition, 0),
      number(HEADERS.oseq, last + 1),
      number(HEADERS.count, rows),
      [HEADERS.kind, encoder.encode(kind)] as const,
    ];
    last += rows;
    return { key: null, value, headers };
  });
  return { records, last };
}

function foreignPosition(problem: string): OperatingError {
  return new OperatingError(`the positions of the second stage ${problem}`, {
    code: "SECOND_STAGE_POSITION",
    hint: "begin a new generation, or give the group the positions of its last commit back from a backup",
  });
}
