/**
 * A read_committed reader that shares no code with our own: kafkajs. `weir verify` and the tests check us with it. Bounded: it reads each
 * partition from its start to where the last stable offset stood when the call began.
 */
import { randomUUID } from "node:crypto";
import { OperatingError, TransientError } from "../../kernel/errors.ts";
import { kafkaJs } from "./admin.ts";

export interface IndependentRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The first value of a repeated header. */
  readonly headers: Readonly<Record<string, Buffer>>;
}

const STALLED_AFTER_MS = 30_000;

/** `visit` sees every committed record of the topic, in order per partition. @throws TransientError when nothing comes for 30 s. */
export async function readCommitted(brokers: readonly string[], topic: string, visit: (record: IndependentRecord) => void): Promise<void> {
  const client = kafkaJs(brokers, "weir-independent-reader");
  const admin = client.admin();
  await admin.connect();
  let ends: Map<number, number>;
  try {
    const offsets = await admin.fetchTopicOffsets(topic).catch((thrown: unknown) => {
      throw new OperatingError(`topic ${topic} cannot be read`, { code: "KAFKA_UNKNOWN_TOPIC", cause: thrown });
    });
    ends = new Map(offsets.filter(({ high, low }) => Number(high) > Number(low)).map(({ partition, high }) => [partition, Number(high)]));
  } finally {
    await admin.disconnect();
  }
  if (ends.size === 0) return;
  const groupId = `weir-independent-${randomUUID()}`;
  const consumer = client.consumer({ groupId, readUncommitted: false, maxWaitTimeInMs: 100, sessionTimeout: 30_000 });
  try {
    await consumer.connect();
    await consumer.subscribe({ topic, fromBeginning: true });
    await readUntil(consumer, ends, visit);
  } finally {
    await consumer.disconnect();
    const cleaner = client.admin();
    await cleaner.connect();
    await cleaner.deleteGroups([groupId]).catch(() => undefined);
    await cleaner.disconnect();
  }
}

type Consumer = ReturnType<ReturnType<typeof kafkaJs>["consumer"]>;

function readUntil(consumer: Consumer, ends: Map<number, number>, visit: (record: IndependentRecord) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let watch: NodeJS.Timeout | undefined;
    const alive = (): void => {
      clearTimeout(watch);
      watch = setTimeout(() => {
        reject(
          new TransientError(`the independent reader got nothing for ${STALLED_AFTER_MS / 1_000} s`, { code: "KAFKA_READER_STALLED" }),
        );
      }, STALLED_AFTER_MS);
    };
    const settle = (partition: number, nextOffset: number): void => {
      const end = ends.get(partition);
      if (end !== undefined && nextOffset >= end) ends.delete(partition);
      if (ends.size > 0) return;
      clearTimeout(watch);
      resolve();
    };
    alive();
    consumer.on(consumer.events.CRASH, ({ payload }) => {
      clearTimeout(watch);
      reject(payload.error);
    });
    // A partition may end in control records or aborted ones: the fetch that covers them carries no message, only this event.
    consumer.on(consumer.events.END_BATCH_PROCESS, ({ payload }) => {
      settle(payload.partition, Number(payload.lastOffset) + 1);
    });
    consumer
      .run({
        autoCommit: false,
        eachBatchAutoResolve: true,
        eachBatch: async ({ batch }) => {
          alive();
          for (const message of batch.messages) {
            if (Number(message.offset) >= (ends.get(batch.partition) ?? Number.POSITIVE_INFINITY)) continue;
            const headers = Object.fromEntries(
              Object.entries(message.headers ?? {}).flatMap(([key, value]) => {
                const first = Array.isArray(value) ? value[0] : value;
                return first === undefined ? [] : [[key, Buffer.from(first)]];
              }),
            );
            visit({
              partition: batch.partition,
              offset: Number(message.offset),
              timestampMs: Number(message.timestamp),
              key: message.key,
              value: message.value,
              headers,
            });
          }
        },
      })
      .catch(reject);
  });
}
