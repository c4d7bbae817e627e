/**
 * Gives a partition its committed offset back when the group's is gone: the newest committed output carries position and progress of its
 * transaction. Transactions behind it wrote no output, so folding their input again changes nothing that anybody saw.
 */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, OUTPUT_ROLES, type PipelineId, topicName, transactionalId } from "#shared/events/names.ts";
import { FencedError, OperatingError } from "#shared/kernel/errors.ts";
import { encodeProgress, parseProgress } from "../checkpoint/progress-text.ts";
import type { CommittedPoint } from "../checkpoint/types.ts";
import { findLastOutput } from "./last-output.ts";

interface RebuildOptions {
  readonly id: PipelineId;
  readonly partition: number;
  readonly transactionTimeoutMs: number;
}

/**
 * A processor tries a partition that refuses again and again, and each try fences whoever is at it: meeting one is chance. More than one in a
 * row is an owner that works, which must not be fenced for ever from here.
 */
const TRIES_MAX = 3;

/** @throws OperatingError PROGRESS_NOT_FOUND, FencedError when the partition has an owner that works. */
export async function rebuildProgress(kafka: Kafka, options: RebuildOptions): Promise<CommittedPoint> {
  for (let tries = 1; ; tries++) {
    try {
      return await rebuildOnce(kafka, options);
    } catch (thrown) {
      if (!isOvertaken(thrown) || tries === TRIES_MAX) throw thrown;
    }
  }
}

/**
 * A fence that comes between the last request and EndTxn is answered by INVALID_TXN_STATE, under transactions V2 (KIP-890): the new owner's
 * epoch is ours and one, which the coordinator takes for our own repetition of an EndTxn that had the other result.
 */
function isOvertaken(thrown: unknown): boolean {
  return thrown instanceof FencedError || (thrown instanceof OperatingError && thrown.code === "KAFKA_REFUSED");
}

async function rebuildOnce(kafka: Kafka, { id, partition, transactionTimeoutMs }: RebuildOptions): Promise<CommittedPoint> {
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
