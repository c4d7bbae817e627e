/** The {@link Kafka} of this code base: see types.ts for what it promises, docs/decisions/0002-kafka-client.md for why it exists. */
import { TransientError } from "../../kernel/errors.ts";
import { BrokerError, CODE, ConnectionLostError, brokerError } from "./broker-error.ts";
import { type Api, Cluster } from "./cluster.ts";
import { fetchFrom } from "./fetch.ts";
import { commitOffsets, fetchOffsets } from "./group-offsets.ts";
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
  Kafka,
  KafkaOptions,
  OutgoingRecord,
  TopicPartition,
  TransactionalProducer,
} from "./types.ts";
import { WireWriter } from "./wire.ts";

const LIST_OFFSETS: Api = { name: "ListOffsets", key: 2, version: 7 };
const EARLIEST = -2;
const LATEST = -1;

/** Connects to the first broker that answers. @throws UnavailableError after `unavailableAfterMs`. */
export async function openKafka(options: KafkaOptions): Promise<Kafka> {
  const cluster = new Cluster(options);
  try {
    await cluster.retry("ApiVersions", { repeatable: true }, () => cluster.transactionVersion());
  } catch (thrown) {
    await cluster.close();
    throw thrown;
  }
  return new ClusterClient(cluster);
}

class ClusterClient implements Kafka {
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

  listOffset(at: TopicPartition, where: "earliest" | "latest", isolation: Isolation): Promise<number> {
    return this.#cluster.retry(`offsets of ${at.topic}/${at.partition}`, { repeatable: true }, async () => {
      const leader = await this.#cluster.leaderOf(at.topic, at.partition);
      const body = new WireWriter().int32(-1).int8(isolation === "read_committed" ? 1 : 0);
      body.array([at], ({ topic, partition }) => {
        body.string(topic).array([partition], (index) => {
          body
            .int32(index)
            .int32(-1)
            .int64(where === "earliest" ? EARLIEST : LATEST)
            .tags();
        });
        body.tags();
      });
      body.tags();
      const { code, offset } = await this.#cluster.request(leader, LIST_OFFSETS, body.finish(), (reader) => {
        reader.int32();
        const [[answer] = []] = reader.array(() => {
          reader.string();
          const partitions = reader.array(() => {
            reader.int32();
            const partitionCode = reader.int16();
            reader.int64();
            const found = reader.int64();
            reader.int32();
            reader.tags();
            return { code: partitionCode, offset: found };
          });
          reader.tags();
          return partitions;
        });
        return answer ?? { code: CODE.unknownTopicOrPartition, offset: -1 };
      });
      if (code !== CODE.none) throw brokerError(`${at.topic}/${at.partition}`, code);
      return offset;
    });
  }

  async produce(to: TopicPartition, records: readonly OutgoingRecord[], options?: { readonly compression?: Compression }): Promise<number> {
    const batch = encodeBatch(records, {
      compression: options?.compression ?? "none",
      defaultTimestampMs: Date.now(),
      producer: NO_PRODUCER,
    });
    try {
      return await this.#cluster.retry(`produce to ${to.topic}/${to.partition}`, { repeatable: false }, async () => {
        const leader = await this.#cluster.leaderOf(to.topic, to.partition);
        const [baseOffset] = await produceTo(this.#cluster, leader, [{ to, batch }], { transactionalId: null, version: 11 });
        return baseOffset!;
      });
    } catch (thrown) {
      if (
        thrown instanceof ConnectionLostError ||
        (thrown instanceof BrokerError && thrown.brokerCode === CODE.notEnoughReplicasAfterAppend)
      ) {
        throw new TransientError(`produce to ${to.topic}/${to.partition} got no clear answer: ${thrown.message}`, {
          code: "KAFKA_PRODUCE_UNCLEAR",
          cause: thrown,
        });
      }
      throw thrown;
    }
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
