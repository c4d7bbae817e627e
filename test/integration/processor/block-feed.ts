/**
 * Stands in for producers and validator: rows in events.raw, and blocks of the same rows in events.valid, some of them twice. Event times run
 * ahead by ten seconds a block, so that sessions and windows close on the way. And the oracle: the fold over the very log, once, undisturbed.
 */
import { expect } from "vitest";
import { foldOptions } from "#processor/assignment/folds.ts";
import { createFold } from "#processor/fold/partition-fold.ts";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { decodeClean, decodeLate, decodeWindows, encodeBlock } from "#shared/events/block.ts";
import { groupId, HEADERS, topicName } from "#shared/events/names.ts";
import { cleanRows, type EventRow, eventColumns, lateRows, windowRows } from "#test/support/event-batch.ts";
import { partialRows } from "#test/support/partial-rows.ts";

const ROLES = ["clean", "windows", "dlq", "late", "partials"] as const;
type Role = (typeof ROLES)[number];

const BLOCK_ROWS = 20;
const BLOCK_SPAN_MS = 10_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

type FeedConfig = Pick<Config, "lane" | "generation" | "partitions"> & { readonly kafka: Kafka; readonly startMs: number };

export class BlockFeed {
  readonly #config: FeedConfig;
  readonly blocks: number[];

  constructor(config: FeedConfig) {
    this.#config = config;
    this.blocks = Array.from({ length: config.partitions }, () => 0);
  }

  get rows(): number {
    return this.blocks.reduce((sum, blocks) => sum + blocks * BLOCK_ROWS, 0);
  }

