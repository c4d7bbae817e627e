import { describe, expect, test } from "vitest";
import { crc32c } from "#processor/state/crc32c.ts";
import { IdTable, SEEN } from "#processor/state/id-table.ts";
import { hashEventId, hashUser } from "#processor/state/key-hash.ts";
import { RowIndex } from "#processor/state/row-index.ts";
import { TimerBuckets } from "#processor/time/timer-buckets.ts";
import { EventStream } from "#test/bench/fold-events.ts";
import { ObjectFold, WindowDigest } from "#test/bench/object-fold.ts";
import { createFold } from "#processor/fold/partition-fold.ts";
import { decodeWindows } from "#shared/events/block.ts";
import { FOLD_OPTIONS } from "#test/support/fold-run.ts";

function randomWords(seed: number): () => number {
  let x = seed;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x;
  };
}

function rowsAt(index: RowIndex, hash: number): number[] {
  const found: number[] = [];
  for (const [slots, mask] of [
    [index.slots, index.mask],
    [index.old, index.oldMask],
  ] as const) {
    // prettier-ignore
    if (slots === null) continue;
    for (let slot = hash & mask; slots[slot * 2 + 1] !== 0; slot = (slot + 1) & mask) {
      if (slots[slot * 2] === hash && slots[slot * 2 + 1]! > 0) found.push(slots[slot * 2 + 1]! - 1);
    }
  }
  return found.toSorted((a, b) => a - b);
}

describe("the index of rows", () => {
  test("finds exactly what was inserted and not removed, through growth at once and step by step", () => {
    const next = randomWords(17);
    const index = new RowIndex();
    const model = new Map<number, number[]>();
    let migrated = 0;
    for (let row = 0; row < 120_000; row++) {
      // Few distinct hashes with equal low bits now and then, so that probe runs are long and wrap around.
      const hash = row % 5 === 0 ? -1 - (row % 40) : next();
      index.insert(hash, row);
      model.set(hash, [...(model.get(hash) ?? []).slice(-40), row]);
      if (model.get(hash)!.length > 40) index.remove(hash, model.get(hash)!.shift()!);
      if (index.old !== null) migrated++;
      if (row % 3 === 0) {
        const victim = [...(model.get(hash) ?? [])][0]!;
        index.remove(hash, victim);
        model.set(hash, model.get(hash)!.slice(1));
      }
    }
    expect(migrated).toBeGreaterThan(1_000);
    expect(index.size).toBe([...model.values()].reduce((sum, rows) => sum + rows.length, 0));
    for (const [hash, rows] of model) expect(rowsAt(index, hash)).toEqual(rows.toSorted((a, b) => a - b));
  });
});

