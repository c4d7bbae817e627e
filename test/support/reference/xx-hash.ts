/** xxHash32 with seed 0, written from doc/xxhash_spec.md of github.com/Cyan4973/xxHash with whole numbers of any size. */

const P1 = 2_654_435_761n;
const P2 = 2_246_822_519n;
const P3 = 3_266_489_917n;
const P4 = 668_265_263n;
const P5 = 374_761_393n;
const MASK = 0xffffffffn;

export function xxHash32(bytes: Uint8Array): number {
  const word = (at: number): bigint => BigInt(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).readUInt32LE(at));
  let at = 0;
  let hash = P5;
  if (bytes.length >= 16) {
    const lanes = [P1 + P2, P2, 0n, -P1];
    for (; at + 16 <= bytes.length; at += 16) {
      for (const [i, lane] of lanes.entries()) lanes[i] = rotate(lane + word(at + 4 * i) * P2, 13n) * P1;
    }
    hash = rotate(lanes[0]!, 1n) + rotate(lanes[1]!, 7n) + rotate(lanes[2]!, 12n) + rotate(lanes[3]!, 18n);
  }
  hash += BigInt(bytes.length);
  for (; at + 4 <= bytes.length; at += 4) hash = rotate(hash + word(at) * P3, 17n) * P4;
  for (; at < bytes.length; at++) hash = rotate(hash + BigInt(bytes[at]!) * P5, 11n) * P1;
  hash &= MASK;
  hash = ((hash ^ (hash >> 15n)) * P2) & MASK;
  hash = ((hash ^ (hash >> 13n)) * P3) & MASK;
  return Number(hash ^ (hash >> 16n));
}

function rotate(value: bigint, bits: bigint): bigint {
  const word = value & MASK;
  return ((word << bits) | (word >> (32n - bits))) & MASK;
}
