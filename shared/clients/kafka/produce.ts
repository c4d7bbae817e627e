/** Produce: one batch to one partition, acks=all. Version 12 lets the leader add the partition to the transaction (KIP-890 part 2). */
import { brokerError, CODE } from "./broker-error.ts";
import type { Cluster } from "./cluster.ts";
import type { TopicPartition } from "./types.ts";
import { type WireReader, WireWriter } from "./wire.ts";

const ACKS_ALL = -1;
const TIMEOUT_MS = 30_000;

export async function produceTo(
  cluster: Cluster,
  leader: string,
  to: TopicPartition,
  batch: Buffer,
  options: { readonly transactionalId: string | null; readonly version: 11 | 12 },
): Promise<number> {
  const body = new WireWriter().string(options.transactionalId).int16(ACKS_ALL).int32(TIMEOUT_MS);
  body.array([to], ({ topic, partition }) => {
    body.string(topic).array([partition], (index) => void body.int32(index).bytes(batch).tags());
    body.tags();
  });
  body.tags();
  const { code, baseOffset } = await cluster.request(leader, { name: "Produce", key: 0, version: options.version }, body.finish(), readAnswer);
  if (code !== CODE.none) throw brokerError(`${to.topic}/${to.partition}`, code);
  return baseOffset;
}

function readAnswer(reader: WireReader): { readonly code: number; readonly baseOffset: number } {
  const [[answer] = []] = reader.array(() => {
    reader.string();
    const partitions = reader.array(() => {
      reader.int32();
      const code = reader.int16();
      const baseOffset = reader.int64();
      reader.int64();
      reader.int64();
      reader.array(() => {
        reader.int32();
        reader.nullableString();
        reader.tags();
      });
      reader.nullableString();
      reader.tags();
      return { code, baseOffset };
    });
    reader.tags();
    return partitions;
  });
  return answer ?? { code: CODE.unknownTopicOrPartition, baseOffset: -1 };
}
