/** events.clean into the table `events` and its views: one insert per cut and month. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { decodeClean } from "#shared/events/block.ts";
import { assert } from "#shared/kernel/assert.ts";
import type { OutputRecord } from "../runtime/output-record.ts";
import { ANY_ROW, type SinkPosition, type SinkStore } from "../runtime/partition-sink.ts";
import { insertBlock } from "./block-insert.ts";
import { isReplicated, repairActivity, rowsOfCut } from "./events-repair.ts";
import { monthBlocks, type Provenance, type RowSource } from "./event-rows.ts";

/**
 * `topic` stands in the token. Tokens are remembered for a while only: a store that reads from the beginning (its position has expired, or someone
 * has reset it) asks the table which cut it has last, and passes over the ones before. That last one goes again, since its views may lack it.
 */
export function createEventsStore(client: Clickhouse, table: string, topic: string, provenance: Provenance): SinkStore {
  let waiting: RowSource[] = [];
  let openCut: number | null = null;
  let firstCut = 0;
  /** The next cuts may have been tried before, and the server may have died under them: until the first one that is new. */
  let mustCheck = false;

  const endCut = async (cut: number): Promise<void> => {
    const blocks = monthBlocks(waiting, cut, provenance);
    let isNew = true;
    for (const { month, rows, bytes } of blocks) {
      const token = `${topic}:${provenance.partition}:${provenance.generation}:${cut}:${month}`;
      const held = (): Promise<number> => rowsOfCut(client, table, cut, month, provenance);
      if (mustCheck && (await held()) > 0) isNew = false;
      await insertBlock(client, table, token, bytes);
      if (mustCheck && rows > 0 && (await held()) === 0) await insertBlock(client, table, `${token}:again`, bytes);
    }
    if (mustCheck && blocks.length > 0) {
      await repairActivity(client, table, topic, cut, provenance);
      mustCheck = !isNew;
    }
    waiting = [];
    openCut = null;
  };

  return {
    resume: async (position) => {
      waiting = [];
      openCut = null;
      mustCheck = !(await isReplicated(client, table));
      firstCut = position === null || position.oseq === ANY_ROW ? await lastCut(client, table, provenance) : 0;
      return position;
    },
    deliver: async (records: readonly OutputRecord[]) => {
      let durable: SinkPosition | null = null;
      for (const record of records) {
        assert(openCut === null || openCut === record.cut, `cut ${openCut} is still open where cut ${record.cut} begins`);
        openCut = record.cut;
        if (record.count > 0 && record.cut >= firstCut) {
          assert(record.value !== null, "a record with rows has a value");
          const columns = decodeClean(record.value);
          assert(columns.rows === record.count, "the header counts the rows");
          waiting.push({ columns, oseq: record.oseq });
        }
        if (!record.endsCut) continue;
        await endCut(record.cut);
        durable = { offset: record.offset + 1, oseq: record.oseq + record.count - 1 };
      }
      return durable;
    },
  };
}

/** 0 = none. */
async function lastCut(client: Clickhouse, table: string, { lane, generation, partition }: Provenance): Promise<number> {
  const [found] = await client.query<{ readonly cut: number }>(
    `SELECT toFloat64(max(cut)) AS cut FROM ${table} WHERE lane = {lane:String} AND gen = {generation:UInt16} AND p = {partition:UInt16}`,
    { lane, generation, partition },
  );
  return found?.cut ?? 0;
}
