/**
 * Session windows (rules: window-rules.ts). A session has one timer; it is set once, in the bucket of the end known then, and moved on when
 * that bucket opens: an event that extends a session touches no timer.
 *
 * A user's newest session is named by word 10 of the user's row. The name may be of a row that has gone or is another's by now; only a live row of the
 * same user counts.
 *
 * I1 Every open session has a timer in a bucket at or before its end, or an entry among the due ones.
 * I2 An open session is its user's newest or in the index, never both.
 */
import { CHUNK_BITS, CHUNK_MASK } from "../state/row-chunks.ts";
import { IS_DUE, SessionTable } from "../state/session-table.ts";
import { TILE_ROWS, type Tile } from "../state/tile.ts";
import type { UserTable } from "../state/user-table.ts";
import { TimerBuckets } from "../time/timer-buckets.ts";
import { DUE_SPAN_MS, DueSessions } from "./due-sessions.ts";
import { SESSION_GAP_MS } from "./window-rules.ts";

const BUCKET_MS = DUE_SPAN_MS;

export class SessionWindows {
  readonly table: SessionTable;
  #timers = new TimerBuckets();
  #due = new DueSessions();
  /** Number of the bucket whose sessions are among the due ones; later ones have timers. */
  #openBucket = -Infinity;
  /** Of the event that is looked up: a field, since a double that is passed to a function is an object. */
  #timeMs = -Infinity;
  /** What the last look-up found. */
  #first = -1;
  #second = -1;
  /** Largest event time in any session so far. */
  #newestMs = -Infinity;

  readonly #users: UserTable;

  constructor(maxRows: number, users: UserTable) {
    this.table = new SessionTable(maxRows);
    this.#users = users;
  }

  get bytes(): number {
    return this.table.bytes + this.#timers.bytes + this.#due.bytes;
  }

  /** No session closes before this; Infinity = none is open. */
  get nextEndMs(): number {
    return this.#due.isEmpty ? this.#timers.earliest * BUCKET_MS : this.#due.endMs;
  }

  canJoin(low: number, high: number, hash: number, timeMs: number): boolean {
    const user = this.#users.find(low, high, hash);
    if (user < 0) return false;
    this.#timeMs = timeMs;
    this.#find(user, low, high, hash);
    return this.#first >= 0;
  }

  /** Whether the user has an open session. The newest is the last to close, so it tells for all. */
  holds(userWords: Int32Array, at: number): boolean {
    return userWords[at + 10] !== 0 && this.table.isOf(userWords[at + 10]! - 1, userWords[at]!, userWords[at + 1]!);
  }

  /**
   * Puts the tile's events in their sessions, in order. None of these sessions ends at or before the watermark. The tile's users have been located.
   *
   * The short way: an event at or after the newest time seen belongs to the session whose gap it falls into, and to no second one, since a
   * later session would begin behind the event; the same holds between a session's first and last event. All others go through add.
   */
  addTile(tile: Tile): void {
    const { count, low, high, timeMs, value, sessionStartMs, sessionEvents, userRow, rows } = tile;
    const { chunks } = this.table;
    const { words: userWords } = this.#users.chunks;
    for (let i = 0; i < count; i++) rows[i] = userWords[userRow[i]! >>> CHUNK_BITS]![(userRow[i]! & CHUNK_MASK) * 16 + 10]! - 1;
    chunks.touch(rows, 0, count);
    chunks.saveRows(rows, 0, count);
    let newestMs = this.#newestMs;
    for (let i = 0; i < count; i++) {
      const time = timeMs[i]!;
      const row = rows[i]!;
      if (time > newestMs) newestMs = time;
      if (row >= 0) {
        const words = chunks.words[row >>> CHUNK_BITS]!;
        const doubles = chunks.doubles[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        const d = (row & CHUNK_MASK) * 8;
        const lastMs = doubles[d + 3]!;
        const isUsers = words[at] === low[i]! && words[at + 1] === high[i]! && words[at + 8] !== 0;
        if (isUsers && time >= doubles[d + 2]! && (time <= lastMs || (time === newestMs && time < lastMs + SESSION_GAP_MS))) {
          if (time > lastMs) doubles[d + 3] = time;
          const events = words[at + 8]! + 1;
          words[at + 8] = events;
          sessionStartMs[i] = doubles[d + 2]!;
          sessionEvents[i] = events;
          const measure = value[i]!;
          if (measure !== measure) continue;
          words[at + 9] = words[at + 9]! + 1;
          doubles[d + 5] = doubles[d + 5]! + measure;
          if (measure < doubles[d + 6]!) doubles[d + 6] = measure;
          if (measure > doubles[d + 7]!) doubles[d + 7] = measure;
          continue;
        }
      }
      this.add(tile, i);
    }
    this.#newestMs = newestMs;
  }

  /** Puts the tile's event i in its session, new, grown or merged. The session must not end at or before the watermark. */
  add(tile: Tile, i: number): void {
    const row = this.#placeOf(tile, i);
    const { words, doubles } = this.table.chunks;
    tile.sessionStartMs[i] = doubles[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 8 + 2]!;
    tile.sessionEvents[i] = words[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 16 + 8]!;
  }

  /** The row of the session that the event is counted in now. */
  #placeOf(tile: Tile, i: number): number {
    const userRow = tile.userRow[i]!;
    this.#timeMs = tile.timeMs[i]!;
    if (this.#timeMs > this.#newestMs) this.#newestMs = this.#timeMs;
    this.#find(userRow, tile.low[i]!, tile.high[i]!, tile.hash[i]!);
    const first = this.#first;
    if (first < 0) {
      const row = this.table.add(tile, i);
      this.#own(userRow, row);
      this.#setTimer(row);
      return row;
    }
    const row = this.#second < 0 ? first : this.#mergeFound(userRow);
    this.table.extend(row, tile, i);
    return row;
  }

  /** Makes the row the user's newest session, or puts it into the index behind a newer one. */
  #own(userRow: number, row: number): void {
    const words = this.#users.chunks.words[userRow >>> CHUNK_BITS]!;
    const at = (userRow & CHUNK_MASK) * 16;
    // The name left by a session that has closed may be of the very row that is new now.
    if (words[at + 10] !== row + 1 && this.holds(words, at)) {
      const newest = words[at + 10]! - 1;
      const isNewer = this.firstMs(row) > this.firstMs(newest);
      this.table.setIndexed(isNewer ? newest : row, true);
      if (!isNewer) return;
    }
    words[at + 10] = row + 1;
  }

