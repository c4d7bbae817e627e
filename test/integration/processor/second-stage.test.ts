/** The second stage against a real broker, thrown down at each point of its transaction and taken up again by a successor. */
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { SecondStage, type SecondStageEnd } from "#processor/minutes/second-stage.ts";
import { systemClock } from "#processor/runtime/clock.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { FetchedRecord, Kafka } from "#shared/clients/kafka/types.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { encodePartial, MINUTE_MS } from "#shared/events/partials.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { armFailpoint, type FailpointName } from "#shared/kernel/failpoint.ts";
import { createLogger } from "#shared/telemetry/logger.ts";
import { decodeMinuteRows, numbersOf, textAt } from "#sinks/minutes/minute-rows.ts";
import { naiveMinutes, partialCells, type PartialRecord } from "#test/support/partials-log.ts";
import { settles } from "#test/support/process.ts";
import { uniqueLane } from "#test/support/stack.ts";

const PARTITIONS = 3;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

let brokers: string[];
let kafka: Kafka;

beforeAll(async () => {
  brokers = inject("stack").kafka.split(",");
  kafka = await openKafka({ brokers, clientId: "weir-second-stage-test" });
});

afterAll(() => kafka.close());

/** Two partitions that have rows in some minutes and only marks in others; the third one never had an event. */
function log(minutes: number): PartialRecord[][] {
  return Array.from({ length: PARTITIONS }, (_, partition) =>
    partition === 2
      ? []
      : Array.from({ length: minutes }, (_, i) => {
          const facts = { source: i % 2 === 0 ? "web" : "api", type: "click", events: 1 + i * 10 + partition, value: i / 3 };
          const minuteMs = (1_000 + i) * MINUTE_MS;
          return { offset: i, markMs: minuteMs + MINUTE_MS, cells: (i + partition) % 4 === 3 ? null : partialCells(minuteMs, [facts]) };
        }),
  );
}

async function append(lane: string, partition: number, { markMs, cells }: PartialRecord): Promise<void> {
  const header = (key: string, value: number): [string, Uint8Array] => [key, encoder.encode(String(value))];
  const headers = [header(HEADERS.generation, 1), header(HEADERS.mark, markMs)];
  const value = cells === null ? null : encodePartial(cells);
  await kafka.produce({ topic: topicName(lane, "partials"), partition }, [{ key: null, value, headers }]);
}

async function committedRecords(lane: string): Promise<FetchedRecord[]> {
  const at = { topic: topicName(lane, "minutes"), partition: 0 };
  const end = await kafka.listOffset(at, "latest", "read_committed");
  const records: FetchedRecord[] = [];
  for (let offset = 0; offset < end;) {
    const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed" });
    records.push(...answer!.records);
    offset = answer!.nextOffset;
  }
  return records;
}

function texts(record: FetchedRecord): Map<string, string> {
  return new Map(record.headers.map(([key, value]) => [key, decoder.decode(value)]));
}

/** Rows of quality by minute, source and type, each as often as it was written; fails on a gap in oseq. */
function totals(records: readonly FetchedRecord[]): [string, number][] {
  let expected = 1;
  const found = records.flatMap((record) => {
    const headers = texts(record);
    expect(Number(headers.get(HEADERS.oseq))).toBe(expected);
    const rows = decodeMinuteRows(headers.get(HEADERS.kind), record.value!);
    expect(Number(headers.get(HEADERS.count))).toBe(rows.rows);
    expected += rows.rows;
    if (rows.kind !== "quality") return [];
    return Array.from({ length: rows.rows }, (_, row): [string, number] => [
      JSON.stringify([numbersOf(rows, "minute")[row], textAt(rows, "source", row), textAt(rows, "event_type", row)]),
      numbersOf(rows, "total")[row]!,
    ]);
  });
  expect(new Set(found.map(([key]) => key)).size, "each row once").toBe(found.length);
  return found;
}

function stage(lane: string, stop: AbortSignal): Promise<SecondStageEnd> {
  const ports = { kafka, clock: systemClock, log: createLogger({ service: "second-stage" }, () => undefined) };
  const options = { id: { lane, generation: 1 }, partitions: PARTITIONS, transactionTimeoutMs: 10_000, fetchWaitMs: 100 };
  return new SecondStage(ports, options).run(stop);
}

function sumsOf(records: readonly (readonly PartialRecord[])[]): Map<string, number> {
  return new Map([...naiveMinutes(records)].map(([key, { events }]) => [key, events]));
}

const POINTS: readonly FailpointName[] = ["before-produce", "before-commit", "after-commit"];

test.each(POINTS)("thrown down at %s, every minute comes out once and is the sum of its partials", { timeout: 120_000 }, async (point) => {
  const lane = uniqueLane();
  await createTopics(brokers, topicSpecs(lane, PARTITIONS, { replicationFactor: 1 }));
  const records = log(12);
  const stopping = new AbortController();
  // The first half of one partition and a quarter of the other: some minutes close, others wait with rows.
  for (const [partition, some] of [records[0]!.slice(0, 6), records[1]!.slice(0, 3)].entries())
    for (const record of some) await append(lane, partition, record);
  armFailpoint(`${point}:throw:1`);
  expect(await stage(lane, stopping.signal)).toMatchObject({ kind: "failed", error: { message: `failpoint ${point}` } });
  const successor = stage(lane, stopping.signal);
  try {
    for (const record of records[1]!.slice(3)) await append(lane, 1, record);
    for (const record of records[0]!.slice(6)) await append(lane, 0, record);
    const expected = sumsOf(records);
    await settles(async () => expect(new Map(totals(await committedRecords(lane)))).toEqual(expected), {
      limitMs: 60_000,
      intervalMs: 200,
    });
  } finally {
    stopping.abort();
  }
  expect(await successor).toEqual({ kind: "stopped" });
});

test("a zombie that wakes up writes nothing more", { timeout: 120_000 }, async () => {
  const lane = uniqueLane();
  await createTopics(brokers, topicSpecs(lane, PARTITIONS, { replicationFactor: 1 }));
  const records = log(4);
  const first = new AbortController();
  const second = new AbortController();
  for (const partition of [0, 1]) await append(lane, partition, records[partition]![0]!);
  const zombie = stage(lane, first.signal);
  await settles(async () => expect(totals(await committedRecords(lane))).toHaveLength(1), { limitMs: 60_000 });
  const successor = stage(lane, second.signal);
  try {
    for (const partition of [0, 1]) for (const record of records[partition]!.slice(1)) await append(lane, partition, record);
    const expected = sumsOf(records);
    await settles(async () => expect(new Map(totals(await committedRecords(lane)))).toEqual(expected), {
      limitMs: 60_000,
      intervalMs: 200,
    });
  } finally {
    first.abort();
    second.abort();
  }
  const ends = await Promise.all([zombie, successor]);
  // One of them owned the last transaction; the other was fenced, or was told to stop before it tried another.
  expect(ends.map(({ kind }) => kind).filter((kind) => kind === "failed")).toEqual([]);
  expect(ends.some(({ kind }) => kind === "stopped")).toBe(true);
});
