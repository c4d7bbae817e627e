/**
 * One partition, batch by batch, by the reader that is not our own (kafkajs, read_committed): the next batch is fetched when the last one was taken,
 * so a recount of any size holds a few batches. Ends where the last stable offset stood when the stream was opened; that end comes from our own
 * ListOffsets, as in independent-reader.ts, and so does the start.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import kafkajs, { type Consumer, type PartitionAssigner } from "kafkajs";
import { toError, TransientError } from "../../kernel/errors.ts";
import { Cluster } from "./cluster.ts";
import type { IndependentRecord } from "./independent-reader.ts";
import { type ClusterAddress, kafkaJs } from "./kafkajs-client.ts";
import { listOffset } from "./list-offset.ts";

const CLIENT_ID = "weir-independent-stream";
const STALLED_AFTER_MS = 30_000;
const SESSION_MS = 30_000;
const HEARTBEAT_EVERY_MS = 3_000;
const JOIN_LIMIT_MS = 15_000;
const JOIN_PAUSE_MS = 200;
const BATCH_BYTES = 1 << 20;

interface Batch {
  readonly records: readonly IndependentRecord[];
  readonly taken: () => void;
}

export interface StreamPlace {
  readonly topic: string;
  readonly partition: number;
  /** Default: the beginning. Below the log's start counts as the start. */
  readonly fromOffset?: number;
}

export class IndependentStream {
  /** First offset that is read, and the last stable offset. */
  readonly start: number;
  readonly end: number;
  readonly #place: StreamPlace;
  readonly #address: ClusterAddress;
  readonly #groupId = `${CLIENT_ID}-${randomUUID()}`;
  #consumer: Consumer | undefined;
  #isEnded: boolean;
  #failure: Error | undefined;
  #waiting: Batch | undefined;
  #wake: () => void = () => undefined;
  /** Next offset that is new: a reader that starts over after a rebalance shows nothing twice. */
  #next: number;

  private constructor(address: ClusterAddress, place: StreamPlace, start: number, end: number) {
    this.#address = address;
    this.#place = place;
    this.start = start;
    this.end = end;
    this.#next = start;
    this.#isEnded = start >= end;
  }

  static async open(address: ClusterAddress, place: StreamPlace): Promise<IndependentStream> {
    const cluster = new Cluster({ ...("brokers" in address ? address : { brokers: address }), clientId: CLIENT_ID });
    try {
      const offset = (where: "earliest" | "latest"): Promise<number> =>
        cluster.retry(`ends of ${place.topic}`, { repeatable: true }, () => listOffset(cluster, place, where, "read_committed"));
      const [earliest, end] = await Promise.all([offset("earliest"), offset("latest")]);
      const stream = new IndependentStream(address, place, Math.max(earliest, place.fromOffset ?? 0), end);
      if (!stream.#isEnded) await stream.#begin();
      return stream;
    } finally {
      await cluster.close();
    }
  }

  /** Null: the end. @throws TransientError when nothing comes for 30 s. */
  async next(): Promise<readonly IndependentRecord[] | null> {
    const began = performance.now();
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#waiting !== undefined) {
        const { records, taken } = this.#waiting;
        this.#waiting = undefined;
        taken();
        return records;
      }
      if (this.#isEnded) return null;
      if (performance.now() - began > STALLED_AFTER_MS) {
        const { topic, partition } = this.#place;
        throw new TransientError(`the independent reader got nothing of ${topic}/${partition} for ${STALLED_AFTER_MS / 1_000} s`, {
          code: "KAFKA_READER_STALLED",
        });
      }
      await this.#woken();
    }
  }

