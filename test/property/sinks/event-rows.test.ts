import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeClean, encodeClean } from "#shared/events/block.ts";
import { monthBlocks, type RowSource } from "#sinks/clickhouse/event-rows.ts";
import { cleanColumns, rowOf, type SinkRow } from "#test/support/sink-rows.ts";

const PROVENANCE = { lane: "live", generation: 1, partition: 4 };
const FIRST = 1_001;

const text = fc.option(fc.string({ unit: "grapheme", maxLength: 6 }), { nil: null });
const row = fc.record({
  // Around the ends of two months, and far from them.
  eventTimeMs: fc.oneof(
    fc.integer({ min: -3, max: 3 }).map((ms) => Date.UTC(2026, 11, 1) + ms),
    fc.integer({ min: -3, max: 3 }).map((ms) => Date.UTC(2027, 0, 1) + ms),
    fc.integer({ min: Date.UTC(2001, 0, 1), max: Date.UTC(2027, 0, 1) }),
  ),
  eventType: fc.constantFrom("click", "purchase", "view", null),
  source: fc.constantFrom("web", "app", null),
  sessionId: text,
  deviceInfo: text,
  properties: text,
  value: fc.option(fc.double({ noNaN: true }), { nil: null }),
  reason: fc.constantFrom("range.max", "outlier", null),
});
const rows = fc.array(row, { minLength: 1, maxLength: 60 }).map((list) => list.map((fields, i) => Object.assign(rowOf(FIRST + i), fields)));
const cuts = fc.array(fc.nat({ max: 60 }), { maxLength: 8 });

/** As a sink gets them: each part through the codec. */
function sourcesOf(all: readonly SinkRow[], splits: readonly number[]): RowSource[] {
  const borders = [0, ...splits.filter((at) => at < all.length), all.length].toSorted((a, b) => a - b);
  return borders.slice(1).flatMap((to, i) => {
    const part = all.slice(borders[i], to);
    return part.length === 0 ? [] : [{ columns: decodeClean(encodeClean(cleanColumns(part))), oseq: part[0]!.oseq }];
  });
}

test("however a cut's rows are split into records, its blocks are the same bytes", () => {
  fc.assert(
    fc.property(rows, cuts, (all, splits) => {
      const whole = monthBlocks(sourcesOf(all, []), 7, PROVENANCE);
      const parts = monthBlocks(sourcesOf(all, splits), 7, PROVENANCE);
      expect(parts.map(({ month, rows: count }) => [month, count])).toEqual(whole.map(({ month, rows: count }) => [month, count]));
      for (const [i, { bytes }] of parts.entries()) expect(Buffer.compare(bytes, whole[i]!.bytes)).toBe(0);
    }),
    { numRuns: 300 },
  );
});

test("every row is in the one block of its month", () => {
  fc.assert(
    fc.property(rows, cuts, (all, splits) => {
      const wanted = new Map<number, number>();
      for (const { eventTimeMs } of all) {
        const month = Number(new Date(eventTimeMs).toISOString().slice(0, 7).replace("-", ""));
        wanted.set(month, (wanted.get(month) ?? 0) + 1);
      }
      const blocks = monthBlocks(sourcesOf(all, splits), 7, PROVENANCE);
      expect(blocks.map(({ month, rows: count }) => [month, count])).toEqual([...wanted].toSorted(([a], [b]) => a - b));
    }),
  );
});