  /** The log decides which row stays, not the order of the look-up. */
  #mergeFound(userRow: number): number {
    const isInOrder = this.firstMs(this.#first) < this.firstMs(this.#second);
    const earlier = isInOrder ? this.#first : this.#second;
    const later = isInOrder ? this.#second : this.#first;
    this.table.merge(earlier, later);
    const words = this.#users.chunks.words[userRow >>> CHUNK_BITS]!;
    const at = (userRow & CHUNK_MASK) * 16;
    if (words[at + 10] === later + 1) {
      this.table.setIndexed(earlier, false);
      words[at + 10] = earlier + 1;
    }
    return earlier;
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
          if ((words[at + 2]! & IS_DUE) !== 0) this.#setTimer(row);
        } else this.#due.dropFirst();
      }
      if (this.#timers.earliest * BUCKET_MS > limitMs) return -1;
      this.#openNextBucket();
    }
  }

  closeFirst(): void {
    const { row } = this.#due;
    this.#due.dropFirst();
    this.table.remove(row);
  }

  /** End of the session that closes last. */
  latestEndMs(): number {
    let latestMs = -Infinity;
    for (let row = 0; row < this.table.rows; row++) {
      if (this.events(row) > 0) latestMs = Math.max(latestMs, this.lastMs(row) + SESSION_GAP_MS);
    }
    return latestMs;
  }

  /** After sessions and users have been restored: each session gets its timer and is found again. */
  link(): void {
    this.#timers = new TimerBuckets();
    this.#due = new DueSessions();
    this.#openBucket = -Infinity;
    for (let row = 0; row < this.table.rows; row++) {
      if (this.events(row) === 0) continue;
      const lastMs = this.lastMs(row);
      this.#newestMs = Math.max(this.#newestMs, lastMs);
      const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      this.#own(this.#users.rowOf(words[at]!, words[at + 1]!, this.table.hashOf(row)), row);
      this.#setTimer(row);
    }
  }

  #setTimer(row: number): void {
    const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    const endMs = this.lastMs(row) + SESSION_GAP_MS;
    const bucket = Math.floor(endMs / BUCKET_MS);
    if (bucket <= this.#openBucket) {
      words[at + 2] = words[at + 2]! | IS_DUE;
      this.#due.insert(row, endMs, words[at]!, words[at + 1]!);
    } else {
      words[at + 2] = words[at + 2]! & ~IS_DUE;
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
      if (i % TILE_ROWS === 0) this.table.chunks.touch(list.rows, i, Math.min(i + TILE_ROWS, list.length));
      const row = list.rows[i]!;
      const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      // A freed row, or the timer of a session that had the row before.
      if (words[at + 8] === 0 || (words[at + 2]! & IS_DUE) !== 0 || words[at + 3] !== (bucket | 0)) continue;
      const endMs = this.lastMs(row) + SESSION_GAP_MS;
      if (Math.floor(endMs / BUCKET_MS) === bucket) {
        words[at + 2] = words[at + 2]! | IS_DUE;
        list.rows[count++] = row;
      } else this.#setTimer(row);
    }
    this.#due.fill(this.table, list.rows, count, bucket * BUCKET_MS);
    this.#timers.recycle(list);
  }

  #find(userRow: number, low: number, high: number, hash: number): void {
    this.#first = -1;
    this.#second = -1;
    const newest = this.#users.chunks.words[userRow >>> CHUNK_BITS]![(userRow & CHUNK_MASK) * 16 + 10]! - 1;
    if (newest >= 0 && this.table.isOf(newest, low, high)) this.#findAt(newest);
    const { index } = this.table;
    if (index.size === 0) return;
    this.#findIn(index.slots, index.mask, low, high, hash);
    if (index.old !== null) this.#findIn(index.old, index.oldMask, low, high, hash);
  }

  /** At most two open sessions are near one event, since they lie at least the gap apart. */
  #findIn(slots: Int32Array, mask: number, low: number, high: number, hash: number): void {
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot * 2 + 1]! - 1;
      if (row === -1) return;
      if (slots[slot * 2] !== hash || row < 0) continue;
      const words = this.table.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      if (words[at] !== low || words[at + 1] !== high) continue;
      this.#findAt(row);
    }
  }

  #findAt(row: number): void {
    const timeMs = this.#timeMs;
    if (timeMs <= this.firstMs(row) - SESSION_GAP_MS || timeMs >= this.lastMs(row) + SESSION_GAP_MS) return;
    if (this.#first < 0) this.#first = row;
    else this.#second = row;
  }
}
