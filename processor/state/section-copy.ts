/**
 * Copying of a state table piece by piece, between records, while the fold goes on writing to it. What has been copied when the last piece is done is
 * the table as it stood when the copy began: rows that the fold is about to change are copied before they change.
 *
 * Written out at once (`finish`) it is the plain copy.
 */
import { ROW_WORDS, CHUNK_BITS, CHUNK_MASK, CHUNK_ROWS, type RowChunks } from "./row-chunks.ts";

export interface SectionCopy {
  /** Copies about so many bytes; returns how many, 0 = all is copied and the table is no longer watched. */
  step(budgetBytes: number): number;
}

export function finish(copy: SectionCopy): void {
  while (copy.step(Infinity) > 0);
}

/** Rows copied together. Of a random key the first write after the boundary copies a page: a small one keeps that write short. */
const PAGE_BITS = 3;
const PAGE_ROWS = 1 << PAGE_BITS;

export interface RowShape {
  /** Of each row, how many words stand in the snapshot, from the first on. */
  readonly savedWords: number;
  /** Puts the words that follow from the rest to zero, in copied rows: words[from] to words[to - 1]. null = none do. */
  readonly clean: ((words: Int32Array, from: number, to: number) => void) | null;
}

/** The first `rows` rows at once, beside whatever copy in pieces is under way. */
export function copyRows(chunks: RowChunks, rows: number, target: Uint8Array, shape: RowShape): void {
  finish(new PageCopy(chunks.words, rows, target, shape, () => undefined));
}

/** The same piece by piece, of one at a time: the rows are watched until the last one is copied. */
export function startRowCopy(chunks: RowChunks, rows: number, target: Uint8Array, shape: RowShape): SectionCopy {
  const copy = new PageCopy(chunks.words, rows, target, shape, () => chunks.endWatch());
  chunks.watch = copy;
  return copy;
}

/** Rows that change. */
class PageCopy implements SectionCopy {
  readonly #source: readonly Int32Array[];
  readonly #rows: number;
  readonly #target: Int32Array;
  readonly #shape: RowShape;
  /** Called once, with the last row copied. */
  readonly #done: () => void;
  /** 1 = the page is copied. */
  readonly #isCopied: Uint8Array;
  #nextPage = 0;
  #isDone = false;

  /** Of the first `rows` rows of the chunks in `source`, which may gain chunks meanwhile. `target` is 4-aligned. */
  constructor(source: readonly Int32Array[], rows: number, target: Uint8Array, shape: RowShape, done: () => void) {
    this.#source = source;
    this.#rows = rows;
    this.#target = new Int32Array(target.buffer, target.byteOffset, rows * shape.savedWords);
    this.#shape = shape;
    this.#done = done;
    this.#isCopied = new Uint8Array(Math.ceil(rows / PAGE_ROWS));
  }

  /** Before the row changes. */
  save(row: number): void {
    if (row >= this.#rows) return;
    const page = row >>> PAGE_BITS;
    if (this.#isCopied[page] !== 0) return;
    this.#isCopied[page] = 1;
    const from = page << PAGE_BITS;
    const rows = Math.min(PAGE_ROWS, this.#rows - from);
    const { savedWords } = this.#shape;
    const source = this.#source[from >>> CHUNK_BITS]!;
    const target = this.#target;
    let at = (from & CHUNK_MASK) * ROW_WORDS;
    let to = from * savedWords;
    for (let i = 0; i < rows; i++, at += ROW_WORDS) for (let word = 0; word < savedWords; word++) target[to++] = source[at + word]!;
    this.#shape.clean?.(target, from * savedWords, to);
  }

  step(budgetBytes: number): number {
    const isCopied = this.#isCopied;
    const pages = isCopied.length;
    let left = budgetBytes;
    let bytes = 0;
    while (left > 0 && this.#nextPage < pages) {
      const from = this.#nextPage;
      if (isCopied[from] !== 0) {
        this.#nextPage++;
        // So that a step that finds nothing but copied pages is short as well.
        left--;
        bytes++;
        continue;
      }
      const pageBytes = PAGE_ROWS * this.#shape.savedWords * 4;
      const chunkEnd = ((from << PAGE_BITS) | CHUNK_MASK) + 1;
      const most = Math.min(pages, chunkEnd >>> PAGE_BITS, from + Math.ceil(left / pageBytes));
      let to = from + 1;
      while (to < most && isCopied[to] === 0) to++;
      isCopied.fill(1, from, to);
      this.#nextPage = to;
      this.#copy(from << PAGE_BITS, Math.min(to << PAGE_BITS, this.#rows));
      left -= (to - from) * pageBytes;
      bytes += (to - from) * pageBytes;
    }
    if (bytes === 0 && !this.#isDone) {
      this.#isDone = true;
      this.#done();
    }
    return bytes;
  }

  /** Rows of one chunk. */
  #copy(from: number, to: number): void {
    const { savedWords } = this.#shape;
    const source = this.#source[from >>> CHUNK_BITS]!;
    const first = (from & (CHUNK_ROWS - 1)) * ROW_WORDS;
    const at = from * savedWords;
    const target = this.#target;
    if (savedWords === ROW_WORDS) target.set(source.subarray(first, first + (to - from) * ROW_WORDS), at);
    else {
      for (let row = 0, read = first, written = at; row < to - from; row++, read += ROW_WORDS, written += savedWords) {
        for (let word = 0; word < savedWords; word++) target[written + word] = source[read + word]!;
      }
    }
    this.#shape.clean?.(target, at, to * savedWords);
  }
}

/** Bytes that nobody changes as long as the copy goes on. */
export class PartsCopy implements SectionCopy {
  readonly #parts: readonly Uint8Array[];
  readonly #target: Uint8Array;
  readonly #done: () => void;
  #part = 0;
  #at = 0;
  #isDone = false;

  constructor(parts: readonly Uint8Array[], target: Uint8Array, done: () => void) {
    this.#parts = parts;
    this.#target = target;
    this.#done = done;
  }

  step(budgetBytes: number): number {
    let bytes = 0;
    while (bytes < budgetBytes && this.#part < this.#parts.length) {
      const part = this.#parts[this.#part]!;
      const piece = part.subarray(this.#at, Math.min(part.length, this.#at + budgetBytes - bytes));
      const offset = this.#written;
      this.#target.set(piece, offset);
      this.#written = offset + piece.length;
      this.#at += piece.length;
      bytes += piece.length;
      if (this.#at === part.length) {
        this.#part++;
        this.#at = 0;
      }
    }
    if (bytes === 0 && !this.#isDone) {
      this.#isDone = true;
      this.#done();
    }
    return bytes;
  }

  #written = 0;
}
