/**
 * Open sessions of all users: one row each. A user's newest is found through the table of users, the others, which only events out of order leave
 * behind, through the index here.
 *
 * Row (16 words of 4 bytes; d = double of two words): 0-1 user id, 2 next free row + 1 or, on live rows, {@link IS_DUE} and {@link IS_INDEXED},
 * 3 its timer's bucket, d2 first and d3 last event, 8 events (0 = free row), 9 events with a value, d5 sum, d6 min, d7 max.
 *
 * I1 Rows are reused in an order that the log decides, so equal logs give equal tables; words 2 and 3 of live rows and
 *    the index follow from the rest and stand as zero in a snapshot.
 */
import { tableFull } from "./capacity.ts";
import { hashUser } from "./key-hash.ts";
import { CHUNK_BITS, CHUNK_MASK, ChunkPool, ROW_BYTES, ROW_WORDS, RowChunks } from "./row-chunks.ts";
import { RowIndex } from "./row-index.ts";
import { copyRows, startRowCopy, type RowShape, type SectionCopy } from "./section-copy.ts";
import type { Tile } from "./tile.ts";

/** The row waits in the list of due sessions. */
export const IS_DUE = 1;
/** It is not its user's newest. */
const IS_INDEXED = 2;

const NAME = "session_30s";

export class SessionTable {
  readonly chunks = new RowChunks(new ChunkPool());
  index = new RowIndex();
  readonly #maxRows: number;
  /** Rows ever used. */
  #rows = 0;
  /** First free row + 1; 0 = none. */
  #free = 0;

  constructor(maxRows: number) {
    this.#maxRows = maxRows;
  }

  get rows(): number {
    return this.#rows;
  }

  get freeHead(): number {
    return this.#free;
  }

  get bytes(): number {
    return this.chunks.bytes + this.index.bytes;
  }

  /** A new session of the tile's event i. */
  add(tile: Tile, i: number): number {
    let row = this.#free - 1;
    if (row < 0) {
      row = this.#rows;
      if (row === this.#maxRows) throw tableFull(NAME, this.#maxRows);
      if (row === this.chunks.capacity) this.chunks.grow();
      this.#rows = row + 1;
    }
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const doubles = this.chunks.doubles[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    const d = (row & CHUNK_MASK) * 8;
    this.chunks.watch?.save(row);
    if (this.#free !== 0) this.#free = words[at + 2]!;
    const timeMs = tile.timeMs[i]!;
    const value = tile.value[i]!;
    const valued = value === value;
    words[at] = tile.low[i]!;
    words[at + 1] = tile.high[i]!;
    words[at + 2] = 0;
    words[at + 3] = 0;
    doubles[d + 2] = timeMs;
    doubles[d + 3] = timeMs;
    words[at + 8] = 1;
    words[at + 9] = valued ? 1 : 0;
    doubles[d + 5] = valued ? value : 0;
    doubles[d + 6] = valued ? value : Infinity;
    doubles[d + 7] = valued ? value : -Infinity;
    return row;
  }

  /** From now on the row is found through the index; or no longer. */
  setIndexed(row: number, isIndexed: boolean): void {
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    if (((words[at + 2]! & IS_INDEXED) !== 0) === isIndexed) return;
    words[at + 2] = words[at + 2]! ^ IS_INDEXED;
    if (isIndexed) this.index.insert(this.hashOf(row), row);
    else this.index.remove(this.hashOf(row), row);
  }

  /** Whether a live session of that user is in the row. */
  isOf(row: number, low: number, high: number): boolean {
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    return words[at] === low && words[at + 1] === high && words[at + 8] !== 0;
  }

  /** Counts the tile's event i in. */
  extend(row: number, tile: Tile, i: number): void {
    const timeMs = tile.timeMs[i]!;
    const value = tile.value[i]!;
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const doubles = this.chunks.doubles[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    const d = (row & CHUNK_MASK) * 8;
    this.chunks.watch?.save(row);
    if (timeMs < doubles[d + 2]!) doubles[d + 2] = timeMs;
    if (timeMs > doubles[d + 3]!) doubles[d + 3] = timeMs;
    words[at + 8] = words[at + 8]! + 1;
    if (value === value) {
      words[at + 9] = words[at + 9]! + 1;
      doubles[d + 5] = doubles[d + 5]! + value;
      if (value < doubles[d + 6]!) doubles[d + 6] = value;
      if (value > doubles[d + 7]!) doubles[d + 7] = value;
    }
  }

  /** Adds the later session to the earlier one and frees its row. */
  merge(earlier: number, later: number): void {
    const words = this.chunks.words[earlier >>> CHUNK_BITS]!;
    const doubles = this.chunks.doubles[earlier >>> CHUNK_BITS]!;
    const at = (earlier & CHUNK_MASK) * 16;
    const d = (earlier & CHUNK_MASK) * 8;
    const fromWords = this.chunks.words[later >>> CHUNK_BITS]!;
    const fromDoubles = this.chunks.doubles[later >>> CHUNK_BITS]!;
    const fromAt = (later & CHUNK_MASK) * 16;
    const fromD = (later & CHUNK_MASK) * 8;
    this.chunks.watch?.save(earlier);
    doubles[d + 3] = fromDoubles[fromD + 3]!;
    words[at + 8] = words[at + 8]! + fromWords[fromAt + 8]!;
    words[at + 9] = words[at + 9]! + fromWords[fromAt + 9]!;
    doubles[d + 5] = doubles[d + 5]! + fromDoubles[fromD + 5]!;
    doubles[d + 6] = Math.min(doubles[d + 6]!, fromDoubles[fromD + 6]!);
    doubles[d + 7] = Math.max(doubles[d + 7]!, fromDoubles[fromD + 7]!);
    this.remove(later);
  }

  remove(row: number): void {
    this.setIndexed(row, false);
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    this.chunks.watch?.save(row);
    words.fill(0, at, at + 16);
    words[at + 2] = this.#free;
    this.#free = row + 1;
  }

  hashOf(row: number): number {
    const words = this.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    return hashUser(words[at]!, words[at + 1]!);
  }

  /** Every row ever used, free ones included, with the scheduling hints zeroed (I1). */
  copyTo(target: Uint8Array): void {
    copyRows(this.chunks, this.#rows, target, SHAPE);
  }

  /** The same as {@link copyTo}, piece by piece. Of one at a time. */
  startCopy(target: Uint8Array): SectionCopy {
    return startRowCopy(this.chunks, this.#rows, target, SHAPE);
  }

  copyFrom(source: Uint8Array, freeHead: number): void {
    this.chunks.copyFrom(source);
    this.#rows = source.length / ROW_BYTES;
    this.#free = freeHead;
    this.index = new RowIndex();
  }
}

const SHAPE: RowShape = {
  savedWords: ROW_WORDS,
  clean: (words, from, to) => {
    for (let at = from; at < to; at += ROW_WORDS) {
      if (words[at + 8] !== 0) words[at + 2] = 0;
      words[at + 3] = 0;
    }
  },
};
