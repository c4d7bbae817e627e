import { describe, expect, test } from "vitest";
import { PartitionRecount, type PartitionResult } from "#shared/ledger/recount.ts";
import { compareProgress, judge, sumOf } from "#shared/ledger/verdict.ts";

/** One letter a raw offset: c clean, d dead letter, l late, = repeats the id of the offset before. */
const HORIZON_MS = 600_000;

function idOf(number: number): Uint8Array {
  const id = new Uint8Array(16);
  new DataView(id.buffer).setUint32(4, number);
  id[15] = number;
  return id;
}

interface Tampering {
  readonly skip?: { readonly table?: number; readonly topic?: number; readonly deadLetter?: number; readonly late?: number };
  readonly more?: (recount: PartitionRecount) => void;
  readonly endOffsetNow?: number;
}

function recountOf(way: string, { skip = {}, more = () => undefined, endOffsetNow }: Tampering = {}): PartitionResult {
  const recount = new PartitionRecount({ partition: 3, firstOffset: 100, endOffset: 100 + way.length, dedupHorizonMs: HORIZON_MS });
  const original = (i: number): number => (way[i] === "=" ? original(i - 1) : i);
  for (let i = 0; i < way.length; i++) {
    const offset = 100 + i;
    if (way[i] === "c") {
      if (skip.table !== offset) recount.addTableRow(offset, idOf(i), 0, 1_000 + i);
      if (skip.topic !== offset) recount.addClean(offset);
    } else if (way[i] === "d" && skip.deadLetter !== offset) recount.addDeadLetter(offset);
    else if (way[i] === "l" && skip.late !== offset) recount.addLate(offset, idOf(i), 0, 1_000 + i);
  }
  more(recount);
  for (let i = 0; i < way.length; i++) recount.addRaw(100 + i, () => (way[i] === "d" ? null : idOf(original(i))));
  return recount.result(endOffsetNow);
}

const verdictOf = (result: PartitionResult): string => judge(sumOf([result]), []);

test("a healthy partition balances", () => {
  const result = recountOf("cccdclc=ccl=");
  expect(result).toMatchObject({
    raw: 12,
    clean: 7,
    deadLettered: 1,
    duplicate: 2,
    late: 2,
    lost: 0,
    doubled: 0,
    topicOnly: 0,
    tableOnly: 0,
    unfounded: 0,
  });
  expect(result.clean + result.deadLettered + result.duplicate + result.late).toBe(result.raw);
  expect(verdictOf(result)).toBe("balanced");
});

test("nothing produced is unknown, not balanced", () => {
  expect(verdictOf(recountOf(""))).toBe("unknown");
});

describe("a planted loss is caught", () => {
  test("a row missing in the table", () => {
    const result = recountOf("ccccc", { skip: { table: 102 } });
    expect(result).toMatchObject({ lost: 1, topicOnly: 1, examples: { lost: [102], topicOnly: [102] } });
    expect(verdictOf(result)).toBe("unbalanced");
  });

  test("a row missing in table and topic", () => {
    expect(recountOf("ccccc", { skip: { table: 102, topic: 102 } })).toMatchObject({ lost: 1, topicOnly: 0, clean: 4 });
  });

  test("a missing dead letter, a missing late event", () => {
    expect(recountOf("cdc", { skip: { deadLetter: 101 } })).toMatchObject({ lost: 1, examples: { lost: [101] } });
    expect(recountOf("clc", { skip: { late: 101 } })).toMatchObject({ lost: 1, examples: { lost: [101] } });
  });

  test("an original that is lost while its duplicate was kept: the later one does not excuse the earlier", () => {
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 2, dedupHorizonMs: HORIZON_MS });
    recount.addTableRow(1, idOf(7), 0, 0);
    recount.addClean(1);
    recount.addRaw(0, () => idOf(7));
    recount.addRaw(1, () => idOf(7));
    expect(recount.result()).toMatchObject({ lost: 1, duplicate: 0, examples: { lost: [0] } });
  });
});

