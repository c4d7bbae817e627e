/** The envelope's values, parsed in place from text that has passed the scanner. Answers are reason codes or null. */
import type { ReasonCode } from "#shared/events/reasons.ts";
import * as tables from "./bytes.ts";

// Constants of this module, since the compiler does not fold imported ones.
const { HEX } = tables;
const MINUS = 0x2d;

const encoder = new TextEncoder();
const PLACEHOLDERS = [
  "00000000-0000-0000-0000-000000000000",
  "null",
  "undefined",
  "[object Object]",
  "NaN",
  "nan",
  "none",
  "None",
  "guest",
  "anonymous",
  "true",
  "false",
  "0",
].map((word) => encoder.encode(word));

export function isPlaceholder(bytes: Uint8Array, start: number, end: number): boolean {
  return PLACEHOLDERS.some((word) => word.length === end - start && word.every((byte, i) => bytes[start + i] === byte));
}

/** Value of two hexadecimal digits, by both bytes; 256 and more = they are none. */
const HEX_PAIRS = new Uint16Array(65_536).map((_, pair) => {
  const high = HEX[pair >> 8]!;
  const low = HEX[pair & 255]!;
  return (high | low) > 15 ? 256 : (high << 4) | low;
});

/** Any version and variant, either case, dashes where RFC 9562 has them; not the nil id. True: the first 16 bytes of `target` are it. */
export function parseUuid(view: DataView, start: number, end: number, target: Uint8Array): boolean {
  if (end - start !== 36) return false;
  const dashes =
    (view.getUint8(start + 8) ^ MINUS) |
    (view.getUint8(start + 13) ^ MINUS) |
    (view.getUint8(start + 18) ^ MINUS) |
    (view.getUint8(start + 23) ^ MINUS);
  if (dashes !== 0) return false;
  const pairs = HEX_PAIRS;
  let all = 0;
  for (let i = 0, at = start; i < 16; i++, at += 2) {
    if (i === 4 || i === 6 || i === 8 || i === 10) at++;
    const byte = pairs[view.getUint16(at)]!;
    all |= byte;
    target[i] = byte;
  }
  return all !== 0 && all < 256;
}

/** Canonical decimal text of an unsigned 64-bit number, into words (low half first). Canonical, since the record's key must be the same text. */
export function parseUserId(bytes: Uint8Array, start: number, end: number, target: Uint32Array, at: number): ReasonCode | null {
  const digits = end - start;
  if (digits === 0 || digits > 20 || (digits > 1 && bytes[start] === 0x30)) return placeholderOr("id.format", bytes, start, end);
  let high = 0;
  const split = Math.max(start, end - 9);
  for (let i = start; i < split; i++) {
    if (!isDigit(bytes[i]!)) return placeholderOr("id.format", bytes, start, end);
    high = high * 10 + (bytes[i]! - 0x30);
  }
  let low = 0;
  for (let i = split; i < end; i++) {
    if (!isDigit(bytes[i]!)) return placeholderOr("id.format", bytes, start, end);
    low = low * 10 + (bytes[i]! - 0x30);
  }
  if (high === 0) {
    target[at] = low;
    target[at + 1] = 0;
    return null;
  }
  // high * 1e9 + low in two pieces that stay below 2^53: high < 1e11.
  const upper = Math.floor(high / 65_536) * 1e9;
  const lower = (high % 65_536) * 1e9 + low;
  const words = (upper % 65_536) * 65_536 + (lower % 4_294_967_296);
  const highWord = Math.floor(upper / 65_536) + Math.floor(lower / 4_294_967_296) + Math.floor(words / 4_294_967_296);
  if (highWord > 0xffffffff) return "schema.range";
  target[at] = words % 4_294_967_296;
  target[at + 1] = highWord;
  return null;
}

function placeholderOr(reason: ReasonCode, bytes: Uint8Array, start: number, end: number): ReasonCode {
  return isPlaceholder(bytes, start, end) ? "id.placeholder" : reason;
}

/** The last valid date and its midnight in UTC: a memory only, events of one day come together. */
let knownDate = -1;
let knownDateMs = 0;

