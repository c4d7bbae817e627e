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
      if (keyRoom > 0) keyEnd += pool.write(key, keyAt, keyRoom, "base64");
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
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  return (length / 4) * 3 - padding;
}

function decodeHeaders(headers: NonNullable<InvocationRecord["headers"]>): Headers {
  const decoded: [string, Uint8Array][] = [];
  for (const header of headers) for (const name of Object.keys(header)) decoded.push([name, Uint8Array.from(header[name] ?? [])]);
  return decoded;
}
