/** Who holds a partition's last stable offset back: DescribeProducers v0 (KIP-664), answered by the partition's leader. */
import type { Api } from "./api.ts";
import { brokerError, CODE } from "./broker-error.ts";
import { Cluster } from "./cluster.ts";
import type { KafkaOptions, TopicPartition } from "./types.ts";
import { WireWriter } from "./wire.ts";

const DESCRIBE_PRODUCERS: Api = { name: "DescribeProducers", key: 61, version: 0 };

export interface OpenTransaction {
  readonly producerId: number;
  readonly epoch: number;
  readonly startOffset: number;
  /** Epoch milliseconds of its last record in this partition. */
  readonly lastWriteMs: number;
}

export async function openTransactions(options: KafkaOptions, at: TopicPartition): Promise<OpenTransaction[]> {
  const cluster = new Cluster(options);
  try {
    return await cluster.retry(`producers of ${at.topic}/${at.partition}`, { repeatable: true }, async () => {
      const body = new WireWriter();
      body.array([at], ({ topic, partition }) => {
        body.string(topic).array([partition], (index) => void body.int32(index));
        body.tags();
      });
      const leader = await cluster.leaderOf(at.topic, at.partition);
      const { code, open } = await cluster.request(leader, DESCRIBE_PRODUCERS, body.tags().finish(), (reader) => {
        reader.int32();
        const topics = reader.array(() => {
          reader.string();
          const partitions = reader.array(() => {
            reader.int32();
            const partitionCode = reader.int16();
            reader.nullableString();
            const producers = reader.array((): OpenTransaction => {
              const producerId = reader.int64();
              const epoch = reader.int32();
              reader.int32();
              const lastWriteMs = reader.int64();
              reader.int32();
              const startOffset = reader.int64();
              reader.tags();
              return { producerId, epoch, startOffset, lastWriteMs };
            });
            reader.tags();
            return { code: partitionCode, open: producers.filter(({ startOffset }) => startOffset >= 0) };
          });
          reader.tags();
          return partitions;
        });
        return topics[0]?.[0] ?? { code: CODE.unknownTopicOrPartition, open: [] };
      });
      if (code !== CODE.none) throw brokerError(`${at.topic}/${at.partition}`, code);
      return open;
    });
  } finally {
    await cluster.close();
  }
}
