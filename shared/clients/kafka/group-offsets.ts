/** Offsets of consumer groups, without membership: generation -1, member ''. */
import { brokerError, CODE } from "./broker-error.ts";
import type { Api } from "./api.ts";
import type { Cluster } from "./cluster.ts";
import type { CommittedOffset, TopicPartition } from "./types.ts";
import { type WireReader, WireWriter } from "./wire.ts";

const OFFSET_COMMIT: Api = { name: "OffsetCommit", key: 8, version: 8 };
const OFFSET_FETCH: Api = { name: "OffsetFetch", key: 9, version: 7 };

/** With `requireStable` the broker answers UNSTABLE_OFFSET_COMMIT while a transaction is pending (KIP-447), which the caller's retry waits out. */
export async function fetchOffsets(
  cluster: Cluster,
  group: string,
  of: readonly TopicPartition[],
  requireStable: boolean,
): Promise<CommittedOffset[]> {
  const coordinator = await cluster.coordinatorOf("group", group);
  const body = new WireWriter().string(group);
  body.array([...Map.groupBy(of, ({ topic }) => topic)], ([topic, wanted]) => {
    body.string(topic).array(wanted, ({ partition }) => void body.int32(partition));
    body.tags();
  });
  body.boolean(requireStable).tags();
  const found = await cluster.request(coordinator, OFFSET_FETCH, body.finish(), readCommitted);
  return of.map(({ topic, partition }) => {
    const answer = found.find((one) => one.topic === topic && one.partition === partition);
    if (answer === undefined) throw brokerError(`offset of ${topic}/${partition} in group ${group}`, CODE.unknownTopicOrPartition);
    if (answer.code !== CODE.none) throw brokerError(`offset of ${topic}/${partition} in group ${group}`, answer.code);
    return { topic, partition, offset: answer.offset, metadata: answer.metadata };
  });
}

function readCommitted(reader: WireReader): (CommittedOffset & { readonly code: number })[] {
  reader.int32();
  const topics = reader.array(() => {
    const topic = reader.string();
    const partitions = reader.array(() => {
      const partition = reader.int32();
      const offset = reader.int64();
      reader.int32();
      const metadata = reader.string();
      const code = reader.int16();
      reader.tags();
      return { topic, partition, offset, metadata, code };
    });
    reader.tags();
    return partitions;
  });
  const code = reader.int16();
  if (code !== CODE.none) throw brokerError("offsets of the group", code);
  return topics.flat();
}

/** The array of topics that OffsetCommit v8 and TxnOffsetCommit v3 to v5 share. */
export function writeOffsets(body: WireWriter, offsets: readonly CommittedOffset[]): void {
  body.array([...Map.groupBy(offsets, ({ topic }) => topic)], ([topic, wanted]) => {
    body.string(topic).array(wanted, ({ partition, offset, metadata }) => {
      body.int32(partition).int64(offset).int32(-1).string(metadata).tags();
    });
    body.tags();
  });
}

/** The answer that both share: the first code that is not 0, or 0. */
export function readCommitCode(reader: WireReader): number {
  reader.int32();
  let first: number = CODE.none;
  reader.array(() => {
    reader.string();
    reader.array(() => {
      reader.int32();
      const code = reader.int16();
      reader.tags();
      if (first === CODE.none) first = code;
    });
    reader.tags();
  });
  return first;
}

export async function commitOffsets(cluster: Cluster, group: string, offsets: readonly CommittedOffset[]): Promise<void> {
  const coordinator = await cluster.coordinatorOf("group", group);
  const body = new WireWriter().string(group).int32(-1).string("").string(null);
  writeOffsets(body, offsets);
  body.tags();
  const code = await cluster.request(coordinator, OFFSET_COMMIT, body.finish(), readCommitCode);
  if (code !== CODE.none) throw brokerError(`commit of group ${group}`, code);
}
