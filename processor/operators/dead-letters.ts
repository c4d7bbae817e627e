/**
 * Dead letters that wait for the end of the epoch: one record per row, with the key, value and headers as they came. Headers of the producer
 * whose names are ours get a prefix, so that nobody can forge a position or a reason; what a replay wrote is carried on: how often, and by which.
 */
import { decodeHeaders } from "#shared/events/headers.ts";
import type { BytesColumn, EventColumns } from "#shared/events/columns.ts";
import { KEPT_BYTES } from "#shared/events/kept-bytes.ts";
import { HEADERS, isReservedHeader, ORIGINAL_HEADER_PREFIX } from "#shared/events/names.ts";
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

const MAX_REPLAYS = 1_000_000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A reject of the validator. */
export function deadLetterOf(block: EventColumns, row: number, origin: BlockOrigin): DeadLetter {
  const code = block.reason.codes[row]!;
  const reason = code < 0 ? "unknown" : block.reason.values[code]!;
  const key = bytesAt(block.rawKey, row);
  const value = bytesAt(block.raw, row);
  const headers = letterHeaders(block, row, origin, reason, bytesAt(block.pointer, row) ?? new Uint8Array(0));
  const truncated = truncatedParts(key, value, reason);
  return { key, value, headers: truncated === "" ? headers : [...headers, text(HEADERS.truncated, truncated)] };
}

/** Another event under an id that was seen. Accepted rows carry no original bytes: the value is JSON made from the columns. */
export function conflictOf(block: EventColumns, row: number, origin: BlockOrigin): DeadLetter {
  return {
    key: encoder.encode(userIdText(block, row)),
    value: eventJson(block, row),
    headers: [...letterHeaders(block, row, origin, "id.conflict", encoder.encode("/event_id")), text(HEADERS.reencoded, "1")],
  };
}

function letterHeaders(block: EventColumns, row: number, origin: BlockOrigin, reason: string, pointer: Uint8Array): DeadLetter["headers"] {
  const stored = bytesAt(block.headers, row);
  const original = stored === null ? [] : decodeHeaders(stored);
  const last = (name: string): Uint8Array | undefined => original.findLast(([key]) => key === name)?.[1];
  const replays = last(HEADERS.replays);
  const replay = last(HEADERS.replay);
  return [
    ...original
      .filter(([key]) => key !== HEADERS.replays && key !== HEADERS.replay)
      .map(([key, value]) => [isReservedHeader(key) ? ORIGINAL_HEADER_PREFIX + key : key, value] as const),
    text(HEADERS.reason, reason),
    [HEADERS.pointer, pointer],
    text(HEADERS.source, `${origin.topic}/${origin.partition}/${block.sourceOffset[row]!}`),
    text(HEADERS.letterRulesVersion, String(origin.rulesVersion)),
    text(HEADERS.replays, String(replays === undefined ? 0 : replaysOf(replays))),
    ...(replay === undefined ? [] : [[HEADERS.replay, replay] as const]),
  ];
}

/** The block says only what was kept: a part that is as long as can be kept may have been longer, and which headers fitted is not told. */
function truncatedParts(key: Uint8Array | null, value: Uint8Array | null, reason: string): string {
  const parts = [];
  if (value !== null && value.length >= KEPT_BYTES.value) parts.push("value");
  if (key !== null && key.length >= KEPT_BYTES.key) parts.push("key");
  if (reason === "headers.size") parts.push("headers");
  return parts.join();
}

function replaysOf(value: Uint8Array): number {
  const count = Number(decoder.decode(value));
  return Number.isInteger(count) && count >= 0 && count <= MAX_REPLAYS ? count : 0;
}

function text(key: string, value: string): readonly [string, Uint8Array] {
  return [key, encoder.encode(value)];
}

/** null = the slot is null. A copy: the block is gone before the letter is sent. */
function bytesAt(column: BytesColumn, row: number): Uint8Array | null {
  const { validity, offsets } = column;
  if (validity !== null && ((validity[row >> 3]! >> (row & 7)) & 1) === 0) return null;
  return column.bytes.slice(offsets[row], offsets[row + 1]);
}
