/**
 * Sessions of the open bucket of time in the order in which they close: by end, then by user id (unsigned). An entry holds what it was
 * sorted by, since its row may meanwhile have grown, merged away or been reused; the owner compares before it closes anything.
 */
import type { SessionTable } from "../state/session-table.ts";
import { CHUNK_BITS, CHUNK_MASK } from "../state/row-chunks.ts";
import { SESSION_GAP_MS } from "./window-rules.ts";

const INSERTION_SORT_LIMIT = 16;
/** Span of ends that are sorted at once. */
export const DUE_SPAN_MS = 1024;

export class DueSessions {
  #rows = new Int32Array(64);
  #endMs = new Float64Array(64);
  /** User ids, words as unsigned numbers. */
  #low = new Uint32Array(64);
  #high = new Uint32Array(64);
  /** Of the counting sort: where the next entry of each end goes. */
  readonly #nextPlace = new Int32Array(DUE_SPAN_MS + 1);
  #at = 0;
  #length = 0;

  get isEmpty(): boolean {
    return this.#at === this.#length;
  }

  /** Of the first entry, like the three below. */
  get endMs(): number {
    return this.#endMs[this.#at]!;
  }

  get row(): number {
    return this.#rows[this.#at]!;
  }

  get low(): number {
    return this.#low[this.#at]! | 0;
  }

  get high(): number {
    return this.#high[this.#at]! | 0;
  }

  get bytes(): number {
    return this.#rows.length * 20;
  }

  dropFirst(): void {
    this.#at++;
  }

  /** Replaces the content, which must be used up. Ends are whole milliseconds at or after `fromMs`, less than DUE_SPAN_MS later. */
  fill(table: SessionTable, rows: Int32Array, count: number, fromMs: number): void {
    this.#at = 0;
    this.#length = count;
    if (count > this.#rows.length) this.#resize(count);
    const next = this.#nextPlace.fill(0);
    for (let i = 0; i < count; i++) {
      const offsetMs = endOf(table, rows[i]!) - fromMs;
      next[offsetMs + 1] = next[offsetMs + 1]! + 1;
    }
    for (let offsetMs = 1; offsetMs < DUE_SPAN_MS; offsetMs++) next[offsetMs] = next[offsetMs]! + next[offsetMs - 1]!;
    for (let i = 0; i < count; i++) {
      const row = rows[i]!;
      const endMs = endOf(table, row);
      const words = table.chunks.words[row >>> CHUNK_BITS]!;
      const place = next[endMs - fromMs]!;
      next[endMs - fromMs] = place + 1;
      this.#rows[place] = row;
      this.#endMs[place] = endMs;
      this.#low[place] = words[(row & CHUNK_MASK) * 16]!;
      this.#high[place] = words[(row & CHUNK_MASK) * 16 + 1]!;
    }
    for (let from = 0, to = 1; to <= count; to++) {
      if (to < count && this.#endMs[to] === this.#endMs[from]) continue;
      if (to - from > 1) this.#sortByUser(from, to);
      from = to;
    }
  }

  insert(row: number, endMs: number, low: number, high: number): void {
    if (this.#length === this.#rows.length) this.#resize(this.#length * 2);
    let from = this.#at;
    let to = this.#length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const order = this.#endMs[middle]! - endMs || this.#high[middle]! - (high >>> 0) || this.#low[middle]! - (low >>> 0);
      if (order <= 0) from = middle + 1;
      else to = middle;
    }
    for (const column of [this.#rows, this.#endMs, this.#low, this.#high]) column.copyWithin(from + 1, from, this.#length);
    this.#rows[from] = row;
    this.#endMs[from] = endMs;
    this.#low[from] = low;
    this.#high[from] = high;
    this.#length++;
  }

  #sortByUser(from: number, to: number): void {
    if (to - from > INSERTION_SORT_LIMIT) {
      const low = this.#low.slice(from, to);
      const high = this.#high.slice(from, to);
      const rows = this.#rows.slice(from, to);
      const order = Uint32Array.from(low, (_, i) => i).sort((a, b) => high[a]! - high[b]! || low[a]! - low[b]!);
      for (let i = 0; i < order.length; i++) {
        this.#low[from + i] = low[order[i]!]!;
        this.#high[from + i] = high[order[i]!]!;
        this.#rows[from + i] = rows[order[i]!]!;
      }
      return;
    }
    for (let i = from + 1; i < to; i++) {
      const low = this.#low[i]!;
      const high = this.#high[i]!;
      const row = this.#rows[i]!;
      let at = i;
      for (; at > from && (this.#high[at - 1]! - high || this.#low[at - 1]! - low) > 0; at--) {
        this.#low[at] = this.#low[at - 1]!;
        this.#high[at] = this.#high[at - 1]!;
        this.#rows[at] = this.#rows[at - 1]!;
      }
      this.#low[at] = low;
      this.#high[at] = high;
      this.#rows[at] = row;
    }
  }

  #resize(length: number): void {
    const wider = Math.max(length, this.#rows.length * 2);
    const rows = new Int32Array(wider);
    const endMs = new Float64Array(wider);
    const low = new Uint32Array(wider);
    const high = new Uint32Array(wider);
    rows.set(this.#rows);
    endMs.set(this.#endMs);
    low.set(this.#low);
    high.set(this.#high);
    this.#rows = rows;
    this.#endMs = endMs;
    this.#low = low;
    this.#high = high;
  }
}

function endOf(table: SessionTable, row: number): number {
  return table.chunks.doubles[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 8 + 3]! + SESSION_GAP_MS;
}
