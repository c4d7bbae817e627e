/** One stage of an event's life. */
import type { Kafka, TopicPartition, FetchedRecord } from "#shared/clients/kafka/types.ts";
import type { ClusterAddress } from "#shared/clients/kafka/kafkajs-client.ts";
import { offsetsAtTime } from "#shared/clients/kafka/settings.ts";
import type { Config } from "#shared/config/config.ts";
import { topicName, type TopicRole } from "#shared/events/names.ts";

/**
 * `found` · `absent`: looked for where it would be, and not there · `gone`: retention has taken the place · `waiting`: the stage has not got there ·
 * `unknown`: could not be asked.
 */
export type StageStatus = "found" | "absent" | "gone" | "waiting" | "unknown";

export interface Stage {
  readonly stage: string;
  readonly status: StageStatus;
  /** Log time; null where the stage has none. */
  readonly atMs: number | null;
  /** One line. */
  readonly text: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface InspectContext {
  readonly kafka: Kafka;
  readonly config: Config;
  readonly address: ClusterAddress;
  readonly onStep: (step: string) => void;
  readonly stop: AbortSignal;
}

export interface Place {
  readonly partition: number;
  /** Of events.raw. */
  readonly offset: number;
}

/** Committed records from `from` on, until `visit` says that it has seen enough, or the last stable offset. */
export async function scanLog(
  { kafka, stop }: InspectContext,
  at: TopicPartition,
  from: number,
  visit: (record: FetchedRecord) => boolean,
): Promise<void> {
  const end = await kafka.listOffset(at, "latest", "read_committed");
  const start = await kafka.listOffset(at, "earliest", "read_committed");
  for (let offset = Math.max(from, start); offset < end;) {
    stop.throwIfAborted();
    const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", maxWaitMs: 0 });
    if (answer === undefined || answer.nextOffset <= offset) return;
    for (const record of answer.records) if (record.offset >= offset && record.offset < end && visit(record)) return;
    offset = answer.nextOffset;
  }
}

/** Where a time lies in a partition. */
export async function offsetAt({ address, config }: InspectContext, role: TopicRole, partition: number, timeMs: number): Promise<number> {
  const offsets = await offsetsAtTime(address, topicName(config.lane, role), Math.max(0, Math.floor(timeMs)));
  return offsets[partition] ?? 0;
}

export function headerText(record: FetchedRecord, name: string): string | null {
  const value = record.headers.findLast(([key]) => key === name)?.[1];
  return value === undefined ? null : Buffer.from(value).toString();
}
