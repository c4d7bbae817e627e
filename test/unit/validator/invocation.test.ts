import { beforeEach, describe, expect, it } from "vitest";
import { BatchValidator, type BlockPlace, BLOCK_BYTES } from "#functions/validator/batch-validator.ts";
import { type InvocationRecord, readInvocationEvent } from "#functions/validator/invocation-event.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { decodeBlock, encodeBlock } from "#shared/events/block.ts";
import type { EventColumns } from "#shared/events/columns.ts";
import { decodeHeaders } from "#shared/events/headers.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { bytesAt, goodEvent, NOW_MS, textAt, verdictOf } from "#test/support/validated-event.ts";

const TOPIC = "events.raw";
const plan = compilePlan(loadSeedRelease());
const good = JSON.stringify(goodEvent());

function record(offset: number, changes: Partial<InvocationRecord> & { readonly text?: string } = {}): InvocationRecord {
  const { text = good, ...rest } = changes;
  return {
    topic: TOPIC,
    partition: 0,
    offset,
    timestamp: NOW_MS,
    timestampType: "CREATE_TIME",
    key: Buffer.from("42").toString("base64"),
    value: Buffer.from(text).toString("base64"),
    headers: [],
    ...rest,
  };
}

function eventOf(records: Record<string, unknown>): unknown {
  return { eventSource: "aws:kafka", eventSourceArn: "arn", bootstrapServers: "b:9092", records };
}

interface Sent {
  readonly place: BlockPlace;
  readonly columns: EventColumns;
  readonly sizeBytes: number;
}

