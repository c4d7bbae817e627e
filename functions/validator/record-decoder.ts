/**
 * Base64 of a record straight into the validator's input, each value with zero bytes behind it, which the scanner takes as its end mark; so a
 * record is decoded once and never copied.
 */
import { END_MARK_BYTES, type Headers, type Validator } from "./scanner/validator.ts";
import type { InvocationRecord } from "./invocation-event.ts";

export class RecordDecoder {
  /** The validator's input, as a Buffer: what decodes base64. */
  #pool: Buffer = Buffer.alloc(0);
  #input: Uint8Array = this.#pool;
  #valueBytes = 0;

  /** Decoded since the last call. */
  takeValueBytes(): number {
    const valueBytes = this.#valueBytes;
    this.#valueBytes = 0;
    return valueBytes;
  }

  /** Validates one record; false = rejected. */
  add(validator: Validator, record: InvocationRecord): boolean {
    const { value, key, offset } = record;
    const headers = record.headers === undefined || record.headers.length === 0 ? null : decodeHeaders(record.headers);
    const timestampMs = typeof record.timestamp === "number" ? record.timestamp : -1;
    const valueRoom = typeof value === "string" ? base64Size(value) : 0;
    const keyRoom = typeof key === "string" ? base64Size(key) : 0;
    const keyAt = Math.max(valueRoom, 0) + END_MARK_BYTES;
    const input = validator.input(keyAt + keyRoom + END_MARK_BYTES);
    if (input !== this.#input) {
      this.#input = input;
      this.#pool = Buffer.from(input.buffer, input.byteOffset, input.length);
    }
    const pool = this.#pool;
    let keyBytes: Uint8Array | null = null;
    let keyEnd = keyAt;
    if (typeof key === "string") {
      keyBytes = input;
      if (keyRoom > 0) keyEnd = decodeShort(key, input, keyAt);
      if (keyEnd < 0) keyEnd = keyAt + pool.write(key, keyAt, keyRoom, "base64");
    }
    if (value === undefined || value === null) return validator.add(null, 0, 0, keyBytes, headers, offset, timestampMs, keyAt, keyEnd);
    const end = typeof value === "string" && valueRoom > 0 ? pool.write(value, 0, valueRoom, "base64") : 0;
    if (typeof value !== "string" || end !== valueRoom) {
      const kept = keyBytes === null ? null : pool.subarray(keyAt, keyEnd);
      validator.addReject("value.base64", Buffer.from(typeof value === "string" ? value : JSON.stringify(value)), kept, headers, offset);
      return false;
    }
    this.#valueBytes += end;
    for (let i = end; i < keyAt; i++) pool[i] = 0;
    return validator.add(input, 0, end, keyBytes, headers, offset, timestampMs, keyAt, keyEnd);
  }
}

/** Bytes that well-formed base64 of this text holds; -1 = the length alone shows that it is not. */
function base64Size(text: string): number {
  const { length } = text;
  if (length % 4 !== 0) return -1;
  if (length === 0) return 0;
  const padding = text.charCodeAt(length - 1) !== PADDING ? 0 : text.charCodeAt(length - 2) !== PADDING ? 1 : 2;
  return (length / 4) * 3 - padding;
}

/** Up to here a loop beats the call into Node; keys are about as long as a user id. */
const SHORT_CHARACTERS = 48;
const NO_DIGIT = 0xff;
const PADDING = 61;
const DIGITS = new Uint8Array(128).fill(NO_DIGIT);
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
for (let digit = 0; digit < ALPHABET.length; digit++) DIGITS[ALPHABET.charCodeAt(digit)] = digit;

/**
 * Decodes base64 of whole groups to `start`, three bytes a group at most. Returns where it ends; -1 = too long, or anything but plain base64, of
 * which Node decides what it is.
 */
function decodeShort(text: string, into: Uint8Array, start: number): number {
  const last = text.length - 4;
  if (last + 4 > SHORT_CHARACTERS) return -1;
  let at = start;
  let codes = 0;
  let digits = 0;
  for (let i = 0; i <= last; i += 4) {
    const a = text.charCodeAt(i);
    const b = text.charCodeAt(i + 1);
    const c = text.charCodeAt(i + 2);
    const d = text.charCodeAt(i + 3);
    const isPadded = i === last && d === PADDING;
    const first = DIGITS[a & 0x7f]!;
    const second = DIGITS[b & 0x7f]!;
    const third = isPadded && c === PADDING ? 0 : DIGITS[c & 0x7f]!;
    const fourth = isPadded ? 0 : DIGITS[d & 0x7f]!;
    codes |= a | b | c | d;
    digits |= first | second | third | fourth;
    into[at++] = (first << 2) | (second >> 4);
    if (isPadded && c === PADDING) break;
    into[at++] = (second << 4) | (third >> 2);
    if (isPadded) break;
    into[at++] = (third << 6) | fourth;
  }
  return codes > 0x7f || digits === NO_DIGIT ? -1 : at;
}

function decodeHeaders(headers: NonNullable<InvocationRecord["headers"]>): Headers {
  const decoded: [string, Uint8Array][] = [];
  for (const header of headers) for (const name of Object.keys(header)) decoded.push([name, Uint8Array.from(header[name] ?? [])]);
  return decoded;
}
