import { expect, test } from "vitest";
import { StoreRecount } from "#shared/ledger/store-recount.ts";

const facts = (...numbers: number[]): Float64Array => Float64Array.from(numbers);

function compare(topic: readonly (readonly [number, number])[], table: readonly (readonly [number, number])[]) {
  const recount = new StoreRecount(1, 4);
  for (let first = 1; first <= 8; first += 4) {
    const isHere = ([oseq]: readonly [number, number]): boolean => oseq >= first && oseq < first + 4;
    recount.begin(first);
    for (const [oseq, fact] of topic.filter(isHere)) recount.expect(oseq, facts(fact));
    for (const [oseq, fact] of table.filter(isHere)) recount.find(oseq, facts(fact));
    recount.finishRange();
  }
  return recount.result();
}

const ROWS = [1, 2, 3, 4, 5, 6].map((oseq) => [oseq, oseq * 10] as const);

test("equal rows have no findings, in any order and over several ranges", () => {
  expect(compare(ROWS, ROWS.toReversed())).toMatchObject({ rows: 6, missing: 0, extra: 0, altered: 0 });
});

test("a missing row, one too many, one twice and one that says something else are named by their number", () => {
  expect(
    compare(
      ROWS,
      ROWS.filter(([oseq]) => oseq !== 5),
    ),
  ).toMatchObject({ missing: 1, examples: { missing: [5] } });
  expect(compare(ROWS.slice(0, 5), ROWS)).toMatchObject({ extra: 1, examples: { extra: [6] } });
  expect(compare(ROWS, [...ROWS, [2, 20]])).toMatchObject({ extra: 1, examples: { extra: [2] } });
  expect(
    compare(
      ROWS,
      ROWS.map(([oseq, fact]) => [oseq, oseq === 3 ? 31 : fact] as const),
    ),
  ).toMatchObject({
    altered: 1,
    examples: { altered: [3] },
  });
});

test("no value equals no value", () => {
  expect(compare([[1, Number.NaN]], [[1, Number.NaN]])).toMatchObject({ rows: 1, altered: 0 });
});