describe("an invocation", () => {
  let sent: Sent[];
  let inFlight: Map<number, number>;
  let mostInFlight: number;
  let failing: (place: BlockPlace) => boolean;
  let batch: BatchValidator;

  beforeEach(() => {
    sent = [];
    inFlight = new Map();
    mostInFlight = 0;
    failing = () => false;
    batch = new BatchValidator(DEFAULT_LIMITS, {
      encode: (columns, place) => encodeBlock(columns, { generation: 1, topic: TOPIC, ...place }),
      send: async (value, place) => {
        const before = inFlight.get(place.partition) ?? 0;
        expect(before, "one produce in flight per partition").toBe(0);
        inFlight.set(place.partition, before + 1);
        mostInFlight = Math.max(
          mostInFlight,
          [...inFlight.values()].reduce((sum, count) => sum + count, 0),
        );
        await new Promise(setImmediate);
        inFlight.set(place.partition, before);
        if (failing(place)) throw new Error(`broker of partition ${place.partition} is gone`);
        sent.push({ place, columns: decodeBlock(value).columns, sizeBytes: value.length });
      },
    });
  });

  const run = (event: unknown): ReturnType<BatchValidator["run"]> => batch.run(readInvocationEvent(event, TOPIC), plan);

  it("writes one block per partition, one row per record, partitions in parallel", async () => {
    const counts = await run(
      eventOf({
        "events.raw-0": [record(5), record(6, { text: "{" }), record(9)],
        "events.raw-3": [record(1, { partition: 3 })],
      }),
    );
    expect(counts).toMatchObject({ events: 4, rejects: 1, blocks: 2 });
    expect(mostInFlight).toBe(2);
    expect(sent.map(({ place }) => place)).toEqual([
      { partition: 0, firstSourceOffset: 5, lastSourceOffset: 9, count: 3, rulesVersion: 1, traces: null, oldestMs: NOW_MS },
      { partition: 3, firstSourceOffset: 1, lastSourceOffset: 1, count: 1, rulesVersion: 1, traces: null, oldestMs: NOW_MS },
    ]);
    const { columns } = sent[0]!;
    expect([...columns.sourceOffset]).toEqual([5, 6, 9]);
    expect([0, 1, 2].map((row) => verdictOf(columns, row).verdict)).toEqual(["ok", "reject", "ok"]);
    expect(textAt(columns.raw, 1)).toBe("{");
    expect(textAt(columns.rawKey, 1)).toBe("42");
    expect(textAt(columns.properties, 0)).toBe('{"amount":12.5,"currency":"EUR"}');
  });

  it.each([0, 500, 999])("a poisoned record at index %i of 1,000 harms no other", async (poisoned) => {
    const records = Array.from({ length: 1_000 }, (_, i) => record(i, i === poisoned ? { text: "\u0000\u0001" } : {}));
    await run(eventOf({ "events.raw-0": records }));
    const rejected = [...sent[0]!.columns.verdict.keys()].filter((row) => verdictOf(sent[0]!.columns, row).verdict === "reject");
    expect(rejected).toEqual([poisoned]);
  });

  it.each([
    ["text that is no base64", "#not base64#", "value.base64", "#not base64#"],
    ["base64 cut off", "eyJhIjo", "value.base64", "eyJhIjo"],
    ["base64 with a foreign character inside", "eyJh%jox", "value.base64", "eyJh%jox"],
    ["a number", 17, "value.base64", "17"],
    ["null", null, "value.null", null],
    ["nothing", undefined, "value.null", null],
    ["an empty text", "", "json.empty", ""],
  ])("a value that is %s is one reject row", async (_what, value, reason, kept) => {
    const { value: _value, ...valueless } = record(1);
    const spoiled = value === undefined ? valueless : { ...valueless, value };
    await run(eventOf({ "events.raw-0": [record(0), spoiled, record(2)] }));
    const { columns } = sent[0]!;
    expect([0, 1, 2].map((row) => verdictOf(columns, row).reason)).toEqual([null, reason, null]);
    expect(textAt(columns.raw, 1)).toBe(kept);
  });

  it("tells a missing key from an empty one", async () => {
    const { key: _key, ...keyless } = record(0);
    await run(eventOf({ "events.raw-0": [keyless, record(1, { key: "" }), record(2, { key: null })] }));
    const { columns } = sent[0]!;
    expect([0, 1, 2].map((row) => verdictOf(columns, row).reason)).toEqual(["key.missing", "key.missing", "key.missing"]);
    expect([0, 1, 2].map((row) => bytesAt(columns.rawKey, row)?.length ?? null)).toEqual([null, 0, null]);
  });

  it("keeps a reject's headers with their order, repeats and bytes, and any row's trace context", async () => {
    const headers = [{ a: [1, -1, 255] }, { b: [] }, { a: [2] }];
    const traced = [{ traceparent: [...Buffer.from("00-1-2-01")] }];
    await run(eventOf({ "events.raw-0": [record(0, { text: "x", headers }), record(1, { headers }), record(2, { headers: traced })] }));
    const { columns } = sent[0]!;
    expect(decodeHeaders(bytesAt(columns.headers, 0)!)).toEqual([
      ["a", Uint8Array.of(1, 255, 255)],
      ["b", Uint8Array.of()],
      ["a", Uint8Array.of(2)],
    ]);
    expect(bytesAt(columns.headers, 1)).toBeNull();
    expect(decodeHeaders(bytesAt(columns.headers, 2)!)[0]![0]).toBe("traceparent");
  });

  it("cuts a large batch into blocks in order, none above the broker's limit", async () => {
    const text = JSON.stringify(goodEvent({ properties: { amount: 1, note: Array.from({ length: 6 }, () => "n".repeat(32_000)) } }));
    const records = Array.from({ length: 20 }, (_, i) => record(i, { text }));
    const counts = await run(eventOf({ "events.raw-0": records }));
    expect(counts.blocks).toBeGreaterThan(3);
    expect(sent.flatMap(({ columns }) => [...columns.sourceOffset])).toEqual(records.map(({ offset }) => offset));
    expect(Math.max(...sent.map(({ sizeBytes }) => sizeBytes))).toBeLessThanOrEqual(BLOCK_BYTES);
    expect(sent.every(({ columns }) => columns.verdict.every((verdict) => verdict === 0))).toBe(true);
  });

  it("says of each block when the topic took its oldest record, passing over records without a time", async () => {
    const text = JSON.stringify(goodEvent({ properties: { amount: 1, note: Array.from({ length: 6 }, () => "n".repeat(32_000)) } }));
    const times = [NOW_MS + 9, NOW_MS + 5, -1, NOW_MS + 7, NOW_MS + 3, NOW_MS + 4, NOW_MS + 6, NOW_MS + 8];
    const { timestamp: _timestamp, ...timeless } = record(0, { partition: 1 });
    const counts = await run(
      eventOf({ "events.raw-0": times.map((timestamp, i) => record(i, { text, timestamp })), "events.raw-1": [timeless] }),
    );
    const blocks = sent.filter(({ place }) => place.partition === 0);
    expect(blocks.length).toBeGreaterThan(1);
    for (const { place, columns } of blocks) {
      const known = [...columns.sourceOffset].map((offset) => times[offset]!).filter((timestamp) => timestamp >= 0);
      expect(place.oldestMs).toBe(Math.min(...known));
    }
    expect(sent.find(({ place }) => place.partition === 1)!.place.oldestMs).toBeNull();
    expect(counts.oldestMs).toBe(NOW_MS + 3);
  });

  it("keeps a block of one record of a megabyte below the broker's limit", async () => {
    await run(eventOf({ "events.raw-0": [record(0, { text: "x".repeat(1_048_000), key: Buffer.alloc(500_000, 52).toString("base64") })] }));
    expect(verdictOf(sent[0]!.columns).reason).toBe("size.event");
    expect(sent[0]!.sizeBytes).toBeLessThan(1_048_588 - 1_000);
  });

  it("puts records that came out of order or twice in order once", async () => {
    await run(eventOf({ "events.raw-0": [record(3), record(1), record(3), record(2)] }));
    expect([...sent[0]!.columns.sourceOffset]).toEqual([1, 2, 3]);
  });

  it("rejects with the first error only when nothing is in flight any more", async () => {
    failing = ({ partition }) => partition === 0;
    const records = Object.fromEntries([0, 1, 2].map((partition) => [`events.raw-${partition}`, [record(0, { partition })]]));
    await expect(run(eventOf(records))).rejects.toThrow("broker of partition 0 is gone");
    expect([...inFlight.values()]).toEqual([0, 0, 0]);
    expect(sent.map(({ place }) => place.partition)).toEqual([1, 2]);
  });

  it("sends nothing behind a block that failed", async () => {
    const text = JSON.stringify(goodEvent({ properties: { amount: 1, note: Array.from({ length: 6 }, () => "n".repeat(32_000)) } }));
    failing = ({ firstSourceOffset }) => firstSourceOffset > 0;
    await expect(run(eventOf({ "events.raw-0": Array.from({ length: 20 }, (_, i) => record(i, { text })) }))).rejects.toThrow("is gone");
    expect(sent).toHaveLength(1);
  });

  it("the same batch twice gives the same bytes twice", async () => {
    const blocks: Uint8Array[] = [];
    const repeated = new BatchValidator(DEFAULT_LIMITS, {
      encode: (columns, place) => encodeBlock(columns, { generation: 1, topic: TOPIC, ...place }),
      send: async (value) => void blocks.push(value),
    });
    const event = eventOf({ "events.raw-0": [record(0), record(1, { text: "{" }), record(2, { text: good.replace("web", "pos") })] });
    await repeated.run(readInvocationEvent(event, TOPIC), plan);
    await repeated.run(readInvocationEvent(eventOf({ "events.raw-0": [record(7, { text: good.replace("web", "api") })] }), TOPIC), plan);
    await repeated.run(readInvocationEvent(event, TOPIC), plan);
    expect(Buffer.compare(blocks[0]!, blocks[2]!)).toBe(0);
  });
});

