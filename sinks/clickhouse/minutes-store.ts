/**
 * metrics.minutes into metrics_1min, quality_1min and cost_1min: one record is one insert, so that its token is its place in the log whatever comes
 * beside it, and every retry has the same bytes.
 *
 * A server that was killed may know a token whose rows it has not (events-repair.ts). So after every start and failure the first delivery looks at what
 * the table has; rows that are missing go in under another token. The tables' keys make one row of two, so that going in twice is no harm.
 */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import { MINUTE_FIELDS, type MinuteKind } from "#shared/events/minutes.ts";
import { HEADERS } from "#shared/events/names.ts";
import { assert } from "#shared/kernel/assert.ts";
import { decodeMinuteRows, type MinuteRows } from "../minutes/minute-rows.ts";
import { headerText, type OutputRecord } from "../runtime/output-record.ts";
import { GATHERED, type SinkStore } from "../runtime/partition-sink.ts";
import { insertBlock } from "./block-insert.ts";
import { type Provenance, PROVENANCE_FIELDS } from "./event-rows.ts";

const TABLES: Readonly<Record<MinuteKind, string>> = { metrics: "metrics_1min", quality: "quality_1min", cost: "cost_1min" };

const SCHEMAS = {
  metrics: defineSchema([...MINUTE_FIELDS.metrics, ...PROVENANCE_FIELDS]),
  quality: defineSchema([...MINUTE_FIELDS.quality, ...PROVENANCE_FIELDS]),
  cost: defineSchema([...MINUTE_FIELDS.cost, ...PROVENANCE_FIELDS]),
};

export interface MinutesStoreOptions {
  readonly client: Clickhouse;
  readonly database: string;
  readonly topic: string;
  readonly provenance: Provenance;
  /** Gets what has become durable. */
  readonly onStored?: (rows: MinuteRows, loggedMs: number) => void;
}

export function createMinutesStore({ client, database, topic, provenance, onStored }: MinutesStoreOptions): SinkStore {
  let mustCheck = false;

  const store = async (record: OutputRecord): Promise<void> => {
    assert(record.value !== null, "a record with rows has a value");
    const rows = decodeMinuteRows(headerText(record.headers, HEADERS.kind), record.value);
    assert(rows.rows === record.count, "the header counts the rows");
    const table = `${database}.${TABLES[rows.kind]}`;
    const token = `${topic}:${provenance.partition}:${provenance.generation}:${record.oseq}`;
    const bytes = encodeRows(rows, record.oseq, provenance);
    await insertBlock(client, table, token, bytes);
    if (mustCheck && (await heldRows(client, table, record, provenance)) < record.count) {
      await insertBlock(client, table, `${token}:again`, bytes);
    }
    onStored?.(rows, record.timestampMs);
  };

  return {
    fetch: GATHERED,
    resume: async (position) => {
      mustCheck = true;
      return position;
    },
    deliver: async (records) => {
      for (const record of records) if (record.count > 0) await store(record);
      mustCheck = false;
      const last = records.at(-1)!;
      return { offset: last.offset + 1, oseq: last.oseq + last.count - 1 };
    },
  };
}

async function heldRows(client: Clickhouse, table: string, { oseq, count }: OutputRecord, provenance: Provenance): Promise<number> {
  const [found] = await client.query<{ readonly rows: number }>(
    `SELECT toFloat64(uniqExact(oseq)) AS rows FROM ${table}
     WHERE lane = {lane:String} AND gen = {generation:UInt16} AND p = {partition:UInt16} AND oseq >= {first:UInt64} AND oseq < {end:UInt64}`,
    { ...provenance, first: oseq, end: oseq + count },
  );
  return found?.rows ?? 0;
}

function encodeRows({ kind, rows, columns }: MinuteRows, firstOseq: number, { lane, generation, partition }: Provenance): Uint8Array {
  return encodeColumns(SCHEMAS[kind], rows, [
    ...columns,
    { codes: new Int16Array(rows), values: [lane] },
    new Uint16Array(rows).fill(generation),
    new Uint16Array(rows).fill(partition),
    Float64Array.from({ length: rows }, (_, row) => firstOseq + row),
  ]);
}
