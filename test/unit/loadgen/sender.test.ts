import { expect, test } from "vitest";
import { RecordSender } from "#loadgen/sender.ts";
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { OperatingError, TransientError } from "#shared/kernel/errors.ts";

type Produce = Kafka["produce"];

const record = (value: string): OutgoingRecord => ({ key: null, value: Buffer.from(value) });
const textOf = (records: readonly OutgoingRecord[]): string[] => records.map((sent) => Buffer.from(sent.value!).toString());

test("each partition gets its records in order, one batch in flight at a time, none above the batch size", async () => {
  const logs = new Map<number, string[]>();
  const inFlight = new Map<number, number>();
  const produce: Produce = async ({ partition }, records) => {
    inFlight.set(partition, (inFlight.get(partition) ?? 0) + 1);
    expect(inFlight.get(partition)).toBe(1);
    expect(records.reduce((sum, sent) => sum + sent.value!.length + 16, 0)).toBeLessThanOrEqual(200);
    await new Promise((resolve) => setImmediate(resolve));
    logs.set(partition, [...(logs.get(partition) ?? []), ...textOf(records)]);
    inFlight.set(partition, 0);
    return 0;
  };
  const sender = new RecordSender({ kafka: { produce }, topic: "t", partitions: 3, batchBytes: 200 });
  for (let i = 0; i < 300; i++) sender.add(i % 3, record(String(i)));
  await sender.flush();
  for (let p = 0; p < 3; p++) expect(logs.get(p)).toEqual(Array.from({ length: 100 }, (_, i) => String(3 * i + p)));
  expect(sender.counts).toMatchObject({ acknowledged: 300, waiting: 0, retries: 0 });
});

test("a failed batch is sent again before anything behind it", async () => {
  const attempts: string[][] = [];
  const produce: Produce = async (_to, records) => {
    attempts.push(textOf(records));
    if (attempts.length < 3) throw new TransientError("not leader", { code: "KAFKA_NOT_LEADER" });
    return 0;
  };
  const sender = new RecordSender({ kafka: { produce }, topic: "t", partitions: 1, lingerMs: 0 });
  sender.add(0, record("a"));
  const flushed = sender.flush();
  sender.add(0, record("b"));
  await flushed;
  expect(attempts).toEqual([["a"], ["a"], ["a"], ["b"]]);
  expect(sender.counts).toMatchObject({ acknowledged: 2, retries: 2 });
});

test("what waits is bounded: room makes the caller wait until a batch is acknowledged", async () => {
  const acknowledge = Promise.withResolvers<void>();
  const produce: Produce = async () => {
    await acknowledge.promise;
    return 0;
  };
  const sender = new RecordSender({ kafka: { produce }, topic: "t", partitions: 1, waitingBytesMax: 100 });
  expect(sender.add(0, record("x".repeat(50)))).toBe(true);
  expect(sender.add(0, record("x".repeat(50)))).toBe(false);
  let free = false;
  const room = sender.room().then(() => (free = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(free).toBe(false);
  acknowledge.resolve();
  await room;
  expect(sender.counts.waiting).toBe(0);
});

test("an error that no retry can mend reaches the caller", async () => {
  const produce: Produce = async () => {
    throw new OperatingError("record too large", { code: "KAFKA_RECORD_TOO_LARGE" });
  };
  const sender = new RecordSender({ kafka: { produce }, topic: "t", partitions: 1 });
  sender.add(0, record("a"));
  await expect(sender.flush()).rejects.toThrow("record too large");
  expect(() => sender.add(0, record("b"))).toThrow("record too large");
});
