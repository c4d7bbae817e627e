/**
 * Dead letters that wait for the end of the epoch: one record per row, with the key, value and headers as they came. Headers of the producer
 * whose names are ours get a prefix, so that nobody can forge a position or a reason; the count of replays is carried on.
 */
import { decodeHeaders } from "#shared/events/headers.ts";
import type { BytesColumn, EventColumns } from "#shared/events/columns.ts";
import { HEADERS } from "#shared/events/names.ts";
import { eventJson, userIdText } from "./event-json.ts";

export interface DeadLetter {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [key: string, value: Uint8Array])[];
}

export interface BlockOrigin {
  readonly topic: string;
  readonly partition: number;
  readonly rulesVersion: number;
}

/** "1" when the original bytes were no longer there and the value was written anew from the columns. */
export const REENCODED_HEADER = "weir-reencoded";
const ORIGINAL = "weir-original-";
const RESERVED: ReadonlySet<string> = new Set([...Object.values(HEADERS), REENCODED_HEADER]);
const MAX_REPLAYS = 1_000_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A reject of the validator. */
export function deadLetterOf(block: EventColumns, row: number, origin: BlockOrigin): DeadLetter {
  const code = block.reason.codes[row]!;
  const pointer = bytesAt(block.pointer, row);
  return {
    key: bytesAt(block.rawKey, row),
    value: bytesAt(block.raw, row),
    headers: letterHeaders(block, row, origin, code < 0 ? "unknown" : block.reason.values[code]!, pointer ?? new Uint8Array(0)),
  };
}

/** Another event under an id that was seen. Accepted rows carry no original bytes: the value is JSON made from the columns. */
export function conflictOf(block: EventColumns, row: number, origin: BlockOrigin): DeadLetter {
  return {
    key: encoder.encode(userIdText(block, row)),
    value: eventJson(block, row),
    headers: [...letterHeaders(block, row, origin, "id.conflict", encoder.encode("/event_id")), text(REENCODED_HEADER, "1")],
  };
}

function letterHeaders(block: EventColumns, row: number, origin: BlockOrigin, reason: string, pointer: Uint8Array): DeadLetter["headers"] {
  const stored = bytesAt(block.headers, row);
  const original = stored === null ? [] : decodeHeaders(stored);
  const replays = original.findLast(([key]) => key === HEADERS.replays)?.[1];
  return [
    ...original
      .filter(([key]) => key !== HEADERS.replays)
      .map(([key, value]) => [RESERVED.has(key) ? ORIGINAL + key : key, value] as const),
    text(HEADERS.reason, reason),
    [HEADERS.pointer, pointer],
    text(HEADERS.source, `${origin.topic}/${origin.partition}/${block.sourceOffset[row]!}`),
    text(HEADERS.rulesVersion, String(origin.rulesVersion)),
    text(HEADERS.replays, String(replays === undefined ? 0 : replaysOf(replays))),
  ];
}

function replaysOf(value: Uint8Array): number {
  const count = Number(decoder.decode(value));
  return Number.isInteger(count) && count >= 0 && count <= MAX_REPLAYS ? count : 0;
}

function text(key: string, value: string): readonly [string, Uint8Array] {
  return [key, encoder.encode(value)];
}

/** null = the slot is null. A view. */
function bytesAt(column: BytesColumn, row: number): Uint8Array | null {
  const { validity, offsets } = column;
  if (validity !== null && ((validity[row >> 3]! >> (row & 7)) & 1) === 0) return null;
  return column.bytes.subarray(offsets[row], offsets[row + 1]);
}
