/**
 * 64-bit hash over the rows of each output, as two 32-bit lanes. Recovery folds the log again and compares: it tells whether the replay gave
 * the rows that were committed. Not a defence against forgery.
 *
 * Each row is first digested from its identifying words (a sum of products with odd constants, so that the words do not wait for each
 * other), then chained; the outputs have chains of their own, so the order in which different outputs interleave does not count.
 */
import { OUTPUT_ROLES, type OutputRole } from "#shared/events/names.ts";

export class RollingHash {
  /** Two lanes per role, in the order of OUTPUT_ROLES. */
  readonly lanes = new Int32Array(OUTPUT_ROLES.length * 2);

  /** Appends a row's digest to the chain of `role`. */
  add(role: number, first: number, second: number): void {
    const { lanes } = this;
    const a = lanes[role * 2]!;
    const b = lanes[role * 2 + 1]!;
    lanes[role * 2] = Math.imul(((a << 13) | (a >>> 19)) ^ first, 0x85ebca6b) + 0x2c1b3c6d;
    lanes[role * 2 + 1] = Math.imul(((b << 17) | (b >>> 15)) ^ second ^ a, 0xc2b2ae35) + 0x297a2d39;
  }

  /** 16 hex digits over all outputs. */
  hex(): string {
    let first = 0x9747b28c | 0;
    let second = 0x3c6ef372;
    for (const lane of this.lanes) {
      first = Math.imul(((first << 13) | (first >>> 19)) ^ lane, 0x85ebca6b) + 0x2c1b3c6d;
      second = Math.imul(((second << 17) | (second >>> 15)) ^ lane ^ first, 0xc2b2ae35) + 0x297a2d39;
    }
    return finish(first) + finish(second);
  }
}

function finish(lane: number): string {
  let h = lane ^ (lane >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0).toString(16).padStart(8, "0");
}

export function roleIndex(role: OutputRole): number {
  return OUTPUT_ROLES.indexOf(role);
}

export function textHash(text: string): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}