  async close(): Promise<void> {
    this.#isEnded = true;
    this.#waiting?.taken();
    const consumer = this.#consumer;
    if (consumer === undefined) return;
    await consumer.disconnect();
    const cleaner = kafkaJs(this.#address, CLIENT_ID).admin();
    await cleaner.connect();
    await cleaner.deleteGroups([this.#groupId]).catch(() => undefined);
    await cleaner.disconnect();
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, HEARTBEAT_EVERY_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #begin(): Promise<void> {
    const began = performance.now();
    for (;;) {
      try {
        await this.#join();
        return;
      } catch (thrown) {
        // The group's coordinator loads, or moves: kafkajs gives up on its first refusal.
        const passing = thrown instanceof Error && "retriable" in thrown && thrown.retriable === true;
        if (!passing || performance.now() - began > JOIN_LIMIT_MS) throw thrown;
        await this.#consumer?.disconnect();
        await sleep(JOIN_PAUSE_MS);
      }
    }
  }

  async #join(): Promise<void> {
    const { topic, partition } = this.#place;
    const consumer = kafkaJs(this.#address, CLIENT_ID).consumer({
      groupId: this.#groupId,
      readUncommitted: false,
      maxWaitTimeInMs: 100,
      sessionTimeout: SESSION_MS,
      maxBytesPerPartition: BATCH_BYTES,
      partitionAssigners: [onlyPartition(topic, partition)],
    });
    this.#consumer = consumer;
    await consumer.connect();
    await consumer.subscribe({ topics: [topic], fromBeginning: true });
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      // With restart it comes back by itself, from the beginning, and what was shown is passed over.
      if (!payload.restart) this.#fail(payload.error);
    });
    // A partition may end in control records or aborted ones: the fetch that covers them carries no message, only this event.
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => this.#reached(Number(payload.lastOffset) + 1));
    await consumer.run({
      autoCommit: false,
      eachBatchAutoResolve: true,
      eachBatch: async (payload) => {
        const { batch } = payload;
        const records = batch.messages
          .filter(({ offset }) => Number(offset) >= this.#next && Number(offset) < this.end)
          .map((message): IndependentRecord => {
            const headers = Object.fromEntries(
              Object.entries(message.headers ?? {}).flatMap(([key, value]) => {
                const first = Array.isArray(value) ? value[0] : value;
                return first === undefined ? [] : [[key, Buffer.from(first)]];
              }),
            );
            const { key, value } = message;
            return { partition, offset: Number(message.offset), timestampMs: Number(message.timestamp), key, value, headers };
          });
        if (records.length > 0 && !this.#isEnded) await this.#hand(records, () => payload.heartbeat());
        this.#reached(Number(batch.lastOffset()) + 1);
      },
    });
    if (this.start > 0) consumer.seek({ topic, partition, offset: String(this.start) });
  }

  /** Waits until the batch was taken; a member that waits long must be heard of meanwhile. */
  async #hand(records: readonly IndependentRecord[], heartbeat: () => Promise<void>): Promise<void> {
    let isTaken = false;
    let taken: () => void = () => undefined;
    const whenTaken = new Promise<void>((resolve) => {
      taken = () => {
        isTaken = true;
        resolve();
      };
    });
    this.#next = records.at(-1)!.offset + 1;
    this.#waiting = { records, taken };
    this.#wake();
    const beat = setInterval(() => void heartbeat().catch(() => undefined), HEARTBEAT_EVERY_MS);
    try {
      if (!isTaken) await whenTaken;
    } finally {
      clearInterval(beat);
    }
  }

  #reached(nextOffset: number): void {
    if (nextOffset < this.end) return;
    this.#isEnded = true;
    this.#wake();
  }

  #fail(error: unknown): void {
    this.#failure = toError(error);
    this.#wake();
  }
}

/** Alone in its group, the reader is given this one partition instead of all. */
function onlyPartition(topic: string, partition: number): PartitionAssigner {
  const { MemberAssignment, MemberMetadata } = kafkajs.AssignerProtocol;
  return () => ({
    name: "weir-one",
    version: 1,
    assign: ({ members }) =>
      Promise.resolve(
        members.map(({ memberId }, i) => ({
          memberId,
          memberAssignment: MemberAssignment.encode({
            version: 1,
            assignment: i === 0 ? { [topic]: [partition] } : {},
            userData: Buffer.alloc(0),
          }),
        })),
      ),
    protocol: ({ topics }) => ({
      name: "weir-one",
      metadata: MemberMetadata.encode({ version: 1, topics, userData: Buffer.alloc(0) }),
    }),
  });
}
