/**
 * When events.raw took the oldest event of an epoch: what the latency from end to end is counted from. One number per block, read from its headers;
 * nothing per event. A block that the mapping delivered again holds nothing that this epoch brings, and is passed over.
 */
import { HEADERS } from "#shared/events/names.ts";
import type { ObservedRecord } from "./task-observer.ts";

const ZERO = 0x30;
/** Fifteen digits are below 2^53. */
const DIGITS_MAX = 15;

export class OldestEvent {
  /** Source offset of the newest event seen. */
  #lastSeen = -1;
  #makingMs = Infinity;
  #sentMs = Infinity;

  /** A session begins; up to `hw` everything is committed. */
  begin(hw: number): void {
    this.#lastSeen = hw;
    this.#makingMs = Infinity;
    this.#sentMs = Infinity;
  }

  saw({ headers }: ObservedRecord): void {
    let last = -1;
    let oldestMs = -1;
    for (let i = 0; i < headers.length; i++) {
      const header = headers[i]!;
      if (header[0] === HEADERS.lastSourceOffset) last = numberOf(header[1]);
      else if (header[0] === HEADERS.oldest) oldestMs = numberOf(header[1]);
    }
    if (last <= this.#lastSeen) return;
    this.#lastSeen = last;
    if (oldestMs >= 0 && oldestMs < this.#makingMs) this.#makingMs = oldestMs;
  }

  /** What comes from here on belongs to the next epoch. */
  sent(): void {
    this.#sentMs = this.#makingMs;
    this.#makingMs = Infinity;
  }

  /** Epoch milliseconds; null = the epoch that was sent has no event, or none whose time is known. */
  get committedMs(): number | null {
    return this.#sentMs === Infinity ? null : this.#sentMs;
  }
}

/** -1 = not plain decimal digits. */
function numberOf(text: Uint8Array): number {
  if (text.length === 0 || text.length > DIGITS_MAX) return -1;
  let number = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text[i]! - ZERO;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}
