/**
 * One row per user seen within the last `forgetMs` of log time: the state of the score, and where the user's rows in other tables are. It is the one
 * row that every event looks up by user.
 *
 * Row (16 words of 4 bytes; d = double of two words): 0-1 user id, 2 values counted, 3 hour of log time of the last event (-1 = free row, then word 2
 * is the next free row + 1), d2 mean, d3 variance; not part of a snapshot: 8 number of the newest five-minute window
 * and 9 row + 1 in it (windowing/user-windows.ts), 10 row + 1 of the newest session (windowing/session-windows.ts), 11-15 zero.
 *
 * I1 Whether a user is forgotten depends on the age alone, never on whether the row is still here. Forgotten rows leave in a pass over all rows
 *    each hour of log time, some rows with each record, so that it never takes long.
 *    A user with an open window or session keeps the row, since they are found through it.
 * I2 Rows are taken and freed in an order that the log decides, so equal logs give equal tables.
 */
import { tableFull } from "./capacity.ts";
import { hashUser } from "./key-hash.ts";
import { CHUNK_BITS, CHUNK_MASK, ChunkPool, RowChunks } from "./row-chunks.ts";
import { RowIndex } from "./row-index.ts";
import { copyRows, startRowCopy, type RowShape, type SectionCopy } from "./section-copy.ts";
import { score, type ScoreOptions } from "./score.ts";
import type { Tile } from "./tile.ts";

/** Of a row in a snapshot: its first half. */
export const USER_ROW_BYTES = 32;
const SAVED_WORDS = USER_ROW_BYTES / 4;
const SHAPE: RowShape = { savedWords: SAVED_WORDS, clean: null };
const HOUR_MS = 3_600_000;
const NAME = "users";

export class UserTable {
  readonly chunks = new RowChunks(new ChunkPool());
  index = new RowIndex();
  readonly #options: ScoreOptions;
  readonly #maxRows: number;
  readonly #forgetHours: number;
  /** Whether something open is found through the row at words[at]. */
  holds: (words: Int32Array, at: number) => boolean = () => false;
  /** Rows ever used. */
  #rows = 0;
  /** First free row + 1; 0 = none. */
  #free = 0;
  #hour = 0;
  /** Next row that the pass of this hour looks at. */
  #sweptTo = 0;

  constructor(options: ScoreOptions, maxRows: number) {
    this.#options = options;
    this.#maxRows = maxRows;
    // Hours are counted whole: an event in the last minute of one is an hour old a minute later.
    this.#forgetHours = Math.ceil(options.forgetMs / HOUR_MS) + 1;
  }

  get rows(): number {
    return this.#rows;
  }

  get live(): number {
    return this.index.size;
  }

  get freeHead(): number {
    return this.#free;
  }

  get sweptTo(): number {
    return this.#sweptTo;
  }

  get bytes(): number {
    return this.chunks.bytes + this.index.bytes;
  }

