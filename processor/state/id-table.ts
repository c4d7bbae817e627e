/**
 * The event ids of the last `horizonMs` of log time, exact, 16 bytes each, with the fingerprint of the event that came first.
 *
 * A ring of rows in order of arrival (24 bytes: id, fingerprint, log time modulo 2^32) under an index by hash. Arrival order is expiry
 * order, so expiry cuts the tail of the ring and costs what expires. An event touches one index line at random; the ring is written in
 * sequence. Log time never goes back (the caller clamps it).
 *
 * I1 Whether an id counts as seen depends on its age alone, never on whether its row is still here.
 */
import { hashEventId } from "./key-hash.ts";
import { RowIndex } from "./row-index.ts";
import { PartsCopy, finish, type SectionCopy } from "./section-copy.ts";
import { tableFull } from "./capacity.ts";

const WORDS = 6;
export const ID_ROW_BYTES = WORDS * 4;
const CHUNK_BITS = 15;
const CHUNK_MASK = (1 << CHUNK_BITS) - 1;
const CHUNK_COUNT_MASK = 0x7fff;
/** Row numbers wrap here; far more rows than can be live. */
const ROW_MASK = 0x3fffffff;

const EXPIRED_AT_ONCE = 128;

export const SEEN = { no: 0, same: 1, conflict: 2 } as const;

export class IdTable {
  readonly #horizonMs: number;
  readonly #maxRows: number;
  #index = new RowIndex();
  #chunks: Int32Array[] = [];
  #firstChunk = 0;
  readonly #expiredHashes = new Int32Array(EXPIRED_AT_ONCE);
  readonly #scratch = new Int32Array(EXPIRED_AT_ONCE);
  #tail = 0;
  #count = 0;
  #timeMs = 0;
  /** The same modulo 2^32, as the rows hold it. */
  #time = 0;
  #isCopying = false;

  constructor(horizonMs: number, maxRows: number) {
    this.#horizonMs = horizonMs;
    this.#maxRows = maxRows;
  }

  get rows(): number {
    return this.#count;
  }

  get bytes(): number {
    return this.#index.bytes + this.#chunks.length * (CHUNK_MASK + 1) * ID_ROW_BYTES;
  }

  /** For reading slots ahead, so that the cache misses of many rows overlap. */
  get index(): RowIndex {
    return this.#index;
  }

