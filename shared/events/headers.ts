/**
 * Kafka headers as one byte string, for the column `headers`. Layout, little-endian: u32 count, then per header u32 key length, key (UTF-8),
 * u32 value length, value. Repeated names and order are kept; a dead letter carries the headers unchanged.
 */

import { corrupt } from "./arrow/flatbuffer.ts";

type Header = readonly [key: string, value: Uint8Array];

const decoder = new TextDecoder();

export function encodeHeaders(headers: readonly Header[]): Uint8Array {
  // A UTF-16 unit is three bytes of UTF-8 at most.
  let room = 4;
  for (const [key, value] of headers) room += 8 + 3 * key.length + value.length;
  const bytes = Buffer.allocUnsafe(room);
  let at = bytes.writeUInt32LE(headers.length, 0);
  for (const [key, value] of headers) {
    const keyBytes = bytes.write(key, at + 4);
    at = bytes.writeUInt32LE(keyBytes, at) + keyBytes;
    at = bytes.writeUInt32LE(value.length, at);
    bytes.set(value, at);
    at += value.length;
  }
  return bytes.subarray(0, at);
}

/** Values are views of `bytes`. @throws CorruptStateError on anything but what {@link encodeHeaders} writes. */
export function decodeHeaders(bytes: Uint8Array): Header[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 4;
  const next = (): Uint8Array => {
    if (at + 4 > bytes.length) throw corrupt("headers are cut short");
    const length = view.getUint32(at, true);
    at += 4 + length;
    if (at > bytes.length) throw corrupt("headers are cut short");
    return bytes.subarray(at - length, at);
  };
  if (bytes.length < 4) throw corrupt("headers are cut short");
  const count = view.getUint32(0, true);
  if (count > (bytes.length - 4) / 8) throw corrupt("headers are more than their bytes can hold");
  const headers = Array.from({ length: count }, () => {
    const key = decoder.decode(next());
    return [key, next()] as const;
  });
  if (at !== bytes.length) throw corrupt("headers have bytes behind them");
  return headers;
}