describe("the table of ids", () => {
  const see = (table: IdTable, id: number, fingerprint = 1): number => table.see(id, 0, 0, 7, hashEventId(id, 0, 0, 7), fingerprint);

  test("knows an id until it is older than the horizon, and only the exact id", () => {
    const table = new IdTable(1_000, 100);
    table.advance(5_000_000_000_000, 100);
    expect([see(table, 1), see(table, 1), see(table, 1, 2), see(table, 2)]).toEqual([SEEN.no, SEEN.same, SEEN.conflict, SEEN.no]);
    table.advance(5_000_000_001_000, 100);
    expect(see(table, 1)).toBe(SEEN.same);
    table.advance(5_000_000_001_001, 100);
    expect([see(table, 1), table.rows]).toEqual([SEEN.no, 1]);
  });

  test("judges by age alone, however little it has dropped", () => {
    const table = new IdTable(1_000, 10_000);
    table.advance(1_000_000, 0);
    for (let id = 0; id < 500; id++) see(table, id);
    table.advance(1_002_000, 0);
    expect(table.rows).toBe(500);
    expect([see(table, 3), see(table, 3)]).toEqual([SEEN.no, SEEN.same]);
    table.advance(1_002_000, 10_000);
    expect(table.rows).toBe(1);
    expect(see(table, 3)).toBe(SEEN.same);
  });

  test("keeps its size over many turns of the ring, and drops all after a pause of months", () => {
    const table = new IdTable(10_000, 100_000);
    let timeMs = 1_700_000_000_000;
    for (let turn = 0; turn < 100; turn++) {
      timeMs += 1_000;
      table.advance(timeMs, 1_000_000);
      for (let i = 0; i < 2_000; i++) if (see(table, turn * 2_000 + i) !== SEEN.no) throw new Error("a new id was seen");
    }
    expect(table.rows).toBe(22_000);
    expect(see(table, 99 * 2_000)).toBe(SEEN.same);
    table.advance(timeMs + 4_294_967_296, 0);
    expect([see(table, 99 * 2_000), table.rows]).toEqual([SEEN.no, 1]);
  });

  test("copies to and from bytes with all it knows", () => {
    const table = new IdTable(10_000, 100_000);
    for (let i = 0; i < 70_000; i++) {
      if (i % 1_000 === 0) table.advance(1_000_000 + i, 100_000);
      see(table, i);
    }
    table.advance(1_080_000 - 9_000, 100_000);
    const bytes = new Uint8Array(table.rows * 24);
    table.copyTo(bytes);
    const copy = new IdTable(10_000, 100_000);
    copy.copyFrom(bytes, 1_071_000);
    const again = new Uint8Array(copy.rows * 24);
    copy.copyTo(again);
    expect(Buffer.compare(again, bytes)).toBe(0);
    for (let i = 62_000; i < 70_000; i += 97) expect(see(copy, i)).toBe(SEEN.same);
    expect(see(copy, 10)).toBe(SEEN.no);
  });
});

test("timers come back bucket by bucket, in order of time, whatever the order they were set in", () => {
  const timers = new TimerBuckets();
  const next = randomWords(3);
  const expected = new Map<number, number[]>();
  for (let row = 0; row < 5_000; row++) {
    const bucket = (next() >>> 0) % 50;
    timers.add(bucket, row);
    expected.set(bucket, [...(expected.get(bucket) ?? []), row]);
  }
  for (const bucket of [...expected.keys()].toSorted((a, b) => a - b)) {
    expect(timers.earliest).toBe(bucket);
    const list = timers.take();
    expect([...list.rows.subarray(0, list.length)]).toEqual(expected.get(bucket));
    timers.recycle(list);
  }
  expect(timers.earliest).toBe(Infinity);
});

test("CRC-32C has the values of RFC 3720, at any length", () => {
  expect(crc32c(new TextEncoder().encode("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i))).toBe(0x46dd794e);
  expect(crc32c(new Uint8Array(0))).toBe(0);
});

test("user ids in sequence and ids that differ in the high word spread over the low bits", () => {
  for (const hashes of [Array.from({ length: 4_096 }, (_, i) => hashUser(i, 0)), Array.from({ length: 4_096 }, (_, i) => hashUser(0, i))]) {
    const buckets = new Set(hashes.map((hash) => hash & 4_095));
    expect(buckets.size).toBeGreaterThan(2_400);
  }
});

test("the tables close the same windows as maps of objects over 60,000 events of 50,000 users", () => {
  const digest = new WindowDigest();
  const expected = new WindowDigest();
  const fold = createFold({ ...FOLD_OPTIONS, partition: 0 });
  const reference = new ObjectFold(FOLD_OPTIONS.outOfOrdernessMs);
  const stream = new EventStream(50_000, 60_000, 1_000);
  for (const block of stream.blocks()) {
    fold.applyColumns(block, 1_700_000_000_000, { topic: "events.raw", partition: 0, rulesVersion: 1 });
    for (const record of fold.takeOutputs()) if (record.role === "windows") digest.addColumns(decodeWindows(record.value!));
    for (const text of stream.texts(block)) reference.apply(text);
    expected.addClosed(reference.take());
  }
  reference.finish();
  expected.addClosed(reference.take());
  expect(digest.text()).toBe(expected.text());
  expect(digest.text()).not.toContain(" 0 ");
});
