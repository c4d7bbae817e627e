import { describe, expect, test } from "vitest";
import type { RowFacts } from "#shared/ledger/range-rows.ts";
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
  readonly rangeSize?: number;
}

function factsAt(logTimeMs: number, changes: Partial<RowFacts> = {}): RowFacts {
  return { logTimeMs, eventTimeMs: logTimeMs - 5, userLow: 7, userHigh: 0, value: Number.NaN, oseq: logTimeMs, ...changes };
}

function rawOf(id: Uint8Array): Uint8Array {
  return Buffer.from(`{"user_id":7,"event_id":"${Buffer.from(id).toString("hex")}"}`);
}

function recountOf(way: string, { skip = {}, more = () => undefined, endOffsetNow, rangeSize }: Tampering = {}): Promise<PartitionResult> {
  const end = 100 + way.length;
  const recount = new PartitionRecount({
    partition: 3,
    firstOffset: 100,
    endOffset: end,
    dedupHorizonMs: HORIZON_MS,
    ...(rangeSize === undefined ? {} : { rangeSize }),
  });
  const original = (i: number): number => (way[i] === "=" ? original(i - 1) : i);
  for (let first = 100; first < end; first += recount.rangeSize) {
    const rangeEnd = Math.min(end, first + recount.rangeSize);
    recount.begin(first, rangeEnd);
    for (let offset = first; offset < rangeEnd; offset++) {
      const i = offset - 100;
      if (way[i] === "c") {
        if (skip.topic !== offset) recount.addClean(offset, idOf(i), 0, factsAt(1_000 + i));
        if (skip.table !== offset) recount.addTableRow(offset, idOf(i), 0, factsAt(1_000 + i));
      } else if (way[i] === "d" && skip.deadLetter !== offset) recount.addDeadLetter(offset);
      else if (way[i] === "l" && skip.late !== offset) recount.addLate(offset, idOf(i), 0, 1_000 + i);
    }
    if (first === 100) more(recount);
    for (let offset = first; offset < rangeEnd; offset++) {
      const i = offset - 100;
      recount.addRaw(offset, 1_000 + i, way[i] === "d" ? Buffer.from("poison") : rawOf(idOf(original(i))));
    }
    recount.finishRange();
  }
  return recount.result(endOffsetNow);
}

/** Two offsets, 0 and 1, of the given ids and times, each with the places it is found in. */
function twoRows(rows: readonly { readonly id: number; readonly atMs: number; readonly isClean: boolean }[]): PartitionRecount {
  const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: rows.length, dedupHorizonMs: HORIZON_MS });
  recount.begin(0, rows.length);
  for (const [offset, { id, atMs, isClean }] of rows.entries()) {
    if (!isClean) continue;
    recount.addClean(offset, idOf(id), 0, factsAt(atMs));
    recount.addTableRow(offset, idOf(id), 0, factsAt(atMs));
  }
  for (const [offset, { id, atMs }] of rows.entries()) recount.addRaw(offset, atMs, rawOf(idOf(id)));
  recount.finishRange();
  return recount;
}

const verdictOf = (result: PartitionResult): string => judge(sumOf([result]), []);

test("a healthy partition balances, in one range and in ranges of any size", async () => {
  for (const rangeSize of [1, 2, 5, 12, 100]) {
    const result = await recountOf("cccdclc=ccl=", { rangeSize });
    expect(result).toMatchObject({ raw: 12, clean: 7, deadLettered: 1, duplicate: 2, late: 2, lost: 0, doubled: 0, unfounded: 0 });
    expect(result).toMatchObject({ topicOnly: 0, tableOnly: 0, altered: 0, foreign: 0, disordered: 0 });
    expect(result.clean + result.deadLettered + result.duplicate + result.late).toBe(result.raw);
    expect(verdictOf(result)).toBe("balanced");
  }
});

test("the minutes add up to the whole, by the log time of the raw record", async () => {
  const { minutes } = await recountOf("ccd=l");
  expect(minutes).toEqual([{ minute: "1970-01-01T00:00Z", raw: 5, clean: 2, deadLettered: 1, late: 1, duplicate: 0, lost: 1, table: 2 }]);
});

test("nothing produced is unknown, not balanced", async () => {
  expect(verdictOf(await recountOf(""))).toBe("unknown");
});

