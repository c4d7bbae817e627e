/** windows.results into the table `windows`, which is idempotent by key: any grouping of the rows will do, and a row twice is one row. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import { decodeWindows, WINDOW_FIELDS } from "#shared/events/block.ts";
import { WINDOW_KINDS, type WindowColumns } from "#shared/events/columns.ts";
import { assert } from "#shared/kernel/assert.ts";
import type { OutputRecord } from "../runtime/output-record.ts";
import { GATHERED, type SinkStore } from "../runtime/partition-sink.ts";
import { insertBlock } from "./block-insert.ts";
import { type Provenance, PROVENANCE_FIELDS } from "./event-rows.ts";

const SCHEMA = defineSchema([...WINDOW_FIELDS, ...PROVENANCE_FIELDS]);

export function createWindowsStore(client: Clickhouse, table: string, topic: string, provenance: Provenance): SinkStore {
  return {
    fetch: GATHERED,
    resume: async (position) => position,
    deliver: async (records) => {
      const sources = records.filter(({ count }) => count > 0);
      const last = records.at(-1)!;
      const upTo = last.oseq + last.count - 1;
      if (sources.length > 0) {
        // Blocks of different extent that overlap have different tokens; the table's key then makes one row of two.
        const token = `${topic}:${provenance.partition}:${provenance.generation}:${sources[0]!.oseq}-${upTo}`;
        await insertBlock(client, table, token, encodeRows(sources, provenance));
      }
      return { offset: last.offset + 1, oseq: upTo };
    },
  };
}

function encodeRows(records: readonly OutputRecord[], { lane, generation, partition }: Provenance): Uint8Array {
  const blocks = records.map(({ value, count }) => {
    assert(value !== null, "a record with rows has a value");
    const columns = decodeWindows(value);
    assert(columns.rows === count, "the header counts the rows");
    return columns;
  });
  const rows = blocks.reduce((sum, block) => sum + block.rows, 0);
  const doubles = (from: (block: WindowColumns) => Float64Array): Float64Array => joined(new Float64Array(rows), blocks.map(from));
  const counts = (from: (block: WindowColumns) => Uint32Array): Uint32Array => joined(new Uint32Array(rows), blocks.map(from));
  const kinds = joined(new Uint8Array(rows), blocks.map((block) => block.kind)); // prettier-ignore
  // Rows of consecutive records are numbered without a gap.
  const firstOseq = records[0]!.oseq;
  return encodeColumns(SCHEMA, rows, [
    { codes: Int16Array.from(kinds), values: WINDOW_KINDS },
    joined(new Uint32Array(rows * 2), blocks.map((block) => block.userId)), // prettier-ignore
    doubles((block) => block.windowStartMs),
    doubles((block) => block.windowEndMs),
    counts((block) => block.events),
    counts((block) => block.valueCount),
    doubles((block) => block.valueSum),
    doubles((block) => block.valueMin),
    doubles((block) => block.valueMax),
    doubles((block) => block.firstEventMs),
    doubles((block) => block.lastEventMs),
    { codes: new Int16Array(rows), values: [lane] },
    new Uint16Array(rows).fill(generation),
    new Uint16Array(rows).fill(partition),
    Float64Array.from({ length: rows }, (_, row) => firstOseq + row),
  ]);
}

function joined<T extends Uint8Array | Uint32Array | Float64Array>(target: T, parts: readonly T[]): T {
  let at = 0;
  for (const part of parts) {
    target.set(part, at);
    at += part.length;
  }
  return target;
}