describe("a planted double is caught", () => {
  test("the same row twice in the table", () => {
    const result = recountOf("ccc", { more: (recount) => recount.addTableRow(101, idOf(1), 0, 1_001) });
    expect(result).toMatchObject({ doubled: 1, lost: 0, examples: { doubled: [101] } });
    expect(verdictOf(result)).toBe("unbalanced");
  });

  test("the same row twice in the topic", () => {
    expect(recountOf("ccc", { more: (recount) => recount.addClean(102) })).toMatchObject({ doubled: 1, examples: { doubled: [102] } });
  });

  test("an offset that is clean and dead-lettered", () => {
    expect(recountOf("ccc", { more: (recount) => recount.addDeadLetter(100) })).toMatchObject({ doubled: 1, examples: { doubled: [100] } });
  });

  test("two offsets with one event id, whichever order the table gives them in", () => {
    for (const order of [
      [0, 1],
      [1, 0],
    ]) {
      const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 2, dedupHorizonMs: HORIZON_MS });
      for (const offset of order) {
        recount.addTableRow(offset, idOf(7), 0, offset);
        recount.addClean(offset);
      }
      for (const offset of [0, 1]) recount.addRaw(offset, () => idOf(7));
      expect(recount.result()).toMatchObject({ doubled: 1, examples: { doubled: [1] } });
    }
  });

  test("an id that comes back after the horizon is an event of its own", () => {
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 2, dedupHorizonMs: HORIZON_MS });
    for (const offset of [0, 1]) {
      recount.addTableRow(offset, idOf(7), 0, offset * (HORIZON_MS + 1));
      recount.addClean(offset);
    }
    for (const offset of [0, 1]) recount.addRaw(offset, () => idOf(7));
    expect(recount.result()).toMatchObject({ doubled: 0, reused: 1, clean: 2 });
  });
});

test("a swap that leaves the counts equal is caught", () => {
  const result = recountOf("cdc", { skip: { table: 100, topic: 100 }, more: (recount) => recount.addTableRow(101, idOf(0), 0, 0) });
  expect(result).toMatchObject({ clean: 2, deadLettered: 1, lost: 1, doubled: 1 });
});

test("rows that name offsets which the raw topic does not have are unfounded", () => {
  const plant = (offset: number) => (recount: PartitionRecount) => recount.addTableRow(offset, idOf(99), 0, 0);
  expect(recountOf("ccc", { more: plant(103), endOffsetNow: 103 })).toMatchObject({ unfounded: 1 });
  expect(recountOf("ccc", { more: plant(103), endOffsetNow: 104 })).toMatchObject({ unfounded: 0 });
  const hole = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 3, dedupHorizonMs: HORIZON_MS });
  for (const offset of [0, 1, 2]) {
    hole.addTableRow(offset, idOf(offset), 0, 0);
    hole.addClean(offset);
  }
  for (const offset of [0, 2]) hole.addRaw(offset, () => idOf(offset));
  expect(hole.result()).toMatchObject({ raw: 2, unfounded: 1 });
});

test("what retention has taken from the raw topic is left out", () => {
  const result = recountOf("ccc", { more: (recount) => recount.addDeadLetter(99) });
  expect(verdictOf(result)).toBe("balanced");
});

test("the processor's own counts are compared, and each difference named", () => {
  const result = recountOf("cdl=");
  const counts = { raw: 4, clean: 1, deadLettered: 1, duplicate: 1, late: 1, redelivered: 9 };
  expect(compareProgress(result, counts)).toEqual([]);
  const mismatches = compareProgress(result, { ...counts, late: 0 });
  expect(mismatches).toEqual([{ what: "partition 3: late in the processor's progress", recounted: 1, claimed: 0 }]);
  expect(judge(sumOf([result]), mismatches)).toBe("unbalanced");
});
