/** Which event ids stand in one partition's outputs, and where from: open addressing over typed arrays, about 40 bytes a row. */
import { assert } from "#shared/kernel/assert.ts";

const LOAD_MAX = 0.6;

export class IdentityIndex {
  /** Four words a row. */
  #ids = new Uint32Array(4 * 1_024);
  #offsets = new Float64Array(1_024);
  #logTimesMs = new Float64Array(1_024);
  #slots = new Int32Array(2_048).fill(-1);
  #rows = 0;

  get rows(): number {
    return this.#rows;
  }

  /** The row that has this id already, or -1: then it is in now. `at` counts bytes. */
  add(ids: Uint8Array, at: number, position: { readonly sourceOffset: number; readonly logTimeMs: number }): number {
    if (this.#rows + 1 > this.#slots.length * LOAD_MAX) this.#rehash();
    if (this.#rows === this.#offsets.length) this.#grow();
    const row = this.#rows;
    read(ids, at, this.#ids, 4 * row);
    const slot = this.#find(row);
    const found = this.#slots[slot]!;
    if (found >= 0) return found;
    this.#slots[slot] = row;
    this.#offsets[row] = position.sourceOffset;
    this.#logTimesMs[row] = position.logTimeMs;
    this.#rows++;
    return -1;
  }

  /** -1: not there. */
  find(ids: Uint8Array, at: number): number {
    if (this.#rows === this.#offsets.length) this.#grow();
    read(ids, at, this.#ids, 4 * this.#rows);
    return this.#slots[this.#find(this.#rows)]!;
  }

  sourceOffset(row: number): number {
    return this.#offsets[row]!;
  }

  logTimeMs(row: number): number {
    return this.#logTimesMs[row]!;
  }

  /** The id was found at an earlier position than the one it has here. */
  move(row: number, position: { readonly sourceOffset: number; readonly logTimeMs: number }): void {
    this.#offsets[row] = position.sourceOffset;
    this.#logTimesMs[row] = position.logTimeMs;
  }

  /** Slot of the id that stands in row `row`, or the free slot where it belongs. */
  #find(row: number): number {
    const mask = this.#slots.length - 1;
    const ids = this.#ids;
    const a = ids[4 * row]!;
    const b = ids[4 * row + 1]!;
    const c = ids[4 * row + 2]!;
    const d = ids[4 * row + 3]!;
    let slot = hash(a, b, c, d) & mask;
    for (;;) {
      const other = this.#slots[slot]!;
      if (other < 0) return slot;
      if (ids[4 * other] === a && ids[4 * other + 1] === b && ids[4 * other + 2] === c && ids[4 * other + 3] === d) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #rehash(): void {
    this.#slots = new Int32Array(this.#slots.length * 2).fill(-1);
    for (let row = 0; row < this.#rows; row++) this.#slots[this.#find(row)] = row;
  }

  #grow(): void {
    const rows = this.#offsets.length * 2;
    const ids = new Uint32Array(4 * rows);
    ids.set(this.#ids);
    this.#ids = ids;
    const offsets = new Float64Array(rows);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
    const logTimesMs = new Float64Array(rows);
    logTimesMs.set(this.#logTimesMs);
    this.#logTimesMs = logTimesMs;
  }
}

function read(bytes: Uint8Array, at: number, into: Uint32Array, word: number): void {
  assert(at + 16 <= bytes.length, "an id has 16 bytes");
  for (let i = 0; i < 4; i++) {
    const b = at + 4 * i;
    into[word + i] = (bytes[b]! << 24) | (bytes[b + 1]! << 16) | (bytes[b + 2]! << 8) | bytes[b + 3]!;
  }
}

function hash(a: number, b: number, c: number, d: number): number {
  let h = Math.imul(a ^ (b >>> 15), 0x9e3779b1);
  h = Math.imul((h ^ (h >>> 15)) + b, 0x85ebca6b);
  h = Math.imul((h ^ (h >>> 13)) + c, 0xc2b2ae35);
  h = Math.imul((h ^ (h >>> 16)) + d, 0x27d4eb2f);
  return h ^ (h >>> 15);
}
