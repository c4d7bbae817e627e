/**
 * Reads one output partition (read_committed) into one store, in order, exactly once.
 *
 * Owns: the position. A store says after each delivery up to where everything is durable in it; only then the position is committed, so a
 * crash anywhere delivers again, and the store recognises what it has (token, mark or key).
 * I1 Rows are delivered in order of oseq without a gap: what was delivered before is dropped, a gap stops the sink (it would be loss).
 * I2 While the store is down the sink waits in place, with back-off: it drops nothing and holds at most one fetch and one cut in memory.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import {
  CorruptStateError,
  OperatingError,
  TransientError,
  UnavailableError,
  UnknownOutcomeError,
  toError,
} from "#shared/kernel/errors.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import { type OutputRecord, toOutputRecord } from "./output-record.ts";

/** Where to go on: the offset of the next record, and the last row before it. */
export interface SinkPosition {
  readonly offset: number;
  /** {@link ANY_ROW} where someone else has set the offset. */
  readonly oseq: number;
}

/** The next record may begin with any row: the log decides. */
export const ANY_ROW = -1;

/** For a store that takes any grouping of rows: the broker gathers them for a while, since ClickHouse suffers from many small inserts. */
export const GATHERED = { minBytes: 1 << 20, maxWaitMs: 1_000 } as const;

export interface SinkStore {
  /** How long the broker may gather records. Default: not at all. */
  readonly fetch?: { readonly minBytes: number; readonly maxWaitMs: number };
  /** Where `resume` says "from the beginning", records that the log took longer ago than this are needless. Default: none are. */
  readonly horizonMs?: number;
  /**
   * Before the first delivery and after every failure: forgets what was delivered but is not durable, and may move the position back (a store
   * that lost data), forward (one that knows by itself how far it is) or keep it. `null` = from the beginning of the topic.
   */
  resume(position: SinkPosition | null): Promise<SinkPosition | null>;
  /**
   * Takes the next records. Returns the last position up to which all is durable, or null if that has not moved. Throws TransientError,
   * UnavailableError, UnknownOutcomeError or {@link ReplayNeededError} to be resumed and served again.
   */
  deliver(records: readonly OutputRecord[]): Promise<SinkPosition | null>;
}

/** The store has less than it said: start again from {@link SinkStore.resume}. */
export class ReplayNeededError extends OperatingError {}

export interface PartitionSinkOptions {
  readonly kafka: Kafka;
  readonly group: string;
  /** Generations share the topics but number their rows from 1 each: records of another one are passed over. */
  readonly generation: number;
  readonly from: TopicPartition;
  readonly store: SinkStore;
  readonly log: Logger;
  readonly stop: AbortSignal;
}

const PAUSE_FROM_MS = 50;
const PAUSE_UP_TO_MS = 5_000;
const FETCH_AT_ONCE = { minBytes: 1, maxWaitMs: 500 } as const;

/** Runs until `stop`. Throws only what a human must look at. */
export async function runPartitionSink(options: PartitionSinkOptions): Promise<void> {
  const { from, log, stop } = options;
  const where = `${from.topic}/${from.partition}`;
  let pauseMs = PAUSE_FROM_MS;
  while (!stop.aborted) {
    try {
      for await (const _ of deliveries(options, where)) pauseMs = PAUSE_FROM_MS;
    } catch (thrown) {
      if (stop.aborted) return;
      if (!isPassing(thrown)) throw thrown;
      log.warn("sink waits for its store", { from: where, error: toError(thrown).message, pauseMs });
      await sleep(pauseMs, undefined, { signal: stop }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, PAUSE_UP_TO_MS);
    }
  }
}

function isPassing(thrown: unknown): boolean {
  return (
    thrown instanceof TransientError ||
    thrown instanceof UnavailableError ||
    thrown instanceof UnknownOutcomeError ||
    thrown instanceof ReplayNeededError
  );
}

/** One life of the loop: resume, then fetch and deliver until something fails. Yields after each delivery. */
async function* deliveries({ kafka, group, generation, from, store, stop }: PartitionSinkOptions, where: string): AsyncGenerator<void> {
  const committed = await committedPosition(kafka, group, from);
  const start = await store.resume(committed);
  const commit = (durable: SinkPosition): Promise<void> =>
    kafka.commitOffsets(group, [{ ...from, offset: durable.offset, metadata: JSON.stringify({ oseq: durable.oseq }) }]);
  // A store that knows by itself how far it is may be ahead of what was committed when the sink died.
  if (start !== null && start.offset > (committed?.offset ?? -1)) await commit(start);
  let offset = start?.offset ?? (await beginningOf(kafka, from, store.horizonMs));
  let oseq = start?.oseq ?? ANY_ROW;
  while (!stop.aborted) {
    const [fetched] = await kafka.fetch([{ ...from, offset }], { isolation: "read_committed", ...(store.fetch ?? FETCH_AT_ONCE) });
    if (fetched === undefined) continue;
    const fresh: OutputRecord[] = [];
    for (const record of fetched.records) {
      const output = toOutputRecord(record, where);
      if (output.generation !== generation) continue;
      // Without a position the log may begin anywhere: retention has cut it.
      if (oseq === ANY_ROW) oseq = output.oseq - 1;
      const last = output.oseq + output.count - 1;
      if (output.count > 0 && last <= oseq) continue;
      if (output.oseq !== oseq + 1) throw gap(where, output, oseq);
      oseq = last;
      fresh.push(output);
    }
    offset = fetched.nextOffset;
    if (fresh.length === 0) continue;
    const durable = await store.deliver(fresh);
    if (durable !== null) await commit(durable);
    yield;
  }
}

async function beginningOf(kafka: Kafka, from: TopicPartition, horizonMs: number | undefined): Promise<number> {
  if (horizonMs === undefined) return kafka.listOffset(from, "earliest", "read_committed");
  // Asked first: a record that comes between the two questions must not be passed over.
  const end = await kafka.listOffset(from, "latest", "read_committed");
  const offset = await kafka.listOffset(from, Date.now() - horizonMs, "read_committed");
  return offset < 0 ? end : offset;
}

function gap(where: string, record: OutputRecord, oseq: number): CorruptStateError {
  return new CorruptStateError(`${where} goes from row ${oseq} to row ${record.oseq} at offset ${record.offset}`, {
    code: "OUTPUT_GAP",
    hint: "rows are missing in the committed log: run weir verify, and start the sink from a position that exists",
  });
}

async function committedPosition(kafka: Kafka, group: string, from: TopicPartition): Promise<SinkPosition | null> {
  const [committed] = await kafka.committedOffsets(group, [from], { requireStable: false });
  if (committed === undefined || committed.offset < 0) return null;
  // An operator's tool that moves an offset leaves no metadata, or its own.
  const oseq = /^\{"oseq":(\d+)\}$/.exec(committed.metadata)?.[1];
  return { offset: committed.offset, oseq: oseq === undefined ? ANY_ROW : Number(oseq) };
}