  /** One block for each partition; every fifth comes twice, the second time with its predecessor. */
  async write(): Promise<void> {
    const { kafka, lane, partitions } = this.#config;
    await Promise.all(
      Array.from({ length: partitions }, async (_, partition) => {
        const number = this.blocks[partition]!;
        await kafka.produce(
          { topic: topicName(lane, "raw"), partition },
          Array.from({ length: BLOCK_ROWS }, () => ({ key: null, value: encoder.encode("{}") })),
        );
        await kafka.produce({ topic: topicName(lane, "valid"), partition }, [this.#block(partition, number, 1)]);
        if (number % 5 === 4) await kafka.produce({ topic: topicName(lane, "valid"), partition }, [this.#block(partition, number - 1, 2)]);
        this.blocks[partition] = number + 1;
      }),
    );
  }

  #block(partition: number, number: number, blocks: number): OutgoingRecord {
    const first = number * BLOCK_ROWS;
    const rows = Array.from({ length: blocks * BLOCK_ROWS }, (_, i) => this.#row(partition, first + i));
    const last = first + rows.length - 1;
    const { lane, generation } = this.#config;
    const meta = {
      generation,
      topic: topicName(lane, "raw"),
      partition,
      firstSourceOffset: first,
      lastSourceOffset: last,
      rulesVersion: 1,
    };
    const headers = {
      [HEADERS.kind]: "block",
      [HEADERS.generation]: generation,
      [HEADERS.firstSourceOffset]: first,
      [HEADERS.lastSourceOffset]: last,
      [HEADERS.oldest]: Date.now(),
    };
    const texts = Object.entries({ ...headers, [HEADERS.count]: rows.length });
    return {
      key: null,
      value: encodeBlock(eventColumns(rows), meta),
      headers: texts.map(([key, text]) => [key, encoder.encode(String(text))] as const),
    };
  }

  #row(partition: number, sourceOffset: number): EventRow {
    if (sourceOffset % 17 === 3)
      return { sourceOffset, verdict: "reject", reason: "json.syntax", raw: `{"row ${sourceOffset}`, rawKey: "1", properties: null };
    const eventTimeMs =
      this.#config.startMs + Math.floor((sourceOffset * BLOCK_SPAN_MS) / BLOCK_ROWS) - (sourceOffset % 29 === 5 ? 60_000 : 0);
    // Every 23rd event is its predecessor again, in another record.
    const eventId = partition * 1_000_000 + (sourceOffset % 23 === 9 ? sourceOffset : sourceOffset + 1);
    return {
      sourceOffset,
      eventId,
      eventTimeMs,
      userId: 1 + (sourceOffset % 11),
      sessionId: `s-${sourceOffset % 11}`,
      value: sourceOffset % 50,
    };
  }
}

/** Resolves when everything in events.valid is committed; throws otherwise, for `settles`. */
export async function expectCaughtUp({ kafka, ...config }: FeedConfig): Promise<void> {
  const id = { lane: config.lane, generation: config.generation };
  for (let partition = 0; partition < config.partitions; partition++) {
    const at = { topic: topicName(config.lane, "valid"), partition };
    const end = await kafka.listOffset(at, "latest", "read_uncommitted");
    const [committed] = await kafka.committedOffsets(groupId(id, "processor"), [at], { requireStable: true });
    expect(committed?.offset, `partition ${partition} of ${config.lane}`).toBe(end);
  }
}

export interface OutputFacts {
  readonly clean: number;
  readonly windows: number;
  readonly deadLettered: number;
  readonly late: number;
}

/** What kafkajs reads under read_committed equals the oracle, row for row, with gap-free counters. */
export async function expectExactlyOnce(brokers: readonly string[], config: Config, kafka: Kafka): Promise<OutputFacts> {
  const counts = { clean: 0, windows: 0, dlq: 0, late: 0, partials: 0 };
  const expected = await oracle(config, kafka);
  for (const role of ROLES) {
    const found = Array.from({ length: config.partitions }, () => [] as string[]);
    await readCommitted(brokers, topicName(config.lane, role), ({ partition, value, headers }) => {
      const rows = found[partition]!;
      expect(Number(headers[HEADERS.oseq]?.toString()), `oseq of ${role}/${partition}`).toBe(rows.length + 1);
      if (value !== null) rows.push(...rowsOf(role, value));
    });
    for (const [partition, rows] of found.entries()) expect(rows, `${role}/${partition}`).toEqual(expected[partition]![role]);
    counts[role] = found.reduce((sum, rows) => sum + rows.length, 0);
  }
  return { clean: counts.clean, windows: counts.windows, deadLettered: counts.dlq, late: counts.late };
}

async function oracle(config: Config, kafka: Kafka): Promise<Record<Role, string[]>[]> {
  return Promise.all(
    Array.from({ length: config.partitions }, async (_, partition) => {
      const rows: Record<Role, string[]> = { clean: [], windows: [], dlq: [], late: [], partials: [] };
      const fold = createFold({ ...foldOptions(config, partition), reuseOutputs: false });
      const at = { topic: topicName(config.lane, "valid"), partition };
      const end = await kafka.listOffset(at, "latest", "read_uncommitted");
      const [committed] = await kafka.committedOffsets(groupId(config, "processor"), [at], { requireStable: true });
      for (let offset = 0; offset < end;) {
        const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed" });
        for (const record of answer!.records) {
          if (record.offset < committed!.offset) fold.apply(record);
          // An owner that is asked to leave may have appended a tick that only its successor will fold. Nothing else may be left.
          else expect(decoder.decode(record.headers.find(([key]) => key === HEADERS.kind)?.[1])).toBe("tick");
        }
        for (const { role, value } of fold.takeOutputs()) if (value !== null && isRead(role)) rows[role].push(...rowsOf(role, value));
        offset = answer!.nextOffset;
      }
      return rows;
    }),
  );
}

function isRead(role: string): role is Role {
  return (ROLES as readonly string[]).includes(role);
}

function rowsOf(role: Role, value: Uint8Array): string[] {
  if (role === "dlq") return [Buffer.from(value).toString()];
  if (role === "partials") return partialRows(value).map((row) => JSON.stringify(row));
  const rows: readonly object[] =
    role === "clean" ? cleanRows(decodeClean(value)) : role === "windows" ? windowRows(decodeWindows(value)) : lateRows(decodeLate(value));
  return rows.map((row) => JSON.stringify(row, (_key, field: unknown) => (typeof field === "bigint" ? String(field) : field)));
}
