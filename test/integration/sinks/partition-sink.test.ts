import { afterEach, beforeEach, expect, test } from "vitest";
import { UnavailableError } from "#shared/kernel/errors.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import type { SinkPosition, SinkStore } from "#sinks/runtime/partition-sink.ts";
import { settles } from "#test/support/process.ts";
import { OutputLog } from "./output-log.ts";

let log: OutputLog;

beforeEach(async () => {
  log = await OutputLog.open();
});

afterEach(async () => {
  await log.kafka.close();
});

/** Remembers the rows it was given. While `isDown`, a delivery fails. */
class RowList implements SinkStore {
  rows: number[] = [];
  deliveries = 0;
  failures = 0;
  isDown = false;
  positions: (SinkPosition | null)[] = [];

  async resume(position: SinkPosition | null): Promise<SinkPosition | null> {
    this.positions.push(position);
    return position;
  }

  async deliver(records: readonly OutputRecord[]): Promise<SinkPosition | null> {
    this.deliveries += 1;
    if (this.isDown) {
      this.failures += 1;
      throw new UnavailableError("the store is down", { code: "CLICKHOUSE_UNAVAILABLE" });
    }
    for (const { oseq, count } of records) for (let row = 0; row < count; row++) this.rows.push(oseq + row);
    const last = records.at(-1)!;
    return { offset: last.offset + 1, oseq: last.oseq + last.count - 1 };
  }
}

const upTo = (rows: number): number[] => Array.from({ length: rows }, (_, i) => i + 1);

test("rows that come again are dropped", async () => {
  await log.windows(3);
  await log.append("windows", { value: null, oseq: 1, count: 3 });
  await log.windows(2);
  await log.append("windows", { value: null, oseq: 4, count: 2 });
  await log.windows(1);
  const store = new RowList();
  await log.drain("windows", log.lane, store);
  expect(store.rows).toEqual(upTo(6));
});

test("a gap stops the sink by name and nothing behind it is delivered", async () => {
  await log.windows(3);
  await log.append("windows", { value: null, oseq: 5, count: 1 });
  const store = new RowList();
  await expect(log.run("windows", log.lane, store).ended).rejects.toMatchObject({ name: "CorruptStateError", code: "OUTPUT_GAP" });
  expect(store.rows).not.toContain(5);
});

test("a record that nobody but the processor may have written stops the sink by name", async () => {
  await log.kafka.produce(log.partition("windows"), [{ key: null, value: new Uint8Array(3) }]);
  await expect(log.run("windows", log.lane, new RowList()).ended).rejects.toMatchObject({ code: "OUTPUT_UNPLACED" });
});

test("while the store is down the sink waits with back-off, then delivers everything once, in order", async () => {
  const store = new RowList();
  store.isDown = true;
  for (let record = 0; record < 20; record++) await log.windows(5);
  const sink = log.run("windows", log.lane, store);
  await settles(() => expect(store.failures).toBeGreaterThan(3));
  const started = performance.now();
  const before = store.failures;
  await settles(() => expect(store.failures).toBeGreaterThan(before));
  // The fourth pause is 400 ms and more: it does not spin.
  expect(performance.now() - started).toBeGreaterThan(200);
  expect((await log.committed("windows", log.lane)).offset).toBe(-1);
  store.isDown = false;
  await settles(async () => expect(await log.isCaughtUp("windows", log.lane)).toBe(true));
  await sink.stop();
  expect(store.rows).toEqual(upTo(100));
});

test("a restart goes on behind the last durable record, with the number of its last row", async () => {
  await log.windows(4);
  await log.drain("windows", log.lane, new RowList());
  await log.windows(4);
  const next = new RowList();
  await log.drain("windows", log.lane, next);
  expect(next.positions).toEqual([{ offset: 1, oseq: 4 }]);
  expect(next.rows).toEqual([5, 6, 7, 8]);
});

test("generations share a topic and count from one each: a sink takes the rows of its own", async () => {
  for (const generation of [2, 1, 3]) {
    for (const oseq of generation === 1 ? [1, 3] : [1, 3, 5]) await log.append("windows", { value: null, oseq, count: 2, generation });
  }
  await log.append("windows", { value: null, oseq: 5, count: 1 });
  const store = new RowList();
  await log.drain("windows", log.lane, store);
  expect(store.rows).toEqual(upTo(5));
});

test.each(["", '{"moved-by":"a tool"}', "oops"])(
  "an offset that an operator set by hand, leaving %j, is taken as it is",
  async (metadata) => {
    for (let record = 0; record < 4; record++) await log.windows(2);
    await log.kafka.commitOffsets(log.lane, [{ ...log.partition("windows"), offset: 2, metadata }]);
    const store = new RowList();
    await log.drain("windows", log.lane, store);
    expect(store.rows).toEqual([5, 6, 7, 8]);
  },
);
