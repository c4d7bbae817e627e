/** events.dlq into the table `dead_letters`, idempotent by (lane, gen, p, oseq): one record is one row. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import type { BytesColumn } from "#shared/events/columns.ts";
import { HEADERS } from "#shared/events/names.ts";
import { headerText, type OutputRecord } from "../runtime/output-record.ts";
import { GATHERED, type SinkStore } from "../runtime/partition-sink.ts";
import { insertBlock } from "./block-insert.ts";
import type { Provenance } from "./event-rows.ts";

const SCHEMA = defineSchema([
  { name: "at", type: "timestamp" },
  { name: "reason", type: "utf8" },
  { name: "pointer", type: "utf8" },
  { name: "key", type: "binary" },
  { name: "value", type: "binary" },
  { name: "rules_version", type: "uint32" },
  { name: "lane", type: "dictionary16" },
  { name: "gen", type: "uint16" },
  { name: "p", type: "uint16" },
  { name: "oseq", type: "int64" },
  { name: "source_offset", type: "int64" },
]);
const NO_BYTES = new Uint8Array(0);

export function createDeadLettersStore(client: Clickhouse, table: string, topic: string, provenance: Provenance): SinkStore {
  return {
    fetch: GATHERED,
    resume: async (position) => position,
    deliver: async (records) => {
      const first = records[0]!;
      const last = records.at(-1)!;
      // Two blocks of different extent that overlap have different tokens; the table's key then makes one row of two.
      const token = `${topic}:${provenance.partition}:${provenance.generation}:${first.oseq}-${last.oseq}`;
      await insertBlock(client, table, token, encodeRows(records, provenance));
      return { offset: last.offset + 1, oseq: last.oseq + last.count - 1 };
    },
  };
}

function encodeRows(records: readonly OutputRecord[], { lane, generation, partition }: Provenance): Uint8Array {
  const rows = records.length;
  const text = (key: string): BytesColumn => bytesColumn(records.map(({ headers }) => Buffer.from(headerText(headers, key) ?? "")));
  return encodeColumns(SCHEMA, rows, [
    Float64Array.from(records, ({ timestampMs }) => timestampMs),
    text(HEADERS.reason),
    text(HEADERS.pointer),
    bytesColumn(records.map(({ key }) => key ?? NO_BYTES)),
    bytesColumn(records.map(({ value }) => value ?? NO_BYTES)),
    Uint32Array.from(records, ({ headers }) =>
      Number(headerText(headers, HEADERS.letterRulesVersion) ?? headerText(headers, HEADERS.rulesVersion) ?? 0),
    ),
    { codes: new Int16Array(rows), values: [lane] },
    new Uint16Array(rows).fill(generation),
    new Uint16Array(rows).fill(partition),
    Float64Array.from(records, ({ oseq }) => oseq),
    Float64Array.from(records, ({ headers }) => Number(headerText(headers, HEADERS.source)?.split("/").at(-1) ?? 0)),
  ]);
}

function bytesColumn(values: readonly Uint8Array[]): BytesColumn {
  const offsets = new Int32Array(values.length + 1);
  for (const [i, value] of values.entries()) offsets[i + 1] = offsets[i]! + value.length;
  return { offsets, bytes: Buffer.concat(values), validity: null };
}
