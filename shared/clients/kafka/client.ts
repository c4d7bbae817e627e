/** The {@link Kafka} of this code base: see types.ts for what it promises, docs/decisions/0002-kafka-client.md for why it exists. */
import { TransientError } from "../../kernel/errors.ts";
import { BrokerError, CODE, ConnectionLostError } from "./broker-error.ts";
import { Cluster } from "./cluster.ts";
import { fetchFrom } from "./fetch.ts";
import { commitOffsets, fetchOffsets } from "./group-offsets.ts";
import { listOffset } from "./list-offset.ts";
import { newProducerId, produceNumbered } from "./numbered-produce.ts";
import { produceTo } from "./produce.ts";
import { NO_PRODUCER, encodeBatch } from "./record-batch.ts";
import { openProducer } from "./transactional-producer.ts";
import type {
  CommittedOffset,
  Compression,
  FetchedPartition,
  FetchOptions,
  FetchRequest,
  Isolation,
  KafkaOptions,
  NumberedFrom,
  NumberedKafka,
  OffsetPlace,
  OutgoingRecord,
  TopicPartition,
  TransactionalProducer,
} from "./types.ts";

const PRODUCE_VERSION = 11;
const MAYBE_APPENDED: ReadonlySet<number> = new Set([CODE.notEnoughReplicasAfterAppend, CODE.requestTimedOut, CODE.unknownServerError]);

/** Connects to the first broker that answers. @throws UnavailableError after `unavailableAfterMs`. */
export async function openKafka(options: KafkaOptions): Promise<NumberedKafka> {
  const cluster = new Cluster(options);
  try {
    await cluster.retry("ApiVersions", { repeatable: true }, () => cluster.transactionVersion());
  } catch (thrown) {
    await cluster.close();
    throw thrown;
  }
  return new ClusterClient(cluster);
}

class ClusterClient implements NumberedKafka {
  readonly #cluster: Cluster;

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  partitionCount(topic: string): Promise<number> {
    return this.#cluster.partitionCount(topic);
  }

  fetch(requests: readonly FetchRequest[], options: FetchOptions): Promise<FetchedPartition[]> {
    return this.#cluster.retry("fetch", { repeatable: true }, () => fetchFrom(this.#cluster, requests, options));
  }

  listOffset(at: TopicPartition, where: OffsetPlace, isolation: Isolation): Promise<number> {
    return this.#cluster.retry(`offsets of ${at.topic}/${at.partition}`, { repeatable: true }, () =>
      listOffset(this.#cluster, at, where, isolation),
    );
  }

  async produce(to: TopicPartition, records: readonly OutgoingRecord[], options?: { readonly compression?: Compression }): Promise<number> {
    const batch = encodeBatch(records, {
      compression: options?.compression ?? "none",
      defaultTimestampMs: Date.now(),
      producer: NO_PRODUCER,
      pool: this.#cluster.pool,
    });
    const what = `produce to ${to.topic}/${to.partition}`;
    try {
      return await this.#cluster.retry(what, { repeatable: false }, async () => {
        const leader = await this.#cluster.leaderOf(to.topic, to.partition);
        const [baseOffset] = await produceTo(this.#cluster, leader, [{ to, batch }], { transactionalId: null, version: PRODUCE_VERSION });
        this.#cluster.pool.give(batch.owned);
        return baseOffset!;
      });
    } catch (thrown) {
      if (!(thrown instanceof ConnectionLostError) && !(thrown instanceof BrokerError && MAYBE_APPENDED.has(thrown.brokerCode)))
        throw thrown;
      this.#cluster.forget();
      throw new TransientError(`${what} got no clear answer: ${thrown.message}`, { code: "KAFKA_PRODUCE_UNCLEAR", cause: thrown });
    }
  }

  newProducerId(near: TopicPartition): Promise<bigint> {
    return newProducerId(this.#cluster, near);
  }

  produceNumbered(to: TopicPartition, records: readonly OutgoingRecord[], from: NumberedFrom): Promise<number> {
    return produceNumbered(this.#cluster, to, records, from);
  }

  committedOffsets(group: string, of: readonly TopicPartition[], options: { readonly requireStable: boolean }): Promise<CommittedOffset[]> {
    return this.#cluster.retry(`offsets of group ${group}`, { repeatable: true }, () =>
      fetchOffsets(this.#cluster, group, of, options.requireStable),
    );
  }

  commitOffsets(group: string, offsets: readonly CommittedOffset[]): Promise<void> {
    return this.#cluster.retry(`commit of group ${group}`, { repeatable: true }, () => commitOffsets(this.#cluster, group, offsets));
  }

  initProducer(transactionalId: string, options: { readonly transactionTimeoutMs: number }): Promise<TransactionalProducer> {
    return openProducer(this.#cluster, transactionalId, options.transactionTimeoutMs);
  }

  close(): Promise<void> {
    return this.#cluster.close();
  }
}
