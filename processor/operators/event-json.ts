/** An accepted event as JSON again: the fields that the columns hold, in the order of the schema, event_time in epoch milliseconds. */
import type { BytesColumn, DictionaryColumn, EventColumns } from "#shared/events/columns.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export function eventJson(block: EventColumns, row: number): Uint8Array {
  const userId = userIdText(block, row);
  const fields = [
    `"event_id":"${uuidText(block.eventId, row)}"`,
    `"event_time":${block.eventTimeMs[row]!}`,
    // Beyond 2^53 a JSON number would be rounded by most readers.
    `"user_id":${Number.isSafeInteger(Number(userId)) ? userId : `"${userId}"`}`,
  ];
  const add = (name: string, json: string | null): void => {
    if (json !== null) fields.push(`"${name}":${json}`);
  };
  add("event_type", quoted(wordAt(block.eventType, row)));
  add("source", quoted(wordAt(block.source, row)));
  add("session_id", quoted(textAt(block.sessionId, row)));
  add("device_info", structured(textAt(block.deviceInfo, row)));
  add("geo_location", structured(textAt(block.geoLocation, row)));
  add("properties", textAt(block.properties, row));
  return encoder.encode(`{${fields.join(",")}}`);
}

/** Decimal text of an unsigned 64-bit id. */
export function userIdText(block: EventColumns, row: number): string {
  const low = block.userId[row * 2]!;
  const high = block.userId[row * 2 + 1]!;
  if (high < 0x200000) return String(high * 4294967296 + low);
  // high * 2^32 + low in base 10^7, since 2^32 = 429 * 10^7 + 4967296 keeps every step exact.
  const small = (high % 10_000_000) * 4_967_296 + low;
  const rest = (high % 10_000_000) * 429 + Math.floor(high / 10_000_000) * 4_967_296 + Math.floor(small / 10_000_000);
  const top = Math.floor(high / 10_000_000) * 429 + Math.floor(rest / 10_000_000);
  const digits = [top, rest % 10_000_000, small % 10_000_000].map((part, i) => (i === 0 ? String(part) : String(part).padStart(7, "0")));
  return digits.join("").replace(/^0+(?=\d)/, "");
}

function uuidText(ids: Uint8Array, row: number): string {
  const hex = Array.from(ids.subarray(row * 16, row * 16 + 16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function quoted(text: string | null): string | null {
  return text === null ? null : JSON.stringify(text);
}

/** Text columns that hold an object as its JSON, anything else as plain text. */
function structured(text: string | null): string | null {
  return text === null || text.startsWith("{") || text.startsWith("[") ? text : JSON.stringify(text);
}

function wordAt(column: DictionaryColumn, row: number): string | null {
  const code = column.codes[row]!;
  return code < 0 ? null : column.values[code]!;
}

function textAt(column: BytesColumn, row: number): string | null {
  const { validity, offsets } = column;
  if (validity !== null && ((validity[row >> 3]! >> (row & 7)) & 1) === 0) return null;
  return decoder.decode(column.bytes.subarray(offsets[row], offsets[row + 1]));
}
