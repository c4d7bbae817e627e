/** windows.results into the table `windows`, which is idempotent by key: any grouping of the rows will do, and a row twice is one row. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import { decodeWindows } from "#shared/events/block.ts";
import { WINDOW_KINDS, type WindowColumns } from "#shared/events/columns.ts";
import { assert } from "#shared/kernel/assert.ts";
import type { SinkStore } from "../runtime/partition-sink.ts";
import { insertBlock } from "./block-insert.ts";
import type { Provenance } from "./event-rows.ts";

const SCHEMA = defineSchema([
  { name: "kind", type: "dictionary16" },
  { name: "user_id", type: "uint64" },
  { name: "window_start", type: "timestamp" },
  { name: "window_end", type: "timestamp" },
  { name: "events", type: "uint32" },
  { name: "value_count", type: "uint32" },
  { name: "value_sum", type: "float64" },
  { name: "value_min", type: "float64" },
  { name: "value_max", type: "float64" },
  { name: "first_event", type: "timestamp" },
  { name: "last_event", type: "timestamp" },
  { name: "lane", type: "dictionary16" },
  { name: "gen", type: "uint16" },
  { name: "p", type: "uint16" },
  { name: "oseq", type: "int64" },
]);

export function createWindowsStore(client: Clickhouse, table: string, topic: string, provenance: Provenance): SinkStore {
  return {
    resume: async (position) => position,
    deliver: async (records) => {
      for (const { oseq, count, value } of records) {
        if (count === 0) continue;
        assert(value !== null, "a record with rows has a value");
        const token = `${topic}:${provenance.partition}:${provenance.generation}:${oseq}`;
        await insertBlock(client, table, token, encodeRows(decodeWindows(value), oseq, provenance));
      }
      const last = records.at(-1)!;
      return { offset: last.offset + 1, oseq: last.oseq + last.count - 1 };
    },
  };
}

function encodeRows(columns: WindowColumns, oseq: number, { lane, generation, partition }: Provenance): Uint8Array {
  const { rows } = columns;
  return encodeColumns(SCHEMA, rows, [
    { codes: Int16Array.from(columns.kind), values: WINDOW_KINDS },
    columns.userId,
    columns.windowStartMs,
    columns.windowEndMs,
    columns.events,
    columns.valueCount,
    columns.valueSum,
    columns.valueMin,
    columns.valueMax,
    columns.firstEventMs,
    columns.lastEventMs,
    { codes: new Int16Array(rows), values: [lane] },
    new Uint16Array(rows).fill(generation),
    new Uint16Array(rows).fill(partition),
    Float64Array.from({ length: rows }, (_, row) => oseq + row),
  ]);
}