/** RFC 3339 with zone, epoch milliseconds into `target[0]`. Digits beyond the millisecond are cut. No 24:00, no leap second: neither can be told apart later. */
export function parseTimestamp(bytes: Uint8Array, start: number, end: number, target: Float64Array): ReasonCode | null {
  if (end - start < 19) return "time.unparseable";
  const century = digits2(bytes, start);
  const years = digits2(bytes, start + 2);
  const month = digits2(bytes, start + 5);
  const day = digits2(bytes, start + 8);
  const hour = digits2(bytes, start + 11);
  const minute = digits2(bytes, start + 14);
  const second = digits2(bytes, start + 17);
  if ((century | years | month | day | hour | minute | second) < 0) return "time.unparseable";
  const marks =
    (bytes[start + 4]! ^ MINUS) |
    (bytes[start + 7]! ^ MINUS) |
    ((bytes[start + 10]! | 0x20) ^ 0x74) |
    (bytes[start + 13]! ^ 0x3a) |
    (bytes[start + 16]! ^ 0x3a);
  if (marks !== 0) return "time.unparseable";
  const date = ((100 * century + years) * 100 + month) * 100 + day;
  if (date !== knownDate) {
    const year = 100 * century + years;
    if (month < 1 || month > 12 || day < 1 || day > daysIn(year, month)) return "time.unparseable";
    knownDate = date;
    knownDateMs = daysSinceEpoch(year, month, day) * 86_400_000;
  }
  if (hour > 23 || minute > 59 || second > 59) return "time.unparseable";
  let at = start + 19;
  let fractionMs = 0;
  if (at < end && bytes[at] === 0x2e) {
    at++;
    const from = at;
    // Three digits and Z, what nearly every producer writes.
    if (end - at === 4) {
      const tens = digits2(bytes, at);
      const last = bytes[at + 2]! - 0x30;
      if (tens < 0 || last < 0 || last > 9) return "time.unparseable";
      fractionMs = 10 * tens + last;
      at += 3;
    }
    for (let scale = 100; at < end && isDigit(bytes[at]!); at++, scale = scale === 1 ? 0 : scale / 10)
      fractionMs += scale * (bytes[at]! - 0x30);
    if (at === from) return "time.unparseable";
  }
  if (at >= end) return "time.zone";
  let offsetMinutes = 0;
  if ((bytes[at]! | 0x20) === 0x7a) at++;
  else {
    const sign = bytes[at] === 0x2b ? 1 : bytes[at] === MINUS ? -1 : 0;
    if (end - at !== 6 || bytes[at + 3] !== 0x3a) return "time.unparseable";
    const offsetHour = digits2(bytes, at + 1);
    const offsetMinute = digits2(bytes, at + 4);
    if (sign === 0 || (offsetHour | offsetMinute) < 0 || offsetHour > 23 || offsetMinute > 59) return "time.unparseable";
    offsetMinutes = sign * (60 * offsetHour + offsetMinute);
    at += 6;
  }
  if (at !== end) return "time.unparseable";
  target[0] = knownDateMs + ((hour * 60 + minute - offsetMinutes) * 60 + second) * 1_000 + fractionMs;
  return null;
}

/** An integer is taken as milliseconds only where it can be nothing else: 1e11 ms = 1973, 1e11 s = year 5138. */
export function parseEpoch(bytes: Uint8Array, start: number, end: number, target: Float64Array): ReasonCode | null {
  if (bytes[start] === MINUS) return "time.ancient";
  if (end - start > 14) return "time.unit";
  let value = 0;
  for (let i = start; i < end; i++) value = value * 10 + (bytes[i]! - 0x30);
  if (value < 1e8) return "time.ancient";
  if (value < 1e11 || value >= 1e14) return "time.unit";
  target[0] = value;
  return null;
}

/** -1 = no two digits. */
function digits2(bytes: Uint8Array, at: number): number {
  const tens = bytes[at]! - 0x30;
  const ones = bytes[at + 1]! - 0x30;
  return tens < 0 || tens > 9 || ones < 0 || ones > 9 ? -1 : 10 * tens + ones;
}

function daysIn(year: number, month: number): number {
  if (month === 2) return year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil; years 0 to 9999. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = (((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) | 0) + day - 1;
  return era * 146_097 + yearOfEra * 365 + ((yearOfEra / 4) | 0) - ((yearOfEra / 100) | 0) + dayOfYear - 719_468;
}

function isDigit(byte: number): boolean {
  return byte >= 0x30 && byte <= 0x39;
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
