/**
 * Rows of 64 bytes, one cache line each, outside of the JavaScript heap. Grows chunk by chunk: no row ever moves, so growth costs one
 * zeroed allocation and no copy.
 */
export const ROW_WORDS = 16;
export const ROW_DOUBLES = 8;
export const ROW_BYTES = 64;
export const CHUNK_BITS = 14;
export const CHUNK_ROWS = 1 << CHUNK_BITS;
export const CHUNK_MASK = CHUNK_ROWS - 1;

/** glibc puts large blocks 16 bytes behind a page: views from byte 48 on then begin on a cache line. Elsewhere it is merely harmless. */
const LINE_SHIFT = 48;

/** What has to be told before a row changes (section-copy.ts). */
interface RowWatch {
  save(row: number): void;
}

/** Chunks of closed windows serve the next ones: the collector of the engine frees memory outside of its heap late. */
export class ChunkPool {
  readonly #free: ArrayBuffer[] = [];

  take(): ArrayBuffer {
    return this.#free.pop() ?? new ArrayBuffer(CHUNK_ROWS * ROW_BYTES + 64);
  }

  /** Chunks that are still being copied come back when they have been. */
  give(chunks: RowChunks): void {
    if (chunks.watch !== null) {
      chunks.isGivenBack = true;
      return;
    }
    for (const words of chunks.words) this.#free.push(words.buffer as ArrayBuffer);
  }

  get bytes(): number {
    return this.#free.length * CHUNK_ROWS * ROW_BYTES;
  }
}

/** Whoever adds a row writes all of it: recycled chunks are not zeroed. */
export class RowChunks {
  readonly #pool: ChunkPool;
  /** Both views of chunk n. Row r is in chunk r >>> CHUNK_BITS at (r & CHUNK_MASK) * ROW_WORDS or ROW_DOUBLES. */
  readonly words: Int32Array[] = [];
  readonly doubles: Float64Array[] = [];

  /** Not null while a snapshot is being copied: whoever changes a row that has been before, in words that a snapshot holds, saves it first. */
  watch: RowWatch | null = null;
  isGivenBack = false;

  constructor(pool: ChunkPool) {
    this.#pool = pool;
  }

  endWatch(): void {
    this.watch = null;
    if (!this.isGivenBack) return;
    this.isGivenBack = false;
    this.#pool.give(this);
  }

  /** Before the rows named change; -1 = none. One test a tile when no snapshot is being copied. */
  saveRows(rows: Int32Array, from: number, to: number): void {
    const { watch } = this;
    if (watch === null) return;
    for (let i = from; i < to; i++) if (rows[i]! >= 0) watch.save(rows[i]!);
  }

  /** Written so that the compiler must do the reads of {@link touch}. */
  touched = 0;

  get bytes(): number {
    return this.words.length * CHUNK_ROWS * ROW_BYTES;
  }

  get capacity(): number {
    return this.words.length * CHUNK_ROWS;
  }

  grow(): void {
    const buffer = this.#pool.take();
    this.words.push(new Int32Array(buffer, LINE_SHIFT, CHUNK_ROWS * ROW_WORDS));
    this.doubles.push(new Float64Array(buffer, LINE_SHIFT, CHUNK_ROWS * ROW_DOUBLES));
  }

  /** Reads the rows named, so that their cache lines come in together. */
  touch(rows: Int32Array, from: number, to: number): void {
    if (this.words.length === 0) return;
    let sum = 0;
    for (let i = from; i < to; i++) {
      // Row 0 in place of none, without a branch.
      const row = rows[i]! & ~(rows[i]! >> 31);
      sum ^= this.words[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * ROW_WORDS]!;
    }
    this.touched = sum;
  }

  /** Replaces the content by `source`, whole rows. */
  copyFrom(source: Uint8Array): void {
    const size = CHUNK_ROWS * ROW_BYTES;
    for (let at = 0, chunk = 0; at < source.length; at += size, chunk++) {
      if (chunk === this.words.length) this.grow();
      const words = this.words[chunk]!;
      new Uint8Array(words.buffer, words.byteOffset, size).set(source.subarray(at, at + size));
    }
  }
}
