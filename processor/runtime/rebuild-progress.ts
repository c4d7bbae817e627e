/**
 * Gives a partition its committed offset back when the group's is gone: the newest committed output carries position and progress of its
 * transaction. Transactions behind it wrote no output, so folding their input again changes nothing that anybody saw.
 */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, OUTPUT_ROLES, type PipelineId, topicName, transactionalId } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { encodeProgress, parseProgress } from "../checkpoint/progress-text.ts";
import type { CommittedPoint } from "../checkpoint/types.ts";
import { findLastOutput } from "./last-output.ts";

export async function rebuildProgress(
  kafka: Kafka,
  options: { readonly id: PipelineId; readonly partition: number; readonly transactionTimeoutMs: number },
): Promise<CommittedPoint> {
  const { id, partition, transactionTimeoutMs } = options;
  // The fence comes first: nobody may add an output behind the one that is found.
  const producer = await kafka.initProducer(transactionalId(id, partition), { transactionTimeoutMs });
  let newest: CommittedPoint | null = null;
  for (const role of OUTPUT_ROLES) {
    const headers = await findLastOutput(
      kafka,
      { topic: topicName(id.lane, role), partition },
      (candidate) => candidate.get(HEADERS.generation) === String(id.generation) && candidate.has(HEADERS.progress),
    );
    const point = headers === null ? null : parsePoint(headers.get(HEADERS.progress)!);
    if (point !== null && (newest === null || point.offset > newest.offset)) newest = point;
  }
  if (newest === null) {
    throw new OperatingError(`no output of partition ${partition}, generation ${id.generation}, carries progress`, {
      code: "PROGRESS_NOT_FOUND",
    });
  }
  const metadata = encodeProgress(newest.progress);
  await producer.commitOffsets(groupId(id, "processor"), [
    { topic: topicName(id.lane, "valid"), partition, offset: newest.offset, metadata },
  ]);
  await producer.commit();
  return newest;
}

function parsePoint(text: string): CommittedPoint | null {
  const progress = parseProgress(text);
  if (progress === null) return null;
  const { offset, ...rest } = progress as typeof progress & { readonly offset?: unknown };
  return typeof offset === "number" && Number.isSafeInteger(offset) ? { offset, progress: rest } : null;
}
