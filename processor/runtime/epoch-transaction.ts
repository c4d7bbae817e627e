/**
 * One epoch as one Kafka transaction: outputs, then position and progress, then the commit. In this order, so that a transaction that the
 * broker ends early (transactions V1) can orphan outputs but never lose them.
 */
import type { OutgoingRecord, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, OUTPUT_ROLES, type OutputRole, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { encodeProgress } from "../checkpoint/progress-text.ts";
import type { OutputRecord } from "../model/ports.ts";
import type { TaskOptions } from "./ports.ts";

export interface Epoch {
  readonly outputs: readonly OutputRecord[];
  /** Next input offset. */
  readonly offset: number;
  readonly progress: Progress;
}

/** Half of max.message.bytes; one record of the fold is 900 KB at most. */
const MAX_BATCH_BYTES = 1_000_000;

const encoder = new TextEncoder();

/** Any error ends the producer and with it the task. `onProduced`: all outputs are acknowledged. */
export async function commitEpoch(
  producer: TransactionalProducer,
  epoch: Epoch,
  options: TaskOptions,
  onProduced: () => void = () => undefined,
): Promise<void> {
  const { id, partition } = options;
  failpoint("before-produce");
  const sends = [...recordsByRole(epoch)].flatMap(([role, records]) =>
    batchesOf(records).map((batch) => producer.send({ topic: topicName(id.lane, role), partition }, batch)),
  );
  void sends[0]?.then(
    () => failpoint("mid-produce"),
    () => undefined,
  );
  await Promise.all(sends);
  onProduced();
  const metadata = encodeProgress(epoch.progress);
  await producer.commitOffsets(groupId(id, "processor"), [
    { topic: topicName(id.lane, "valid"), partition, offset: epoch.offset, metadata },
  ]);
  failpoint("before-commit");
  const answer = producer.commit();
  // In the next turn of the event loop the request has been handed to the kernel.
  setImmediate(failpoint, "commit-sent-no-answer");
  await answer;
  failpoint("after-commit");
}

/** An epoch after an outage is many records; a batch must fit the topic's max.message.bytes whatever they add up to. */
function batchesOf(records: readonly OutgoingRecord[]): OutgoingRecord[][] {
  const batches: OutgoingRecord[][] = [];
  let room = 0;
  for (const record of records) {
    const size = sizeOf(record);
    if (size > room) {
      batches.push([]);
      room = MAX_BATCH_BYTES;
    }
    batches.at(-1)!.push(record);
    room -= size;
  }
  return batches;
}

function sizeOf({ key, value, headers = [] }: OutgoingRecord): number {
  const framing = 32;
  return headers.reduce((sum, [name, bytes]) => sum + name.length + bytes.length + 8, framing + (key?.length ?? 0) + (value?.length ?? 0));
}

/** Order within a role is the fold's. The progress rides on the last clean record, or without one on the last output. */
function recordsByRole({ outputs, offset, progress }: Epoch): Map<OutputRole, OutgoingRecord[]> {
  const carrier = outputs.findLastIndex((output) => output.role === "clean");
  const carrierIndex = carrier === -1 ? outputs.length - 1 : carrier;
  const byRole = new Map<OutputRole, OutgoingRecord[]>(
    OUTPUT_ROLES.filter((role) => outputs.some((output) => output.role === role)).map((role) => [role, []]),
  );
  for (const [i, { role, key, value, headers }] of outputs.entries()) {
    const more = i === carrierIndex ? [[HEADERS.progress, encoder.encode(JSON.stringify({ ...progress, offset }))] as const] : [];
    byRole.get(role)!.push({ key, value, headers: [...headers, ...more] });
  }
  return byRole;
}