describe("an event of another kind", () => {
  it.each([
    ["nothing", undefined, "no object"],
    ["the console's sample", { key1: "value1", key2: "value2", key3: "value3" }, "eventSource is undefined"],
    ["an event of a queue", { eventSource: "aws:sqs", Records: [] }, 'eventSource is "aws:sqs"'],
    ["no records", { eventSource: "aws:kafka" }, "records is missing"],
    ["records as an array", { eventSource: "aws:kafka", records: [] }, "records is missing"],
    ["a list that is none", eventOf({ "events.raw-0": {} }), "is no array"],
    ["a strange key", eventOf({ events: [record(0)] }), "is no topic-partition"],
    ["a record of another partition", eventOf({ "events.raw-0": [record(0, { partition: 1 })] }), "stands under events.raw-0"],
    ["a record without offset", eventOf({ "events.raw-0": [{ ...record(0), offset: null }] }), "has no offset"],
    ["a record that is none", eventOf({ "events.raw-0": [null] }), "is no object"],
  ])("%s is one clear error that names the mapping", (_what, event, message) => {
    expect(() => readInvocationEvent(event, TOPIC)).toThrow(
      expect.objectContaining({ code: "LAMBDA_EVENT_SHAPE", message: expect.stringContaining(message) as string }),
    );
  });

  it.each([
    ["another topic", eventOf({ "events.clean-0": [record(0, { topic: "events.clean" })] }), "events.clean"],
    ["two topics", eventOf({ "events.raw-0": [record(0)], "events.late-0": [record(0, { topic: "events.late" })] }), "events.late"],
    ["another lane", eventOf({ "test.events.raw-0": [record(0, { topic: "test.events.raw" })] }), "test.events.raw"],
  ])("%s is refused whole, naming both, since its offsets would trim the right ones away", (_what, event, topic) => {
    expect(() => readInvocationEvent(event, TOPIC)).toThrow(
      expect.objectContaining({
        code: "LAMBDA_WRONG_TOPIC",
        message: `the mapping delivers records of topic ${topic}, this function validates events.raw: none was taken`,
      }) as Error,
    );
  });

  it.each([
    ["no partition", {}],
    ["an empty partition", { "events.raw-0": [] }],
  ])("%s is nothing to do", (_what, records) => {
    expect(readInvocationEvent(eventOf(records), TOPIC)).toEqual([]);
  });

  it("a topic whose name has dashes is told from its partition", () => {
    const batches = readInvocationEvent(
      eventOf({ "test-1.events.raw-12": [record(0, { topic: "test-1.events.raw", partition: 12 })] }),
      "test-1.events.raw",
    );
    expect(batches[0]!.partition).toBe(12);
  });
});
