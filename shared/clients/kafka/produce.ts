/** Produce: one batch per partition, acks=all. Version 12 lets the leader add the partitions to the transaction (KIP-890 part 2). */
import { brokerError, CODE } from "./broker-error.ts";
import type { Cluster } from "./cluster.ts";
import type { EncodedBatch } from "./record-batch.ts";
import type { TopicPartition } from "./types.ts";
import { type WireReader, WireWriter } from "./wire.ts";

const ACKS_ALL = -1;
const TIMEOUT_MS = 30_000;

export interface PartitionBatch {
  readonly to: TopicPartition;
  readonly batch: EncodedBatch;
}

/** Offset of each batch's first record, in the order given. Throws the first refusal; batches to other partitions may have been appended. */
export async function produceTo(
  cluster: Cluster,
  leader: string,
  batches: readonly PartitionBatch[],
  options: { readonly transactionalId: string | null; readonly version: 11 | 12 },
): Promise<number[]> {
  const body = new WireWriter().string(options.transactionalId).int16(ACKS_ALL).int32(TIMEOUT_MS);
  body.array([...Map.groupBy(batches, ({ to }) => to.topic)], ([topic, wanted]) => {
    body.string(topic).array(wanted, ({ to, batch }) => void body.int32(to.partition).pieces(batch.pieces, batch.sizeBytes).tags());
    body.tags();
  });
  body.tags();
  const answers = await cluster.request(leader, { name: "Produce", key: 0, version: options.version }, body.finish(), readAnswers);
  return batches.map(({ to, batch }) => {
    const where = `${to.topic}/${to.partition}`;
    const answer = answers.get(where);
    const code = answer?.code ?? CODE.unknownTopicOrPartition;
    if (answer === undefined || code !== CODE.none) throw brokerError(`batch of ${batch.sizeBytes} bytes to ${where}`, code);
    return answer.baseOffset;
  });
}

function readAnswers(reader: WireReader): Map<string, { readonly code: number; readonly baseOffset: number }> {
  const answers = new Map<string, { readonly code: number; readonly baseOffset: number }>();
  reader.array(() => {
    const topic = reader.string();
    reader.array(() => {
      const partition = reader.int32();
      const code = reader.int16();
      answers.set(`${topic}/${partition}`, { code, baseOffset: reader.int64() });
      reader.int64();
      reader.int64();
      reader.array(() => {
        reader.int32();
        reader.nullableString();
        reader.tags();
      });
      reader.nullableString();
      reader.tags();
    });
    reader.tags();
  });
  return answers;
}
