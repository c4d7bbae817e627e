import { assert } from "#shared/kernel/assert.ts";
import type { BytesColumn } from "#shared/events/columns.ts";
import type { RowRuns } from "./row-runs.ts";

const FIRST_BYTES = 4096;

/** Variable-length values of the rows that wait for output. */
export class BytesBuffer {
  #ends = new Int32Array(65);
  #present = new Uint8Array(64);
  #bytes = new Uint8Array(FIRST_BYTES);
  #nulls = 0;

  append(column: BytesColumn, runs: RowRuns, at: number): void {
    const { offsets, validity } = column;
    if (at + runs.rows >= this.#ends.length) this.#resize(at + runs.rows);
    const ends = this.#ends;
    const present = this.#present;
    let row = at;
    let size = ends[at]!;
    for (let run = 0; run < runs.count; run++) {
      const from = runs.bounds[run * 2]!;
      const to = runs.bounds[run * 2 + 1]!;
      const begin = offsets[from]!;
      const length = offsets[to]! - begin;
      if (size + length > this.#bytes.length) this.#resizeBytes(size + length);
      copyBytes(this.#bytes, size, column.bytes, begin, length);
      const shift = size - begin;
      size += length;
      for (let i = from; i < to; i++, row++) ends[row + 1] = offsets[i + 1]! + shift;
      if (validity === null) present.fill(1, row - (to - from), row);
      else {
        for (let i = from, r = row - (to - from); i < to; i++, r++) {
          const bit = (validity[i >> 3]! >> (i & 7)) & 1;
          present[r] = bit;
          this.#nulls += 1 - bit;
        }
      }
    }
  }

  /** Bytes of rows from..to. */
  size(from: number, to: number): number {
    return this.#ends[to]! - this.#ends[from]!;
  }

  column(from: number, to: number): BytesColumn {
    return {
      offsets: this.#ends.subarray(from, to + 1),
      bytes: this.#bytes,
      validity: this.#nulls === 0 ? null : this.#validity(from, to),
    };
  }

  clear(): void {
    this.#nulls = 0;
  }

  #validity(from: number, to: number): Uint8Array | null {
    const bits = new Uint8Array((to - from + 7) >> 3);
    let present = 0;
    for (let i = from; i < to; i++) {
      const bit = this.#present[i]!;
      bits[(i - from) >> 3]! |= bit << ((i - from) & 7);
      present += bit;
    }
    return present === to - from ? null : bits;
  }

  #resize(rows: number): void {
    const wider = Math.max(rows, this.#present.length * 2);
    const ends = new Int32Array(wider + 1);
    ends.set(this.#ends);
    this.#ends = ends;
    const present = new Uint8Array(wider);
    present.set(this.#present);
    this.#present = present;
  }

  #resizeBytes(size: number): void {
    assert(size < 0x7fffffff, "outputs of one epoch hold at most 2 GiB of text in a column");
    const bytes = new Uint8Array(Math.min(Math.max(size, this.#bytes.length * 2), 0x7fffffff));
    bytes.set(this.#bytes);
    this.#bytes = bytes;
  }
}

/** A view costs about as much as copying fifty bytes one by one. */
function copyBytes(target: Uint8Array, at: number, source: Uint8Array, from: number, length: number): void {
  if (length > 48) target.set(source.subarray(from, from + length), at);
  else for (let i = 0; i < length; i++) target[at + i] = source[from + i]!;
}
