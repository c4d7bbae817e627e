/** Topics, groups and reads of one test. */
import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import type { FetchedRecord, Isolation, Kafka, OutgoingRecord, TopicPartition } from "#shared/clients/kafka/types.ts";
import { settles } from "./process.ts";

export function uniqueName(what: string): string {
  return `test-${what}-${randomBytes(4).toString("hex")}`;
}

export async function createTestTopic(
  broker: string,
  { partitions = 1, config = {} }: { partitions?: number; config?: Record<string, string> } = {},
): Promise<string> {
  const topic = uniqueName("topic");
  await createTopics([broker], [{ topic, partitions, replicationFactor: 1, config }]);
  return topic;
}

export function textRecords(...values: string[]): OutgoingRecord[] {
  return values.map((value) => ({ key: null, value: Buffer.from(value) }));
}

export function textOf(record: { readonly value: Uint8Array | null }): string | null {
  return record.value === null ? null : Buffer.from(record.value).toString();
}

/** A commit returns when the coordinator has decided; readers see it when the markers are written, a moment later. */
export async function allDecided(kafka: Kafka, topic: string): Promise<void> {
  const partitions = await kafka.partitionCount(topic);
  for (let partition = 0; partition < partitions; partition++) {
    await settles(async () => {
      const stable = await kafka.listOffset({ topic, partition }, "latest", "read_committed");
      expect(stable).toBe(await kafka.listOffset({ topic, partition }, "latest", "read_uncommitted"));
    });
  }
}

/** By our own reader, from `offset` to the end as it stands now, in as many answers as `partitionMaxBytes` makes of it. */
export async function readAll(
  kafka: Kafka,
  at: TopicPartition,
  {
    isolation = "read_committed",
    partitionMaxBytes,
    offset: from,
  }: { isolation?: Isolation; partitionMaxBytes?: number; offset?: number } = {},
): Promise<{ records: FetchedRecord[]; answers: number }> {
  const end = await kafka.listOffset(at, "latest", isolation);
  const records: FetchedRecord[] = [];
  let offset = from ?? (await kafka.listOffset(at, "earliest", isolation));
  let answers = 0;
  while (offset < end) {
    const [answer] = await kafka.fetch([{ ...at, offset }], {
      isolation,
      ...(partitionMaxBytes === undefined ? {} : { partitionMaxBytes }),
    });
    records.push(...answer!.records.filter((record) => record.offset < end));
    offset = answer!.nextOffset;
    answers += 1;
  }
  return { records, answers };
}

/** By kafkajs. */
export async function readIndependently(broker: string, topic: string): Promise<string[]> {
  const values: string[] = [];
  await readCommitted([broker], topic, (record) => values.push(textOf(record) ?? "null"));
  return values;
}
