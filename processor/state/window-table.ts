/**
 * One tumbling window: a row per user, in the order of each user's first event. Closing walks the rows once and drops the table.
 *
 * Row (16 words of 4 bytes; d = double of two words): 0-1 user id, 2 events, 3 events with a value, 4 first and 5 last event in ms from the
 * window's start, 6-7 the owner's (zero in a snapshot), d4 sum, d5 min, d6 max, d7 zero.
 */
import { tableFull } from "./capacity.ts";
import { CHUNK_BITS, CHUNK_MASK, ROW_BYTES, ROW_WORDS, RowChunks, type ChunkPool } from "./row-chunks.ts";
import { copyRows, startRowCopy, type RowShape, type SectionCopy } from "./section-copy.ts";
import { hashUser } from "./key-hash.ts";
import { RowIndex } from "./row-index.ts";
import type { Tile } from "./tile.ts";

const NO_WORDS = new Int32Array(0);

export interface WindowTableOptions {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly maxRows: number;
  readonly expectedRows: number;
  /** False = the owner finds rows in another way and uses {@link WindowTable.append}. Default true. */
  readonly isIndexed?: boolean;
}

export class WindowTable {
  readonly startMs: number;
  readonly endMs: number;
  readonly chunks: RowChunks;
  readonly index: RowIndex;
  readonly #name: string;
  readonly #maxRows: number;
  readonly #isIndexed: boolean;
  #rows = 0;