describe("a planted loss is caught", () => {
  test("a row missing in the table", async () => {
    const result = await recountOf("ccccc", { skip: { table: 102 } });
    expect(result).toMatchObject({ lost: 1, topicOnly: 1, examples: { lost: [102], topicOnly: [102] } });
    expect(verdictOf(result)).toBe("unbalanced");
  });

  test("a row missing in table and topic", async () => {
    expect(await recountOf("ccccc", { skip: { table: 102, topic: 102 } })).toMatchObject({ lost: 1, topicOnly: 0, clean: 4 });
  });

  test("a missing dead letter, a missing late event", async () => {
    expect(await recountOf("cdc", { skip: { deadLetter: 101 } })).toMatchObject({ lost: 1, examples: { lost: [101] } });
    expect(await recountOf("clc", { skip: { late: 101 } })).toMatchObject({ lost: 1, examples: { lost: [101] } });
  });

  test("an original that is lost while its duplicate was kept: the later one does not excuse the earlier", async () => {
    const recount = twoRows([
      { id: 7, atMs: 0, isClean: false },
      { id: 7, atMs: 1, isClean: true },
    ]);
    expect(await recount.result()).toMatchObject({ lost: 1, duplicate: 0, examples: { lost: [0] } });
  });

  test("of thousands the first are named, whatever order they are found in", async () => {
    const way = "c".repeat(1_000);
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: way.length, dedupHorizonMs: HORIZON_MS });
    recount.begin(0, way.length);
    for (let offset = 0; offset < way.length; offset++) recount.addRaw(offset, 0, rawOf(idOf(offset)));
    recount.finishRange();
    expect(await recount.result()).toMatchObject({ lost: 1_000, examples: { lost: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] } });
  });
});

describe("a planted double is caught", () => {
  test("the same row twice in the table", async () => {
    const result = await recountOf("ccc", { more: (recount) => recount.addTableRow(101, idOf(1), 0, factsAt(1_001)) });
    expect(result).toMatchObject({ doubled: 1, lost: 0, examples: { doubled: [101] } });
    expect(verdictOf(result)).toBe("unbalanced");
  });

  test("the same row twice in the topic, also when it comes in a later range", async () => {
    const again = (recount: PartitionRecount): void => recount.addClean(102, idOf(2), 0, factsAt(1_002));
    expect(await recountOf("ccc", { more: again })).toMatchObject({ doubled: 1, examples: { doubled: [102] } });
    const result = await recountOf("cccccc", {
      rangeSize: 2,
      skip: { topic: 0 },
      more: (recount) => recount.addClean(100, idOf(0), 0, factsAt(1_000)),
    });
    expect(result).toMatchObject({ disordered: 1, examples: { disordered: [100] } });
    expect(verdictOf(result)).toBe("unbalanced");
  });

  test("an offset that is clean and dead-lettered", async () => {
    const result = await recountOf("ccc", { more: (recount) => recount.addDeadLetter(100) });
    expect(result).toMatchObject({ doubled: 1, examples: { doubled: [100] } });
  });

  test("two offsets with one event id, in one range or far apart", async () => {
    const rows = [7, 7].map((id, atMs) => ({ id, atMs, isClean: true }));
    expect(await twoRows(rows).result()).toMatchObject({ doubled: 1, examples: { doubled: [1] } });
  });

  test("an id that comes back after the horizon is an event of its own", async () => {
    const rows = [0, HORIZON_MS + 1].map((atMs) => ({ id: 7, atMs, isClean: true }));
    expect(await twoRows(rows).result()).toMatchObject({ doubled: 0, reused: 1, clean: 2 });
  });
});

