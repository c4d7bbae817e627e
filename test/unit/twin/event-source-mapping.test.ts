import { describe, expect, test } from "vitest";
import { EventSourceMapping, type EventSourceMappingOptions } from "#local/lambda-twin/event-source-mapping.ts";
import type { InvocationOrder } from "#local/lambda-twin/invocation.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import { MemoryLog } from "./memory-log.ts";

interface KafkaEvent {
  readonly eventSource: string;
  readonly eventSourceArn: string;
  readonly bootstrapServers: string;
  readonly records: Record<
    string,
    { topic: string; partition: number; offset: number; key?: string; value?: string; headers: Record<string, number[]>[] }[]
  >;
}

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

function offsets(event: string, partition = 0): number[] {
  return ((JSON.parse(event) as KafkaEvent).records[`events.raw-${partition}`] ?? []).map((record) => record.offset);
}

/** Runs a mapping over the log until `until` holds. */
async function deliver(
  log: MemoryLog,
  invoke: (event: string, order: InvocationOrder) => Promise<void>,
  until: (mapping: EventSourceMapping) => boolean,
  options: Partial<EventSourceMappingOptions> = {},
  prepare: (mapping: EventSourceMapping) => void = () => undefined,
): Promise<EventSourceMapping> {
  const stop = new AbortController();
  const mapping = new EventSourceMapping({
    kafka: log.kafka,
    topic: "events.raw",
    partitions: log.partitions.length,
    group: "weir-validator-live-1",
    source: { arn: "arn:aws:kafka:local:000000000000:cluster/weir/1", bootstrapServers: "127.0.0.1:9092", timestampType: "CREATE_TIME" },
    batchSize: 100,
    concurrency: 2,
    backoffMs: { first: 1, last: 4 },
    faults: true,
    log: silent,
    invoke,
    ...options,
  });
  prepare(mapping);
  const done = mapping.run(stop.signal);
  await Promise.race([done, expect.poll(() => until(mapping), { timeout: 5_000, interval: 2 }).toBe(true)]).finally(() => stop.abort());
  await done;
  return mapping;
}

const complete = (log: MemoryLog) => (mapping: EventSourceMapping) =>
  mapping.doneOffsets.length === log.partitions.length && mapping.doneOffsets.every((offset, p) => offset === log.partitions[p]!.length);

function filled(partitions: number, records: number): MemoryLog {
  const log = new MemoryLog(partitions);
  for (let p = 0; p < partitions; p++) for (let i = 0; i < records; i++) log.append(p, `{"n":${i}}`);
  return log;
}

describe("the event", () => {
  test("has the shape that Lambda documents", async () => {
    const log = new MemoryLog(1);
    log.append(0, '{"a":"\u00e9"}', {
      key: "42",
      headers: [
        ["traceparent", Buffer.from([48, 255])],
        ["na\u00efve\u2028", Buffer.alloc(0)],
      ],
    });
    log.append(0, "", { key: null });
    const events: string[] = [];
    await deliver(log, async (event) => void events.push(event), complete(log));
    const event = JSON.parse(events[0]!) as KafkaEvent;
    expect(event).toEqual({
      eventSource: "aws:kafka",
      eventSourceArn: "arn:aws:kafka:local:000000000000:cluster/weir/1",
      bootstrapServers: "127.0.0.1:9092",
      records: {
        "events.raw-0": [
          {
            topic: "events.raw",
            partition: 0,
            offset: 0,
            timestamp: 1_000,
            timestampType: "CREATE_TIME",
            key: Buffer.from("42").toString("base64"),
            value: Buffer.from('{"a":"\u00e9"}').toString("base64"),
            headers: [{ traceparent: [48, 255] }, { "na\u00efve\u2028": [] }],
          },
          { topic: "events.raw", partition: 0, offset: 1, timestamp: 1_001, timestampType: "CREATE_TIME", value: "", headers: [] },
        ],
      },
    });
    // oxlint-disable-next-line no-control-regex -- its length must be its size
    expect(events[0]).toMatch(/^[\u0000-\u007e]*$/);
  });

  test("never holds more records than the batch size, nor more bytes than the payload limit", async () => {
    const log = filled(3, 250);
    const events: string[] = [];
    await deliver(log, async (event) => void events.push(event), complete(log), { batchSize: 70, payloadBytesMax: 4_000 });
    for (const event of events) {
      expect(event.length).toBeLessThanOrEqual(4_000);
      expect([0, 1, 2].reduce((sum, p) => sum + offsets(event, p).length, 0)).toBeLessThanOrEqual(70);
    }
    expect(Math.max(...events.map((event) => event.length))).toBeGreaterThan(3_500);
  });

  test("a record that alone exceeds the payload limit is delivered alone instead of blocking its partition", async () => {
    const log = new MemoryLog(1);
    for (const size of [10, 5_000, 10]) log.append(0, "x".repeat(size));
    const batches: number[][] = [];
    await deliver(log, async (event) => void batches.push(offsets(event)), complete(log), { payloadBytesMax: 2_000 });
    expect(batches).toEqual([[0], [1], [2]]);
  });
});

