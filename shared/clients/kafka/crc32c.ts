/**
 * CRC32C (RFC 3720, reversed polynomial 0x82f63b78) without native code, for bundles, which carry none: aliased to @node-rs/crc32 by
 * functions/bundle.ts. Eight bytes a step over eight tables ("slicing by 8", Kounavis and Berry 2005).
 *
 * A step waits for the one before it, so two halves of the input run interleaved, and the first half's result is moved over the second by
 * multiplying with x^(8n) modulo the polynomial, as zlib's crc32_combine does.
 */

const POLYNOMIAL = 0x82f63b78;
const TABLE_SIZE = 256;
const TABLES = 8;
/** Below it, joining two halves costs more than it saves. */
const SPLIT_FROM_BYTES = 4_096;

const table = new Int32Array(TABLES * TABLE_SIZE);
for (let i = 0; i < TABLE_SIZE; i++) {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0);
  table[i] = value;
}
for (let i = 0; i < TABLE_SIZE; i++) {
  for (let t = 1; t < TABLES; t++) {
    const value = table[(t - 1) * TABLE_SIZE + i]!;
    table[t * TABLE_SIZE + i] = (value >>> 8) ^ table[value & 0xff]!;
  }
}

/** `before`: the checksum of what stands in front of these bytes. */
export function crc32c(bytes: Uint8Array, before = 0): number {
  if (bytes.length < SPLIT_FROM_BYTES) return ~update(~before, bytes, 0, bytes.length) >>> 0;
  return crcOfHalves(bytes, before);
}

function update(start: number, bytes: Uint8Array, from: number, to: number): number {
  let crc = start;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      table[1792 + (low & 0xff)]! ^
      table[1536 + ((low >>> 8) & 0xff)]! ^
      table[1280 + ((low >>> 16) & 0xff)]! ^
      table[1024 + (low >>> 24)]! ^
      table[768 + bytes[at + 4]!]! ^
      table[512 + bytes[at + 5]!]! ^
      table[256 + bytes[at + 6]!]! ^
      table[bytes[at + 7]!]!;
  }
  for (; at < to; at++) crc = (crc >>> 8) ^ table[(crc ^ bytes[at]!) & 0xff]!;
  return crc;
}

function crcOfHalves(bytes: Uint8Array, before: number): number {
  // Whole words when the buffer lets us: one load instead of four.
  const skew = (4 - (bytes.byteOffset & 3)) & 3;
  const half = ((bytes.length - skew) >>> 4) << 3;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + skew, half >>> 1);
  const middle = half >>> 2;
  let first = update(~before, bytes, 0, skew);
  let second = 0;
  for (let at = 0; at < middle; at += 2) {
    const a = first ^ words[at]!;
    const b = words[at + 1]!;
    const c = second ^ words[middle + at]!;
    const d = words[middle + at + 1]!;
    first =
      table[1792 + (a & 0xff)]! ^
      table[1536 + ((a >>> 8) & 0xff)]! ^
      table[1280 + ((a >>> 16) & 0xff)]! ^
      table[1024 + (a >>> 24)]! ^
      table[768 + (b & 0xff)]! ^
      table[512 + ((b >>> 8) & 0xff)]! ^
      table[256 + ((b >>> 16) & 0xff)]! ^
      table[b >>> 24]!;
    second =
      table[1792 + (c & 0xff)]! ^
      table[1536 + ((c >>> 8) & 0xff)]! ^
      table[1280 + ((c >>> 16) & 0xff)]! ^
      table[1024 + (c >>> 24)]! ^
      table[768 + (d & 0xff)]! ^
      table[512 + ((d >>> 8) & 0xff)]! ^
      table[256 + ((d >>> 16) & 0xff)]! ^
      table[d >>> 24]!;
  }
  const joined = multiply(powerOfX(half), first) ^ second;
  return ~update(joined, bytes, skew + 2 * half, bytes.length) >>> 0;
}

/** Product of two polynomials modulo the CRC's, bits reversed: x^0 is the highest bit. */
function multiply(a: number, b: number): number {
  let product = 0;
  let factor = b;
  for (let mask = 1 << 31; mask !== 0; mask >>>= 1) {
    if ((a & mask) !== 0) product ^= factor;
    factor = (factor & 1) === 0 ? factor >>> 1 : (factor >>> 1) ^ POLYNOMIAL;
  }
  return product;
}

/** x^(2^n) for n from 3 (a byte) on. */
const powers = new Int32Array(29);
powers[0] = 1 << (31 - 8);
for (let n = 1; n < powers.length; n++) powers[n] = multiply(powers[n - 1]!, powers[n - 1]!);

/** x^(8 bytes). */
function powerOfX(bytes: number): number {
  let power = 1 << 31;
  for (let n = 0; bytes >>> n !== 0; n++) if (((bytes >>> n) & 1) !== 0) power = multiply(powers[n]!, power);
  return power;
}
