/** The event_id of a raw record, as the recount needs it: without the validator's code, which is what is being checked. */

const KEY = Buffer.from('"event_id"');
const QUOTE = 0x22;
const COLON = 0x3a;
const DASH = 0x2d;

/**
 * The first `"event_id":"…"` of the bytes into `into`, 16 bytes. A hint for the common case: a nested object's id, or an escaped one, is told apart by
 * {@link readEventId} only.
 */
export function scanEventId(value: Uint8Array, into: Uint8Array): boolean {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  let at = bytes.indexOf(KEY);
  if (at < 0) return false;
  at = skipBlanks(bytes, at + KEY.length);
  if (bytes[at] !== COLON) return false;
  at = skipBlanks(bytes, at + 1);
  if (bytes[at++] !== QUOTE) return false;
  let digits = 0;
  let high = 0;
  for (; at < bytes.length && bytes[at] !== QUOTE; at++) {
    if (bytes[at] === DASH) continue;
    const digit = hexDigit(bytes[at]!);
    if (digit < 0 || digits === 32) return false;
    if ((digits & 1) === 0) high = digit;
    else into[digits >> 1] = (high << 4) | digit;
    digits++;
  }
  return digits === 32 && at < bytes.length;
}

/** Null: not an id that the pipeline could have read. */
export function readEventId(value: Uint8Array | null): Uint8Array | null {
  try {
    const event: unknown = JSON.parse(Buffer.from(value ?? []).toString());
    if (typeof event !== "object" || event === null || !("event_id" in event) || typeof event.event_id !== "string") return null;
    const hex = event.event_id.replaceAll("-", "");
    return /^[0-9a-fA-F]{32}$/.test(hex) ? Buffer.from(hex, "hex") : null;
  } catch {
    return null;
  }
}

function skipBlanks(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d) at++;
  return at;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