describe("what leaves the counts equal is caught", () => {
  test("a dead letter that became a row, a row that is missing", async () => {
    const result = await recountOf("cdc", {
      skip: { table: 100, topic: 100 },
      more: (recount) => recount.addTableRow(101, idOf(0), 0, factsAt(0)),
    });
    expect(result).toMatchObject({ clean: 2, deadLettered: 1, lost: 1, doubled: 1 });
  });

  test("two rows of the table that changed places", async () => {
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 2, dedupHorizonMs: HORIZON_MS });
    recount.begin(0, 2);
    for (const offset of [0, 1]) recount.addClean(offset, idOf(offset), 0, factsAt(offset));
    for (const offset of [0, 1]) recount.addTableRow(offset, idOf(1 - offset), 0, factsAt(offset));
    for (const offset of [0, 1]) recount.addRaw(offset, 0, rawOf(idOf(offset)));
    recount.finishRange();
    const result = await recount.result();
    expect(result).toMatchObject({ clean: 2, lost: 0, altered: 2, examples: { altered: [0, 1] } });
    expect(verdictOf(result)).toBe("unbalanced");
  });

  test.for([
    ["eventTimeMs", 3],
    ["userLow", 8],
    ["userHigh", 1],
    ["value", 0],
    ["oseq", 9],
    ["logTimeMs", 9],
  ] as const)("a row of the table whose %s is another", async ([fact, other]) => {
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 1, dedupHorizonMs: HORIZON_MS });
    recount.begin(0, 1);
    recount.addClean(0, idOf(0), 0, factsAt(1));
    recount.addTableRow(0, idOf(0), 0, factsAt(1, { [fact]: other }));
    recount.addRaw(0, 0, rawOf(idOf(0)));
    recount.finishRange();
    expect(await recount.result()).toMatchObject({ altered: 1, examples: { altered: [0] } });
  });

  test("topic and table agree on a row that is not the raw record's", async () => {
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 2, dedupHorizonMs: HORIZON_MS });
    recount.begin(0, 2);
    for (const offset of [0, 1]) {
      recount.addClean(offset, idOf(offset), 0, factsAt(offset));
      recount.addTableRow(offset, idOf(offset), 0, factsAt(offset));
      recount.addRaw(offset, 0, rawOf(idOf(1 - offset)));
    }
    recount.finishRange();
    expect(await recount.result()).toMatchObject({ foreign: 2, examples: { foreign: [0, 1] } });
  });

  test("an id inside another object, or one that is escaped, is not taken for the event's", async () => {
    const recount = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 2, dedupHorizonMs: HORIZON_MS });
    recount.begin(0, 2);
    const hex = Buffer.from(idOf(0)).toString("hex");
    const nested = Buffer.from(`{"properties":{"event_id":"${"ab".repeat(16)}"},"event_id" : "${hex}"}`);
    const escaped = Buffer.from(`{"event\\u005fid":"${Buffer.from(idOf(1)).toString("hex")}"}`);
    for (const [offset, value] of [nested, escaped].entries()) {
      recount.addClean(offset, idOf(offset), 0, factsAt(offset));
      recount.addTableRow(offset, idOf(offset), 0, factsAt(offset));
      recount.addRaw(offset, 0, value);
    }
    recount.finishRange();
    expect(await recount.result()).toMatchObject({ foreign: 0, clean: 2 });
  });
});

test("rows that name offsets which the raw topic does not have are unfounded", async () => {
  const plant = (offset: number) => (recount: PartitionRecount) => recount.addTableRow(offset, idOf(99), 0, factsAt(0));
  expect(await recountOf("ccc", { more: plant(103), endOffsetNow: 103 })).toMatchObject({ unfounded: 1 });
  expect(await recountOf("ccc", { more: plant(103), endOffsetNow: 104 })).toMatchObject({ unfounded: 0 });
  const hole = new PartitionRecount({ partition: 0, firstOffset: 0, endOffset: 3, dedupHorizonMs: HORIZON_MS });
  hole.begin(0, 3);
  for (const offset of [0, 1, 2]) {
    hole.addClean(offset, idOf(offset), 0, factsAt(offset));
    hole.addTableRow(offset, idOf(offset), 0, factsAt(offset));
  }
  for (const offset of [0, 2]) hole.addRaw(offset, 0, rawOf(idOf(offset)));
  hole.finishRange();
  expect(await hole.result()).toMatchObject({ raw: 2, unfounded: 1 });
});

test("what retention has taken from the raw topic is left out, and still excuses its duplicates", async () => {
  expect(verdictOf(await recountOf("ccc", { more: (recount) => recount.addDeadLetter(99) }))).toBe("balanced");
  const recount = new PartitionRecount({ partition: 0, firstOffset: 100, endOffset: 101, dedupHorizonMs: HORIZON_MS });
  recount.addKnown(99, idOf(5), 0, 1_000);
  recount.begin(100, 101);
  recount.addRaw(100, 2_000, rawOf(idOf(5)));
  recount.finishRange();
  expect(await recount.result()).toMatchObject({ raw: 1, duplicate: 1, lost: 0 });
});

test("an original that only the caller can find is looked up before its duplicate counts as lost", async () => {
  const recount = new PartitionRecount({ partition: 0, firstOffset: 100, endOffset: 102, dedupHorizonMs: HORIZON_MS });
  recount.begin(100, 102);
  for (const offset of [100, 101]) recount.addRaw(offset, 2_000, rawOf(idOf(offset)));
  recount.finishRange();
  const asked: number[] = [];
  const result = await recount.result(undefined, async (unresolved) => {
    asked.push(...unresolved.map(({ offset }) => offset));
    return new Set([100]);
  });
  expect(asked.toSorted((a, b) => a - b)).toEqual([100, 101]);
  expect(result).toMatchObject({ duplicate: 1, lost: 1, examples: { lost: [101] } });
});

test("the processor's own counts are compared, and each difference named", async () => {
  const result = await recountOf("cdlc");
  const counts = { raw: 4, clean: 2, deadLettered: 1, duplicate: 0, late: 1, redelivered: 9 };
  expect(compareProgress(result, counts)).toEqual([]);
  const mismatches = compareProgress(result, { ...counts, late: 0 });
  expect(mismatches).toEqual([{ what: "partition 3: late in the processor's progress", recounted: 1, claimed: 0 }]);
  expect(judge(sumOf([result]), mismatches)).toBe("unbalanced");
});