  /** Sets the log time of the rows to come and looks at up to `budget` rows for users to forget. */
  advance(logTimeMs: number, budget: number): void {
    const hour = Math.floor(logTimeMs / HOUR_MS);
    if (hour > this.#hour) {
      this.#hour = hour;
      this.#sweptTo = 0;
    }
    if (this.#sweptTo < this.#rows) this.#sweep(budget);
  }

  /** Writes the row of each of the tile's users into it, new ones where there were none. */
  locate(tile: Tile): void {
    const { count, low, high, hash, userRow: rows } = tile;
    const { chunks } = this;
    this.index.touch(hash, 0, count, rows);
    chunks.touch(rows, 0, count);
    chunks.saveRows(rows, 0, count);
    for (let i = 0; i < count; i++) {
      const row = rows[i]!;
      if (row >= 0) {
        const words = chunks.words[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        if (words[at] === low[i]! && words[at + 1] === high[i]!) {
          this.#see(words, at);
          continue;
        }
      }
      rows[i] = this.meet(low[i]!, high[i]!, hash[i]!);
    }
  }

  /** Scores the tile's events, in order, each against the user's values before it. */
  addTile(tile: Tile): void {
    for (let i = 0; i < tile.count; i++) this.score(tile, i);
  }

  /** Scores the tile's event i and counts it in. */
  score(tile: Tile, i: number): void {
    const row = tile.userRow[i]!;
    const { words, doubles } = this.chunks;
    const at = row & CHUNK_MASK;
    score(this.#options, tile, i, words[row >>> CHUNK_BITS]!, at * 16 + 2, doubles[row >>> CHUNK_BITS]!, at * 8 + 2);
  }

  /** The row of a user who has an event now. At once, not when it is scored: from here on no pass may free the row. */
  meet(low: number, high: number, hash: number): number {
    const row = this.rowOf(low, high, hash);
    this.chunks.watch?.save(row);
    this.#see(this.chunks.words[row >>> CHUNK_BITS]!, (row & CHUNK_MASK) * 16);
    return row;
  }

  #see(words: Int32Array, at: number): void {
    if (words[at + 3] === this.#hour) return;
    if (this.#hour - words[at + 3]! >= this.#forgetHours) words[at + 2] = 0;
    words[at + 3] = this.#hour;
  }

  /** The user's row, new and empty if there was none. */
  rowOf(low: number, high: number, hash: number): number {
    const row = this.find(low, high, hash);
    return row < 0 ? this.#addRow(low, high, hash) : row;
  }

  /** The user's row; -1 = none. */
  find(low: number, high: number, hash: number): number {
    const { index } = this;
    const row = this.#find(index.slots, index.mask, low, high, hash);
    return row < 0 && index.old !== null ? this.#find(index.old, index.oldMask, low, high, hash) : row;
  }

  #find(slots: Int32Array, mask: number, low: number, high: number, hash: number): number {
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const row = slots[slot * 2 + 1]! - 1;
      if (row === -1) return -1;
      if (slots[slot * 2] !== hash || row < 0) continue;
      const words = this.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      if (words[at] === low && words[at + 1] === high) return row;
    }
  }

  #addRow(low: number, high: number, hash: number): number {
    if (this.#free === 0 && this.#rows === this.#maxRows) this.#sweep(this.#rows);
    let row = this.#free - 1;
    if (row < 0) {
      row = this.#rows;
      if (row === this.#maxRows) throw tableFull(NAME, this.#maxRows);
      if (row === this.chunks.capacity) this.chunks.grow();
      this.#rows = row + 1;
    }
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    this.chunks.watch?.save(row);
    if (this.#free !== 0) this.#free = words[at + 2]!;
    words.fill(0, at, at + 16);
    words[at] = low;
    words[at + 1] = high;
    words[at + 3] = this.#hour;
    this.index.insert(hash, row);
    return row;
  }

  #sweep(budget: number): void {
    const to = Math.min(this.#rows, this.#sweptTo + budget);
    for (let row = this.#sweptTo; row < to; row++) {
      const words = this.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      if (words[at + 3]! < 0 || this.#hour - words[at + 3]! < this.#forgetHours || this.holds(words, at)) continue;
      this.chunks.watch?.save(row);
      this.index.remove(hashUser(words[at]!, words[at + 1]!), row);
      words.fill(0, at, at + 16);
      words[at + 2] = this.#free;
      words[at + 3] = -1;
      this.#free = row + 1;
    }
    this.#sweptTo = to;
  }

  /** Every row ever used, free ones included. */
  copyTo(target: Uint8Array): void {
    copyRows(this.chunks, this.#rows, target, SHAPE);
  }

  /** The same as {@link copyTo}, piece by piece. Of one at a time. */
  startCopy(target: Uint8Array): SectionCopy {
    return startRowCopy(this.chunks, this.#rows, target, SHAPE);
  }

  copyFrom(source: Uint8Array, saved: { readonly freeHead: number; readonly sweptTo: number; readonly logTimeMs: number }): void {
    // Not `slice`, which of a Buffer is a view of whatever else its memory holds.
    const from = new Int32Array(new Uint8Array(source).buffer);
    this.#rows = from.length / SAVED_WORDS;
    this.#free = saved.freeHead;
    this.#sweptTo = saved.sweptTo;
    this.#hour = Math.floor(saved.logTimeMs / HOUR_MS);
    this.index = new RowIndex(this.#rows);
    for (let row = 0; row < this.#rows; row++) {
      if (row === this.chunks.capacity) this.chunks.grow();
      const words = this.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      words.fill(0, at, at + 16);
      for (let w = 0; w < SAVED_WORDS; w++) words[at + w] = from[row * SAVED_WORDS + w]!;
      if (words[at + 3]! >= 0) this.index.insert(hashUser(words[at]!, words[at + 1]!), row);
    }
  }
}
