/** The processor's position as a stranger sees it: the progress that its last transaction committed. */
import { parseProgress } from "#processor/checkpoint/progress-text.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { groupId, type PipelineId, topicName } from "#shared/events/names.ts";
import type { LedgerCounts, Progress } from "#shared/events/progress.ts";

/** By partition; those without a commit are left out. */
export async function readProgress(kafka: Kafka, id: PipelineId, partitions: number): Promise<Progress[]> {
  const topic = topicName(id.lane, "valid");
  const places = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
  const commits = await kafka.committedOffsets(groupId(id, "processor"), places, { requireStable: true });
  return commits.flatMap(({ metadata }) => parseProgress(metadata) ?? []);
}

export function sumCounts(progress: readonly Progress[]): LedgerCounts {
  const sum = { raw: 0, clean: 0, deadLettered: 0, duplicate: 0, late: 0, redelivered: 0 };
  for (const { counts } of progress) for (const key of Object.keys(sum) as (keyof LedgerCounts)[]) sum[key] += counts[key];
  return sum;
}
