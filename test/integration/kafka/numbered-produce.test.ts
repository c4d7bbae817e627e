/** Produce under the caller's own numbering: what the broker makes of repetition, gaps and a zombie. */
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { NumberedKafka, OutgoingRecord, TopicPartition } from "#shared/clients/kafka/types.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { uniqueLane } from "#test/support/stack.ts";

let kafka: NumberedKafka;
let at: TopicPartition;

beforeAll(async () => {
  const brokers = inject("stack").kafka.split(",");
  const lane = uniqueLane();
  await createTopics(brokers, topicSpecs(lane, 1, { replicationFactor: 1 }));
  at = { topic: topicName(lane, "raw"), partition: 0 };
  kafka = await openKafka({ brokers, clientId: "test" });
});

afterAll(() => kafka.close());

const records = (from: number, to: number): OutgoingRecord[] =>
  Array.from({ length: to - from }, (_, i) => ({ key: null, value: Buffer.from(String(from + i)) }));

async function values(): Promise<string[]> {
  const [answer] = await kafka.fetch([{ ...at, offset: 0 }], { isolation: "read_uncommitted", maxWaitMs: 0 });
  return answer!.records.map(({ value }) => Buffer.from(value!).toString());
}

test("a number is appended once, by whichever process, and takes no offset beside its record", async () => {
  const producerId = await kafka.newProducerId(at);
  const send = (from: number, to: number): Promise<number> => kafka.produceNumbered(at, records(from, to), { producerId, sequence: from });
  expect(await send(0, 3)).toBe(0);
  expect(await send(3, 5)).toBe(3);
  // The very batch again, as after a lost answer: appended already.
  expect(await send(3, 5)).toBe(3);
  // Another process has cut its batches otherwise: a zombie's late request, or one that has read too little of the log.
  await expect(send(3, 6)).rejects.toMatchObject({ code: "KAFKA_SEQUENCE" });
  await expect(send(4, 5)).rejects.toMatchObject({ code: "KAFKA_SEQUENCE" });
  await expect(send(6, 7)).rejects.toMatchObject({ code: "KAFKA_SEQUENCE" });
  expect(await send(5, 6)).toBe(5);
  expect(await values()).toEqual(["0", "1", "2", "3", "4", "5"]);
  for (const isolation of ["read_committed", "read_uncommitted"] as const) expect(await kafka.listOffset(at, "latest", isolation)).toBe(6);
});

test("another producer id has numbers of its own", async () => {
  const [one, other] = await Promise.all([kafka.newProducerId(at), kafka.newProducerId(at)]);
  expect(one).not.toBe(other);
  const end = await kafka.listOffset(at, "latest", "read_uncommitted");
  expect(await kafka.produceNumbered(at, records(0, 1), { producerId: other, sequence: 0 })).toBe(end);
});
