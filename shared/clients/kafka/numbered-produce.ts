/**
 * Idempotent produce (KIP-98) whose numbering outlives the process: the caller keeps the producer id and knows the next sequence from the log.
 * So a producer that was killed goes on exactly where the log ends, and what it may still have in flight is refused by the broker. Unlike a
 * transaction it leaves neither aborted records, which a read_uncommitted reader would see, nor markers, which take offsets.
 */
import { brokerError, BrokerError, CODE, ConnectionLostError } from "./broker-error.ts";
import type { Cluster } from "./cluster.ts";
import { produceTo } from "./produce.ts";
import { encodeBatch } from "./record-batch.ts";
import type { NumberedFrom, OutgoingRecord, TopicPartition } from "./types.ts";
import { WireWriter } from "./wire.ts";

const PRODUCE_VERSION = 11;
/** Appended by the leader, but not everywhere in time: the same batch again is harmless. */
const UNSURE: ReadonlySet<number> = new Set([CODE.notEnoughReplicasAfterAppend, CODE.requestTimedOut, CODE.unknownServerError]);

export function newProducerId(cluster: Cluster, near: TopicPartition): Promise<bigint> {
  return cluster.retry("a producer id", { repeatable: true }, async () => {
    const broker = await cluster.leaderOf(near.topic, near.partition);
    const body = new WireWriter().string(null).int32(0).bigint64(-1n).int16(-1).tags();
    const answer = await cluster.request(broker, { name: "InitProducerId", key: 22, version: 4 }, body.finish(), (reader) => {
      reader.int32();
      return { code: reader.int16(), producerId: reader.bigint64() };
    });
    if (answer.code !== CODE.none) throw brokerError("a producer id", answer.code);
    return answer.producerId;
  });
}

export async function produceNumbered(
  cluster: Cluster,
  to: TopicPartition,
  records: readonly OutgoingRecord[],
  { producerId, sequence }: NumberedFrom,
): Promise<number> {
  const batch = encodeBatch(records, {
    compression: "none",
    defaultTimestampMs: Date.now(),
    producer: { producerId, epoch: 0, sequence, transactional: false },
    pool: cluster.pool,
  });
  const what = `produce to ${to.topic}/${to.partition}`;
  const offset = await cluster.retry(what, { repeatable: true }, async () => {
    const leader = await cluster.leaderOf(to.topic, to.partition);
    try {
      const [baseOffset] = await produceTo(cluster, leader, [{ to, batch }], { transactionalId: null, version: PRODUCE_VERSION });
      return baseOffset!;
    } catch (thrown) {
      if (!(thrown instanceof BrokerError) || !UNSURE.has(thrown.brokerCode)) throw thrown;
      throw new ConnectionLostError(`${what} got no clear answer: ${thrown.message}`, { code: "KAFKA_PRODUCE_UNCLEAR", cause: thrown });
    }
  });
  cluster.pool.give(batch.owned);
  return offset;
}
