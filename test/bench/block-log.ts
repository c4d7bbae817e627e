/** Blocks of the fold bench's events as records of events.valid, at a rate of event time that is chosen: encoded ahead, so that sending costs little. */
import type { OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { encodeBlock } from "#shared/events/block.ts";
import type { EventColumns } from "#shared/events/columns.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { EventStream, SPAN_MS } from "./fold-events.ts";

export const BLOCK_ROWS = 1_000;
const encoder = new TextEncoder();

export interface BlockLogOptions {
  readonly lane: string;
  readonly users: number;
  readonly blocks: number;
  /** Of event time. */
  readonly eventsPerSecond: number;
  /** The first so many events are one each of as many users. */
  readonly eachUserOnce?: number;
}

export function* blockLog({ lane, users, blocks, eventsPerSecond, eachUserOnce = 0 }: BlockLogOptions): Generator<OutgoingRecord> {
  // The stream spreads its events over a fixed span: of so many that the wanted rate comes out, the first are taken.
  const stream = new EventStream(users, (eventsPerSecond * 2 * SPAN_MS) / 1_000, BLOCK_ROWS);
  let number = 0;
  for (const columns of stream.blocks()) {
    if (number === blocks) return;
    const from = number * BLOCK_ROWS;
    for (let row = 0; row < BLOCK_ROWS && from + row < eachUserOnce; row++) columns.userId[row * 2] = Math.imul(from + row + 1, 0x9e3779b1);
    yield blockRecord(lane, columns);
    number += 1;
  }
}

function blockRecord(lane: string, columns: EventColumns): OutgoingRecord {
  const firstSourceOffset = columns.sourceOffset[0]!;
  const lastSourceOffset = firstSourceOffset + columns.rows - 1;
  const meta = { generation: 1, topic: topicName(lane, "raw"), partition: 0, firstSourceOffset, lastSourceOffset, rulesVersion: 1 };
  const named = { kind: "block", generation: 1, firstSourceOffset, lastSourceOffset, count: columns.rows, rulesVersion: 1 } as const;
  const headers = Object.entries(named).map(
    ([name, content]) => [HEADERS[name as keyof typeof named], encoder.encode(String(content))] as const,
  );
  return { key: null, value: encodeBlock(columns, meta), headers };
}
