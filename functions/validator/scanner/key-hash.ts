/**
 * Hash of a key. It has secrets of the process, so that nobody can send keys that were made to collide: a hash that can be foreseen needs a cap on
 * collisions, and then the verdict on such keys depends on what the key tree remembers. Nothing but the time of a search depends on the secrets.
 */
import { randomFillSync } from "node:crypto";

const secrets = randomFillSync(new Int32Array(2));
const SEED = secrets[0]!;
const MULTIPLIER = secrets[1]! | 1;

export function hashKey(bytes: Uint8Array, start: number, end: number): number {
  let hash = SEED;
  for (let at = start; at < end; at++) {
    hash = Math.imul(hash ^ bytes[at]!, MULTIPLIER);
    hash ^= hash >>> 15;
  }
  return hash;
}
