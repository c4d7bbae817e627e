/** How far each partition is: end of events.raw, the validator's committed offset, the processor's committed progress. */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";

export interface PartitionProgress {
  readonly partition: number;
  readonly rawStart: number;
  readonly rawEnd: number;
  /** Next offset of events.raw that the validator gets; -1 = none committed. */
  readonly validated: number;
  /** Null: the processor has not committed anything yet. */
  readonly progress: Progress | null;
}

export async function readProgress(kafka: Kafka, config: Config): Promise<PartitionProgress[]> {
  const raw = topicName(config.lane, "raw");
  const count = await kafka.partitionCount(raw);
  const at = (topic: string) => Array.from({ length: count }, (_, partition) => ({ topic, partition }));
  const [starts, ends, validated, folded] = await Promise.all([
    Promise.all(at(raw).map((each) => kafka.listOffset(each, "earliest", "read_committed"))),
    Promise.all(at(raw).map((each) => kafka.listOffset(each, "latest", "read_committed"))),
    kafka.committedOffsets(groupId(config, "validator"), at(raw), { requireStable: false }),
    kafka.committedOffsets(groupId(config, "processor"), at(topicName(config.lane, "valid")), { requireStable: true }),
  ]);
  return at(raw).map(({ partition }) => {
    const metadata = folded.find((commit) => commit.partition === partition)?.metadata ?? "";
    return {
      partition,
      rawStart: starts[partition]!,
      rawEnd: ends[partition]!,
      validated: validated.find((commit) => commit.partition === partition)?.offset ?? -1,
      progress: metadata === "" ? null : (JSON.parse(metadata) as Progress),
    };
  });
}
