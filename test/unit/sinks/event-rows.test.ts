import { describe, expect, test } from "vitest";
import { tableFromIPC } from "apache-arrow";
import { decodeClean, encodeClean } from "#shared/events/block.ts";
import { type MonthBlock, monthBlocks, type RowSource } from "#sinks/clickhouse/event-rows.ts";
import { cleanColumns, rowOf, type SinkRow } from "#test/support/sink-rows.ts";

const PROVENANCE = { lane: "live", generation: 3, partition: 5 };

/** Records of a cut as a sink has them: through the codec. */
function sourcesOf(rows: readonly SinkRow[], recordRows: number): RowSource[] {
  const sources: RowSource[] = [];
  for (let from = 0; from < rows.length; from += recordRows) {
    const part = rows.slice(from, from + recordRows);
    sources.push({ columns: decodeClean(encodeClean(cleanColumns(part))), oseq: part[0]!.oseq });
  }
  return sources;
}

function rowsIn({ bytes }: MonthBlock): Record<string, unknown>[] {
  return tableFromIPC(bytes)
    .toArray()
    .map((row) => (row as { toJSON(): Record<string, unknown> }).toJSON());
}

/** Alternates between November and December, as out-of-order events do where a month ends. */
const alternating = Array.from({ length: 60 }, (_, i) =>
  Object.assign(rowOf(i + 1), { eventTimeMs: Date.UTC(2026, 11, 1) + (i % 3 === 0 ? -1 : i) }),
);

describe("the rows of a cut", () => {
  test("go to one block per month, in order of their numbers, none lost and none twice", () => {
    const blocks = monthBlocks(sourcesOf(alternating, 7), 12, PROVENANCE);
    expect(blocks.map(({ month, rows }) => [month, rows])).toEqual([
      [202_611, 20],
      [202_612, 40],
    ]);
    const numbers = blocks.map((block) => rowsIn(block).map((row) => Number(row["oseq"])));
    for (const list of numbers) expect(list).toEqual(list.toSorted((a, b) => a - b));
    expect(numbers.flat().toSorted((a, b) => a - b)).toEqual(alternating.map(({ oseq }) => oseq));
  });

  test("keep their values wherever they end up, and say where they come from", () => {
    for (const block of monthBlocks(sourcesOf(alternating, 7), 12, PROVENANCE)) {
      for (const row of rowsIn(block)) {
        const wanted = alternating[Number(row["oseq"]) - 1]!;
        expect(row).toMatchObject({
          user_id: BigInt(wanted.userId!),
          event_type: wanted.eventType,
          source: wanted.source,
          session_id: wanted.sessionId,
          value: wanted.value,
          device_info: wanted.deviceInfo,
          properties: wanted.properties,
          reason: wanted.reason,
          lane: "live",
          gen: 3,
          p: 5,
          cut: 12n,
          source_offset: BigInt(wanted.sourceOffset),
        });
        expect(Number(row["event_time"])).toBe(wanted.eventTimeMs);
      }
    }
  });

  test("give the same bytes every time: the store's token stands for them", () => {
    const once = monthBlocks(sourcesOf(alternating, 7), 12, PROVENANCE);
    const again = monthBlocks(sourcesOf(alternating, 7), 12, PROVENANCE);
    expect(again.map(({ bytes }) => Buffer.from(bytes))).toEqual(once.map(({ bytes }) => Buffer.from(bytes)));
  });

  test("an empty cut gives no block", () => {
    expect(monthBlocks([], 1, PROVENANCE)).toEqual([]);
  });
});