describe("delivery", () => {
  test("each partition is delivered in order, once, with one invocation in flight", async () => {
    const log = filled(4, 500);
    const seen: number[][] = [[], [], [], []];
    const inFlight = [0, 0, 0, 0];
    let together = 0;
    let most = 0;
    await deliver(
      log,
      async (event) => {
        most = Math.max(most, ++together);
        const partitions = [0, 1, 2, 3].filter((p) => offsets(event, p).length > 0);
        for (const p of partitions) {
          expect(++inFlight[p]!).toBe(1);
          seen[p]!.push(...offsets(event, p));
        }
        await new Promise((resolve) => setImmediate(resolve));
        for (const p of partitions) inFlight[p]!--;
        together--;
      },
      complete(log),
    );
    for (const partition of seen) expect(partition).toEqual(Array.from({ length: 500 }, (_, i) => i));
    expect(most).toBe(2);
    expect([0, 1, 2, 3].map((p) => log.committed.get(p))).toEqual([500, 500, 500, 500]);
  });

  test("a failed invocation is repeated with the same event until it succeeds, and its offset is not committed before", async () => {
    const log = filled(1, 10);
    const events: string[] = [];
    await deliver(
      log,
      async (event) => {
        events.push(event);
        expect(log.committed.get(0) ?? 0).toBe(0);
        if (events.length < 4) throw new Error("broker away");
      },
      complete(log),
    );
    expect(new Set(events).size).toBe(1);
    expect(events).toHaveLength(4);
    expect(log.committed.get(0)).toBe(10);
  });

  test("a partition whose invocations fail does not hold up the others", async () => {
    const log = filled(2, 10);
    const mapping = await deliver(
      log,
      async (event) => {
        if (offsets(event, 0).length > 0) throw new Error("always");
      },
      (mapping) => mapping.doneOffsets[1] === 10 && mapping.counts.failures > 3,
    );
    expect(mapping.doneOffsets).toEqual([0, 10]);
    expect(log.committed.get(0)).toBe(0);
  });

  test("a new mapping goes on where the group committed", async () => {
    const log = filled(1, 10);
    log.committed.set(0, 7);
    const batches: number[][] = [];
    await deliver(log, async (event) => void batches.push(offsets(event)), complete(log));
    expect(batches.flat()).toEqual([7, 8, 9]);
  });

  test("a failed commit is repeated and no commit ever goes back", async () => {
    const log = filled(1, 400);
    log.failingCommits = 3;
    await deliver(log, async () => undefined, complete(log), { batchSize: 20 });
    expect(log.committed.get(0)).toBe(400);
    const order = log.commits.map((commit) => commit.offset);
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test("stopping waits for the invocation in flight and commits it", async () => {
    const log = filled(1, 5);
    const started = Promise.withResolvers<void>();
    const finish = Promise.withResolvers<void>();
    const stop = new AbortController();
    const mapping = new EventSourceMapping({
      kafka: log.kafka,
      topic: "events.raw",
      partitions: 1,
      group: "g",
      source: { arn: "a", bootstrapServers: "b", timestampType: "CREATE_TIME" },
      batchSize: 100,
      concurrency: 1,
      log: silent,
      invoke: async () => {
        started.resolve();
        await finish.promise;
      },
    });
    const done = mapping.run(stop.signal);
    await started.promise;
    stop.abort();
    finish.resolve();
    await done;
    expect(log.committed.get(0)).toBe(5);
  });
});

describe("fault orders", () => {
  test("redeliver: the batch comes twice", async () => {
    const log = filled(1, 3);
    const batches: number[][] = [];
    await deliver(
      log,
      async (event) => void batches.push(offsets(event)),
      (mapping) => complete(log)(mapping) && batches.length === 2,
      {},
      (mapping) => mapping.order({ kind: "redeliver" }),
    );
    expect(batches).toEqual([
      [0, 1, 2],
      [0, 1, 2],
    ]);
  });

  test("overlap: [a, b) is followed by [a - k, b + k), then by the rest", async () => {
    const log = filled(1, 40);
    const batches: number[][] = [];
    const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);
    await deliver(
      log,
      async (event) => void batches.push(offsets(event)),
      complete(log),
      { batchSize: 16 },
      // The first batch settles without a fault, so that there is something below the second.
      (mapping) => {
        mapping.order({ kind: "failpoint", spec: "none" });
        mapping.order({ kind: "overlap", records: 4 });
      },
    );
    expect(batches[0]).toEqual(range(0, 16));
    expect(batches[1]).toEqual(range(16, 32));
    expect(batches[2]).toEqual(range(12, 28));
    expect(batches.slice(3).flat()).toEqual(range(28, 40));
    expect(log.committed.get(0)).toBe(40);
  });

  test("concurrent: the same event runs in two invocations at once", async () => {
    const log = filled(1, 3);
    const events: string[] = [];
    let together = 0;
    let most = 0;
    await deliver(
      log,
      async (event) => {
        events.push(event);
        most = Math.max(most, ++together);
        await new Promise((resolve) => setImmediate(resolve));
        together--;
      },
      complete(log),
      {},
      (mapping) => mapping.order({ kind: "concurrent" }),
    );
    expect(events).toHaveLength(2);
    expect(events[0]).toBe(events[1]);
    expect(most).toBe(2);
  });

  test("throw and failpoint reach the runtime with the next invocation only", async () => {
    const log = filled(1, 3);
    const orders: InvocationOrder[] = [];
    await deliver(
      log,
      async (_event, order) => {
        orders.push(order);
        if (order.throwAtOnce === true) throw new Error("ordered to throw");
      },
      complete(log),
      { batchSize: 1 },
      (mapping) => {
        mapping.order({ kind: "throw" });
        mapping.order({ kind: "failpoint", spec: "validator-after-produce:kill" });
      },
    );
    expect(orders).toEqual([{ throwAtOnce: true }, {}, { failpoint: "validator-after-produce:kill" }, {}]);
  });
});
