/**
 * A read_committed reader that is not our own: kafkajs. `weir verify` and the tests check us with it. Bounded: it reads each partition from its
 * start to where the last stable offset stood when the call began. That end alone comes from our own ListOffsets, since kafkajs tells only the
 * high watermark, behind which an open transaction would keep it waiting; an end too low shows as loss, one too high as a stalled reader.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Consumer, Kafka as KafkaJs } from "kafkajs";
import { TransientError } from "../../kernel/errors.ts";
import { Cluster } from "./cluster.ts";
import { type ClusterAddress, kafkaJs } from "./kafkajs-client.ts";
import { listOffset } from "./list-offset.ts";

export interface IndependentRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The first value of a repeated header. */
  readonly headers: Readonly<Record<string, Buffer>>;
}

type Visit = (record: IndependentRecord) => void;

const CLIENT_ID = "weir-independent-reader";
const STALLED_AFTER_MS = 30_000;
const JOIN_LIMIT_MS = 15_000;
const JOIN_PAUSE_MS = 200;

/** `visit` sees every committed record of the topic, in order per partition. @throws TransientError when nothing comes for 30 s. */
export async function readCommitted(address: ClusterAddress, topic: string, visit: Visit): Promise<void> {
  const client = kafkaJs(address, CLIENT_ID);
  const ends = await stableEnds(address, topic);
  if (ends.size === 0) return;
  let visited = 0;
  const counting = (record: IndependentRecord): void => {
    visited += 1;
    visit(record);
  };
  const began = performance.now();
  for (;;) {
    try {
      await readOnce(client, topic, ends, counting);
      return;
    } catch (thrown) {
      // The group's coordinator loads, or moves: kafkajs gives up on its first refusal.
      const passing = thrown instanceof Error && "retriable" in thrown && thrown.retriable === true;
      if (!passing || visited > 0 || performance.now() - began > JOIN_LIMIT_MS) throw thrown;
      await sleep(JOIN_PAUSE_MS);
    }
  }
}

async function readOnce(client: KafkaJs, topic: string, ends: ReadonlyMap<number, number>, visit: Visit): Promise<void> {
  const groupId = `${CLIENT_ID}-${randomUUID()}`;
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

/** Last stable offset by partition; only partitions that hold anything before it. */
async function stableEnds(address: ClusterAddress, topic: string): Promise<Map<number, number>> {
  const cluster = new Cluster({ ...("brokers" in address ? address : { brokers: address }), clientId: CLIENT_ID });
  const ends = new Map<number, number>();
  try {
    const partitions = await cluster.partitionCount(topic);
    for (let partition = 0; partition < partitions; partition++) {
      const at = { topic, partition };
      const offset = (where: "earliest" | "latest"): Promise<number> =>
        cluster.retry(`ends of ${topic}`, { repeatable: true }, () => listOffset(cluster, at, where, "read_committed"));
      const end = await offset("latest");
      if (end > (await offset("earliest"))) ends.set(partition, end);
    }
  } finally {
    await cluster.close();
  }
  return ends;
}

function readUntil(consumer: Consumer, ends: ReadonlyMap<number, number>, visit: Visit): Promise<void> {
  return new Promise((resolve, reject) => {
    const unread = new Set(ends.keys());
    let watch: NodeJS.Timeout | undefined;
    const alive = (): void => {
      clearTimeout(watch);
      if (unread.size === 0) return;
      watch = setTimeout(() => {
        reject(
          new TransientError(`the independent reader got nothing for ${STALLED_AFTER_MS / 1_000} s`, { code: "KAFKA_READER_STALLED" }),
        );
      }, STALLED_AFTER_MS);
    };
    const settle = (partition: number, nextOffset: number): void => {
      if (nextOffset >= (ends.get(partition) ?? 0)) unread.delete(partition);
      alive();
      if (unread.size === 0) resolve();
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
            if (Number(message.offset) >= (ends.get(batch.partition) ?? 0)) continue;
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