  constructor(pool: ChunkPool, options: WindowTableOptions) {
    this.chunks = new RowChunks(pool);
    this.#isIndexed = options.isIndexed ?? true;
    this.index = new RowIndex(this.#isIndexed ? options.expectedRows : 0);
    this.startMs = options.startMs;
    this.endMs = options.endMs;
    this.#name = options.name;
    this.#maxRows = options.maxRows;
  }

  get rows(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.chunks.bytes + this.index.bytes;
  }

  /** The user's row, new and empty if there was none. */
  rowOf(low: number, high: number, hash: number): number {
    const { index } = this;
    let row = this.#find(index.slots, index.mask, low, high, hash);
    if (row < 0 && index.old !== null) row = this.#find(index.old, index.oldMask, low, high, hash);
    return row < 0 ? this.#addRow(low, high, hash) : row;
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
    const row = this.append(low, high);
    this.index.insert(hash, row);
    return row;
  }

  /** A new, empty row. */
  append(low: number, high: number): number {
    const row = this.#rows;
    if (row === this.#maxRows) throw tableFull(this.#name, this.#maxRows);
    if (row === this.chunks.capacity) this.chunks.grow();
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const doubles = this.chunks.doubles[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    words[at] = low;
    words[at + 1] = high;
    words[at + 2] = 0;
    words[at + 3] = 0;
    words[at + 4] = 0x7fffffff;
    words[at + 5] = -1;
    words[at + 6] = 0;
    words[at + 7] = 0;
    const d = (row & CHUNK_MASK) * 8;
    doubles[d + 4] = 0;
    doubles[d + 5] = Infinity;
    doubles[d + 6] = -Infinity;
    doubles[d + 7] = 0;
    this.#rows = row + 1;
    return row;
  }

  /** Counts an event at `offsetMs` from the window's start; NaN = no value. Returns the events in the row. */
  add(row: number, offsetMs: number, value: number): number {
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    this.chunks.watch?.save(row);
    const events = words[at + 2]! + 1;
    words[at + 2] = events;
    if (offsetMs < words[at + 4]!) words[at + 4] = offsetMs;
    if (offsetMs > words[at + 5]!) words[at + 5] = offsetMs;
    if (value === value) {
      const doubles = this.chunks.doubles[row >>> CHUNK_BITS]!;
      const d = (row & CHUNK_MASK) * 8;
      words[at + 3] = words[at + 3]! + 1;
      doubles[d + 4] = doubles[d + 4]! + value;
      if (value < doubles[d + 5]!) doubles[d + 5] = value;
      if (value > doubles[d + 6]!) doubles[d + 6] = value;
    }
    return events;
  }

  /**
   * Counts rows from..to of the tile in, whose times lie in this window. The same as rowOf and add, in one loop over local variables: this
   * and SessionWindows.addTile are where a fold spends its time. `rows` is scratch.
   */
  addTile(tile: Tile, from: number, to: number, rows: Int32Array): void {
    const { low, high, hash, timeMs, value, windowEvents } = tile;
    const { startMs, index, chunks } = this;
    index.touch(hash, from, to, rows);
    chunks.touch(rows, from, to);
    chunks.saveRows(rows, from, to);
    for (let i = from; i < to; i++) {
      const userLow = low[i]!;
      const userHigh = high[i]!;
      let row = rows[i]!;
      let words = row < 0 ? NO_WORDS : chunks.words[row >>> CHUNK_BITS]!;
      let at = (row & CHUNK_MASK) * 16;
      if (row < 0 || words[at] !== userLow || words[at + 1] !== userHigh) {
        row = this.rowOf(userLow, userHigh, hash[i]!);
        chunks.watch?.save(row);
        words = chunks.words[row >>> CHUNK_BITS]!;
        at = (row & CHUNK_MASK) * 16;
      }
      const events = words[at + 2]! + 1;
      words[at + 2] = events;
      windowEvents[i] = events;
      const offsetMs = timeMs[i]! - startMs;
      if (offsetMs < words[at + 4]!) words[at + 4] = offsetMs;
      if (offsetMs > words[at + 5]!) words[at + 5] = offsetMs;
      const measure = value[i]!;
      if (measure !== measure) continue;
      const doubles = chunks.doubles[row >>> CHUNK_BITS]!;
      const d = (row & CHUNK_MASK) * 8;
      words[at + 3] = words[at + 3]! + 1;
      doubles[d + 4] = doubles[d + 4]! + measure;
      if (measure < doubles[d + 5]!) doubles[d + 5] = measure;
      if (measure > doubles[d + 6]!) doubles[d + 6] = measure;
    }
  }

  /** Adds rows from..to of a shorter window that lies within this one. `rows` and `hashes` are scratch. */
  mergeRows(source: WindowTable, from: number, to: number, hashes: Int32Array, rows: Int32Array): void {
    for (let row = from; row < to; row++) {
      const words = source.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      hashes[row - from] = hashUser(words[at]!, words[at + 1]!);
    }
    this.index.touch(hashes, 0, to - from, rows);
    this.chunks.touch(rows, 0, to - from);
    for (let row = from; row < to; row++) {
      const words = source.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      this.merge(this.rowOf(words[at]!, words[at + 1]!, hashes[row - from]!), source, row);
    }
  }

  /** Adds a row of a shorter window that lies within this one. */
  merge(row: number, from: WindowTable, fromRow: number): void {
    this.chunks.watch?.save(row);
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const doubles = this.chunks.doubles[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    const d = (row & CHUNK_MASK) * 8;
    const fromWords = from.chunks.words[fromRow >>> CHUNK_BITS]!;
    const fromDoubles = from.chunks.doubles[fromRow >>> CHUNK_BITS]!;
    const fromAt = (fromRow & CHUNK_MASK) * 16;
    const fromD = (fromRow & CHUNK_MASK) * 8;
    const shiftMs = from.startMs - this.startMs;
    words[at + 2] = words[at + 2]! + fromWords[fromAt + 2]!;
    words[at + 3] = words[at + 3]! + fromWords[fromAt + 3]!;
    words[at + 4] = Math.min(words[at + 4]!, fromWords[fromAt + 4]! + shiftMs);
    words[at + 5] = Math.max(words[at + 5]!, fromWords[fromAt + 5]! + shiftMs);
    doubles[d + 4] = doubles[d + 4]! + fromDoubles[fromD + 4]!;
    doubles[d + 5] = Math.min(doubles[d + 5]!, fromDoubles[fromD + 5]!);
    doubles[d + 6] = Math.max(doubles[d + 6]!, fromDoubles[fromD + 6]!);
  }

  copyTo(target: Uint8Array): void {
    copyRows(this.chunks, this.#rows, target, this.#isIndexed ? INDEXED : LINKED);
  }

  /** The same as {@link copyTo}, piece by piece. */
  startCopy(target: Uint8Array): SectionCopy {
    return startRowCopy(this.chunks, this.#rows, target, this.#isIndexed ? INDEXED : LINKED);
  }

  /** Rows as {@link copyTo} gives them. */
  copyFrom(source: Uint8Array): void {
    this.chunks.copyFrom(source);
    this.#rows = source.length / ROW_BYTES;
    if (!this.#isIndexed) return;
    for (let row = 0; row < this.#rows; row++) {
      const words = this.chunks.words[row >>> CHUNK_BITS]!;
      const at = (row & CHUNK_MASK) * 16;
      this.index.insert(hashUser(words[at]!, words[at + 1]!), row);
    }
  }
}

const INDEXED: RowShape = { savedWords: ROW_WORDS, clean: null };
/** The links follow from the rows. */
const LINKED: RowShape = {
  savedWords: ROW_WORDS,
  clean: (words, from, to) => {
    for (let at = from; at < to; at += ROW_WORDS) {
      words[at + 6] = 0;
      words[at + 7] = 0;
    }
  },
};
