/**
 * 32-bit hashes of the keys of the state tables. They only spread rows over slots: equality is decided on the whole key. Mixing is the
 * finalizer of MurmurHash3 (fmix32), so that ids in sequence and ids that differ in one bit both spread.
 */
export function hashUser(low: number, high: number): number {
  return mix(low ^ Math.imul(high + 0x7f4a7c15, 0x9e3779b1));
}

export function hashEventId(a: number, b: number, c: number, d: number): number {
  return mix((Math.imul(a, 0x85ebca6b) + Math.imul(b, 0xc2b2ae35)) ^ (Math.imul(c, 0x27d4eb2f) + Math.imul(d, 0x165667b1)));
}

function mix(word: number): number {
  let h = word ^ (word >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}
