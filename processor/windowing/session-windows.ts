/**
 * Session windows (rules: window-rules.ts). A session has one timer; it is set once, in the bucket of the end known then, and moved on when
 * that bucket opens: an event that extends a session touches no timer.
 *
 * I1 Every open session has a timer in a bucket at or before its end, or an entry among the due ones.
 */
import { CHUNK_BITS, CHUNK_MASK } from "../state/row-chunks.ts";
import { SessionTable } from "../state/session-table.ts";
import { TimerBuckets } from "../time/timer-buckets.ts";
import { DueSessions } from "./due-sessions.ts";
import { SESSION_GAP_MS } from "./window-rules.ts";

const BUCKET_MS = 1024;

export class SessionWindows {
  readonly table: SessionTable;
  #timers = new TimerBuckets();
  #due = new DueSessions();
  /** Number of the bucket whose sessions are among the due ones; later ones have timers. */
  #openBucket = -Infinity;
  /** What the last look-up found. */
  #first = -1;
  #second = -1;

  constructor(maxRows: number) {
    this.table = new SessionTable(maxRows);
  }

  get open(): number {
    return this.table.open;
  }

  get bytes(): number {
    return this.table.bytes + this.#timers.bytes + this.#due.bytes;
  }

  /** No session closes before this; Infinity = none is open. */
  get nextEndMs(): number {
    return this.#due.isEmpty ? this.#timers.earliest * BUCKET_MS : this.#due.endMs;
  }

  canJoin(low: number, high: number, hash: number, timeMs: number): boolean {
    this.#find(low, high, hash, timeMs);
    return this.#first >= 0;
  }

  /** Puts an event in its session, new, grown or merged, and returns the row. The session must not end at or before the watermark. */
  add(low: number, high: number, hash: number, timeMs: number, value: number): number {
    this.#find(low, high, hash, timeMs);
    let row = this.#first;
    if (row < 0) {
      row = this.table.add(low, high, hash, timeMs, value);
      this.#setTimer(row, timeMs + SESSION_GAP_MS, low, high);
      return row;
    }
    const other = this.#second;
    if (other >= 0) {
      // The log decides which row stays, not the order of the index.
      const otherIsEarlier = this.firstMs(other) < this.firstMs(row);
      const later = otherIsEarlier ? row : other;
      row = otherIsEarlier ? other : row;
      this.table.merge(row, later, hash);
    }
    this.table.extend(row, timeMs, value);
    return row;
  }

  firstMs(row: number): number {
    return this.table.chunks.doubles[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 8 + 2]!;
  }

  lastMs(row: number): number {
    return this.table.chunks.doubles[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 8 + 3]!;
  }

  events(row: number): number {
    return this.table.chunks.words[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 16 + 8]!;
  }

  /** Row of the session that closes next if its end is at or before `limitMs`, else -1. The caller reads it, then calls {@link closeFirst}. */
  nextDue(limitMs: number): number {
    for (;;) {
      while (!this.#due.isEmpty) {
        if (this.#due.endMs > limitMs) return -1;
        const row = this.#due.row;
        const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        if (words[at + 8] !== 0 && words[at] === this.#due.low && words[at + 1] === this.#due.high) {
          const endMs = this.lastMs(row) + SESSION_GAP_MS;
          if (endMs === this.#due.endMs) return row;
          this.#due.dropFirst();
          if (words[at + 2] !== 0) this.#setTimer(row, endMs, words[at], words[at + 1]!);
        } else this.#due.dropFirst();
      }
      if (this.#timers.earliest * BUCKET_MS > limitMs) return -1;
      this.#openNextBucket();
    }
  }

  closeFirst(): void {
    const row = this.#due.row;
    this.#due.dropFirst();
    this.table.remove(row, this.table.hashOf(row));
  }

  /** End of the session that closes last. */
  latestEndMs(): number {
    let latestMs = -Infinity;
    for (let row = 0; row < this.table.rows; row++) {
      if (this.events(row) > 0) latestMs = Math.max(latestMs, this.lastMs(row) + SESSION_GAP_MS);
    }
    return latestMs;
  }

  /** After the table has been restored. */
  rebuildTimers(): void {
    this.#timers = new TimerBuckets();
    this.#due = new DueSessions();
    this.#openBucket = -Infinity;
    for (let row = 0; row < this.table.rows; row++) {
      if (this.events(row) > 0) this.#setTimer(row, this.lastMs(row) + SESSION_GAP_MS, 0, 0);
    }
  }

  #setTimer(row: number, endMs: number, low: number, high: number): void {
    const bucket = Math.floor(endMs / BUCKET_MS);
    const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    if (bucket <= this.#openBucket) {
      words[at + 2] = 1;
      this.#due.insert(row, endMs, low, high);
    } else {
      words[at + 2] = 0;
      words[at + 3] = bucket;
      this.#timers.add(bucket, row);
    }
  }

  #openNextBucket(): void {
    const bucket = this.#timers.earliest;
    const list = this.#timers.take();
    this.#openBucket = bucket;
    let count = 0;
    for (let i = 0; i < list.length; i++) {
      const row = list.rows[i]!;
      const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      // A freed row, or the timer of a session that had the row before.
      if (words[at + 8] === 0 || words[at + 2] !== 0 || words[at + 3] !== (bucket | 0)) continue;
      const endMs = this.lastMs(row) + SESSION_GAP_MS;
      if (Math.floor(endMs / BUCKET_MS) === bucket) {
        words[at + 2] = 1;
        list.rows[count++] = row;
      } else this.#setTimer(row, endMs, words[at]!, words[at + 1]!);
    }
    this.#due.fill(this.table, list.rows, count, bucket * BUCKET_MS);
    this.#timers.recycle(list);
  }

  #find(low: number, high: number, hash: number, timeMs: number): void {
    this.#first = -1;
    this.#second = -1;
    const { index } = this.table;
    this.#findIn(index.slots, index.mask, low, high, hash, timeMs);
    if (index.old !== null) this.#findIn(index.old, index.oldMask, low, high, hash, timeMs);
  }

  /** At most two open sessions are near one event, since they lie at least the gap apart. */
  #findIn(slots: Int32Array, mask: number, low: number, high: number, hash: number, timeMs: number): void {
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot * 2 + 1]! - 1;
      if (row === -1) return;
      if (slots[slot * 2] !== hash || row < 0) continue;
      const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      if (words[at] !== low || words[at + 1] !== high) continue;
      const doubles = this.table.chunks.doubles[row >>> CHUNK_BITS]!;
      const d = (row & CHUNK_MASK) * 8;
      if (timeMs <= doubles[d + 2]! - SESSION_GAP_MS || timeMs >= doubles[d + 3]! + SESSION_GAP_MS) continue;
      if (this.#first < 0) this.#first = row;
      else this.#second = row;
    }
  }
}
