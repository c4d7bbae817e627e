/** ListOffsets v7. */
import type { Api } from "./api.ts";
import { brokerError, CODE } from "./broker-error.ts";
import type { Cluster } from "./cluster.ts";
import type { Isolation, OffsetPlace, TopicPartition } from "./types.ts";
import { type WireReader, WireWriter } from "./wire.ts";

const LIST_OFFSETS: Api = { name: "ListOffsets", key: 2, version: 7 };
/** Stand in for a timestamp. */
const WHERE = { earliest: -2, latest: -1 } as const;

export async function listOffset(cluster: Cluster, at: TopicPartition, where: OffsetPlace, isolation: Isolation): Promise<number> {
  const leader = await cluster.leaderOf(at.topic, at.partition);
  const body = new WireWriter().int32(-1).int8(isolation === "read_committed" ? 1 : 0);
  body.array([at], ({ topic, partition }) => {
    body.string(topic).array([partition], (index) => {
      body
        .int32(index)
        .int32(-1)
        .int64(typeof where === "number" ? where : WHERE[where]);
      body.tags();
    });
    body.tags();
  });
  const { code, offset } = await cluster.request(leader, LIST_OFFSETS, body.tags().finish(), readAnswer);
  if (code !== CODE.none) throw brokerError(`${at.topic}/${at.partition}`, code);
  return offset;
}

function readAnswer(reader: WireReader): { readonly code: number; readonly offset: number } {
  reader.int32();
  const topics = reader.array(() => {
    reader.string();
    const partitions = reader.array(() => {
      reader.int32();
      const code = reader.int16();
      reader.int64();
      const offset = reader.int64();
      reader.int32();
      reader.tags();
      return { code, offset };
    });
    reader.tags();
    return partitions;
  });
  return topics[0]?.[0] ?? { code: CODE.unknownTopicOrPartition, offset: -1 };
}