  /** Sets the log time of the rows to come and drops what has expired, at most `budget` rows: a jump in time must not stop the fold. */
  advance(timeMs: number, budget: number): void {
    if (timeMs - this.#timeMs > 0x7fffffff) this.#clear();
    this.#timeMs = timeMs;
    this.#time = (timeMs % 4294967296) | 0;
    this.#expire(budget);
  }

  /** Tells whether the id was seen within the horizon ({@link SEEN}) and remembers it if not. */
  see(a: number, b: number, c: number, d: number, hash: number, fingerprint: number): number {
    const index = this.#index;
    const { slots, mask } = index;
    let slot = hash & mask;
    for (let next = slots[slot * 2 + 1]!; next !== 0; next = slots[slot * 2 + 1]!) {
      if (slots[slot * 2] === hash) {
        const seen = this.#compare(next - 1, a, b, c, d, fingerprint);
        if (seen !== SEEN.no) return seen;
      }
      slot = (slot + 1) & mask;
    }
    if (index.old !== null) {
      const seen = this.#findOld(index.old, index.oldMask, a, b, c, d, hash, fingerprint);
      if (seen !== SEEN.no) return seen;
    }
    if (this.#count === this.#maxRows) {
      this.#expire(this.#count);
      if (this.#count === this.#maxRows) throw tableFull("ids", this.#maxRows);
      slot = -1;
    }
    const row = (this.#tail + this.#count) & ROW_MASK;
    const chunk = ((row >>> CHUNK_BITS) - this.#firstChunk) & CHUNK_COUNT_MASK;
    if (chunk === this.#chunks.length) this.#chunks.push(new Int32Array((1 << CHUNK_BITS) * WORDS));
    const words = this.#chunks[chunk]!;
    const at = (row & CHUNK_MASK) * WORDS;
    words[at] = a;
    words[at + 1] = b;
    words[at + 2] = c;
    words[at + 3] = d;
    words[at + 4] = fingerprint;
    words[at + 5] = this.#time;
    this.#count++;
    if (slot < 0 || !index.insertAt(slot, hash, row)) index.insert(hash, row);
    return SEEN.no;
  }

  #findOld(old: Int32Array, mask: number, a: number, b: number, c: number, d: number, hash: number, fingerprint: number): number {
    for (let slot = hash & mask; old[slot * 2 + 1] !== 0; slot = (slot + 1) & mask) {
      const row = old[slot * 2 + 1]! - 1;
      if (old[slot * 2] !== hash || row < 0) continue;
      const seen = this.#compare(row, a, b, c, d, fingerprint);
      if (seen !== SEEN.no) return seen;
    }
    return SEEN.no;
  }

  #compare(row: number, a: number, b: number, c: number, d: number, fingerprint: number): number {
    const words = this.#chunks[((row >>> CHUNK_BITS) - this.#firstChunk) & CHUNK_COUNT_MASK]!;
    const at = (row & CHUNK_MASK) * WORDS;
    if (words[at] !== a || words[at + 1] !== b || words[at + 2] !== c || words[at + 3] !== d) return SEEN.no;
    if (this.#ageMs(words[at + 5]!) > this.#horizonMs) return SEEN.no;
    return words[at + 4] === fingerprint ? SEEN.same : SEEN.conflict;
  }

  /** Modulo 2^32: rows older than 2^31 ms cannot be here, see advance. */
  #ageMs(time: number): number {
    return (this.#time - time) >>> 0;
  }

  #expire(budget: number): void {
    for (let left = budget; left > 0 && this.#count > 0;) {
      const expired = this.#expireRun(Math.min(left, EXPIRED_AT_ONCE));
      if (expired === 0) return;
      left -= expired;
    }
  }

  /** Within one chunk, so that the lines of the index can be read ahead. Returns how many rows went. */
  #expireRun(limit: number): number {
    const words = this.#chunks[0]!;
    const from = this.#tail & CHUNK_MASK;
    const most = Math.min(limit, this.#count, CHUNK_MASK + 1 - from);
    const hashes = this.#expiredHashes;
    let expired = 0;
    for (; expired < most; expired++) {
      const at = (from + expired) * WORDS;
      if (this.#ageMs(words[at + 5]!) <= this.#horizonMs) break;
      hashes[expired] = hashEventId(words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
    }
    this.#index.touch(hashes, 0, expired, this.#scratch);
    for (let i = 0; i < expired; i++) this.#index.remove(hashes[i]!, this.#tail + i);
    this.#tail = (this.#tail + expired) & ROW_MASK;
    this.#count -= expired;
    if (expired > 0 && (this.#tail & CHUNK_MASK) === 0) {
      // The emptied chunk serves again as the last one, unless a snapshot still reads it.
      const emptied = this.#chunks.shift()!;
      if (!this.#isCopying) this.#chunks.push(emptied);
      this.#firstChunk = this.#tail >>> CHUNK_BITS;
    }
    return expired;
  }

  #clear(): void {
    this.#index = new RowIndex();
    this.#chunks = [];
    this.#firstChunk = 0;
    this.#tail = 0;
    this.#count = 0;
  }

  /** Live rows, oldest first. */
  copyTo(target: Uint8Array): void {
    finish(new PartsCopy(this.#parts(), target, () => undefined));
  }

  /** The same as {@link copyTo}, piece by piece: a row is never written twice, so that all it takes is to leave emptied chunks alone. */
  startCopy(target: Uint8Array): SectionCopy {
    this.#isCopying = true;
    return new PartsCopy(this.#parts(), target, () => (this.#isCopying = false));
  }

  #parts(): Uint8Array[] {
    const parts: Uint8Array[] = [];
    for (let row = this.#tail, left = this.#count; left > 0;) {
      const from = row & CHUNK_MASK;
      const rows = Math.min(left, CHUNK_MASK + 1 - from);
      const words = this.#chunks[((row >>> CHUNK_BITS) - this.#firstChunk) & CHUNK_COUNT_MASK]!;
      parts.push(new Uint8Array(words.buffer, from * ID_ROW_BYTES, rows * ID_ROW_BYTES));
      row = (row + rows) & ROW_MASK;
      left -= rows;
    }
    return parts;
  }

  copyFrom(source: Uint8Array, timeMs: number): void {
    this.#clear();
    this.#timeMs = timeMs;
    this.#time = (timeMs % 4294967296) | 0;
    this.#count = source.length / ID_ROW_BYTES;
    this.#index = new RowIndex(this.#count);
    const chunkBytes = (CHUNK_MASK + 1) * ID_ROW_BYTES;
    for (let at = 0, row = 0; at < source.length; at += chunkBytes) {
      const words = new Int32Array((CHUNK_MASK + 1) * WORDS);
      const part = source.subarray(at, at + chunkBytes);
      new Uint8Array(words.buffer).set(part);
      this.#chunks.push(words);
      for (let w = 0; w < part.length / 4; w += WORDS, row++) {
        this.#index.insert(hashEventId(words[w]!, words[w + 1]!, words[w + 2]!, words[w + 3]!), row);
      }
    }
  }
}
