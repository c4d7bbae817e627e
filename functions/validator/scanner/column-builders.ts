/** Growable columns. Buffers are kept from block to block: what `finish` returns are views, valid until the next `begin`. */
import type { BytesColumn, DictionaryColumn } from "#shared/events/columns.ts";
import { decodeText } from "./text.ts";

/** Up to here copying words is quicker than the view object that `set` needs. */
const WORD_COPY_BYTES = 256;
/** Words are written whole, up to seven bytes too far. */
const SLACK_BYTES = 8;

/** Variable-length bytes, null where nothing was written: a row that does not touch the column costs nothing. */
export class BytesBuilder {
  #offsets = new Int32Array(1_025);
  #bytes = new Uint8Array(16_384);
  #view: DataView = new DataView(this.#bytes.buffer);
  #validity = new Uint8Array(129);
  #rows = 0;
  #present = 0;
  length = 0;

  begin(): void {
    this.#validity.fill(0, 0, (this.#rows >> 3) + 1);
    this.#rows = 0;
    this.#present = 0;
    this.length = 0;
  }

  appendSlice(row: number, bytes: Uint8Array, start: number, end: number): void {
    const at = this.#open(row, end - start);
    this.#bytes.set(bytes.subarray(start, end), at);
    this.length = at + end - start;
    this.#offsets[row + 1] = this.length;
  }

  /**
   * The same for a short slice of UTF-8 in a buffer that goes on for seven bytes behind it at least; `source` is its view. Eight bytes go as one double:
   * a NaN, whose bits an engine may change, would need a byte from F0 on followed by 7F or FF, which is no UTF-8.
   */
  appendWords(row: number, bytes: Uint8Array, source: DataView, start: number, end: number): void {
    const size = end - start;
    if (size > WORD_COPY_BYTES) {
      this.appendSlice(row, bytes, start, end);
      return;
    }
    const at = this.#open(row, size);
    const target = this.#view;
    for (let from = start, to = at; from < end; from += 8, to += 8) target.setFloat64(to, source.getFloat64(from, true), true);
    this.length = at + size;
    this.#offsets[row + 1] = this.length;
  }

  /** The content of a JSON string. */
  appendText(row: number, bytes: Uint8Array, start: number, end: number): void {
    const at = this.#open(row, end - start);
    this.length = decodeText(bytes, start, end, this.#bytes, at);
    this.#offsets[row + 1] = this.length;
  }

  /** `rows` rows at once. `offsets` has one more, the first is 0; `presence` is 1 by row where there is a value, null = everywhere. */
  appendRun(row: number, rows: number, offsets: Int32Array, bytes: Uint8Array, presence: Uint8Array | null): void {
    const size = offsets[rows]!;
    this.#fillTo(row);
    this.#reserveRows(row + rows);
    if (this.length + size + SLACK_BYTES > this.#bytes.length) this.#growBytes(this.length + size + SLACK_BYTES);
    this.#bytes.set(bytes.subarray(0, size), this.length);
    const target = this.#offsets;
    const shift = this.length;
    if (shift === 0) target.set(offsets.subarray(1, rows + 1), row + 1);
    else for (let i = 1; i <= rows; i++) target[row + i] = offsets[i]! + shift;
    this.length += size;
    this.#rows = row + rows;
    this.#present += setBits(this.#validity, row, rows, presence);
  }

  #open(row: number, sizeBytes: number): number {
    if (this.#rows !== row || row + 2 > this.#offsets.length) this.#fillTo(row);
    this.#rows = row + 1;
    this.#present++;
    this.#validity[row >> 3]! |= 1 << (row & 7);
    if (this.length + sizeBytes + SLACK_BYTES > this.#bytes.length) this.#growBytes(this.length + sizeBytes + SLACK_BYTES);
    return this.length;
  }

  #growBytes(neededBytes: number): void {
    const grown = new Uint8Array(Math.max(neededBytes, 2 * this.#bytes.length));
    grown.set(this.#bytes.subarray(0, this.length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  #fillTo(row: number): void {
    this.#reserveRows(row + 1);
    for (let i = this.#rows; i < row; i++) this.#offsets[i + 1] = this.length;
    this.#rows = row;
  }

  #reserveRows(rows: number): void {
    if (rows + 1 <= this.#offsets.length) return;
    const capacity = Math.max(rows, 2 * (this.#offsets.length - 1));
    const offsets = new Int32Array(capacity + 1);
    offsets.set(this.#offsets);
    this.#offsets = offsets;
    const validity = new Uint8Array((capacity >> 3) + 1);
    validity.set(this.#validity);
    this.#validity = validity;
  }

  finish(rows: number): BytesColumn {
    if (this.#rows < rows) this.#fillTo(rows);
    return {
      offsets: this.#offsets.subarray(0, rows + 1),
      bytes: this.#bytes.subarray(0, this.length),
      validity: this.#present === rows ? null : this.#validity.subarray(0, (rows + 7) >> 3),
    };
  }
}

/** Sets those of `rows` bits from `row` on whose byte in `presence` is not 0, null = all. Returns how many. */
export function setBits(bits: Uint8Array, row: number, rows: number, presence: Uint8Array | null): number {
  let count = 0;
  for (let i = 0; i < rows;) {
    const at = row + i;
    if (presence === null && (at & 7) === 0 && rows - i >= 8) {
      const whole = (rows - i) >> 3;
      bits.fill(0xff, at >> 3, (at >> 3) + whole);
      i += 8 * whole;
      count += 8 * whole;
      continue;
    }
    const bit = presence === null || presence[i] !== 0 ? 1 : 0;
    bits[at >> 3]! |= bit << (at & 7);
    count += bit;
    i++;
  }
  return count;
}

/** Codes of the plan to codes of this block, numbered as they first come: a block carries only the words it uses. */
export class DictionaryBuilder {
  readonly #names: readonly string[];
  readonly #codeOf: Int16Array;
  #codes = new Int16Array(1_024);
  #used: string[] = [];

  constructor(names: readonly string[]) {
    this.#names = names;
    this.#codeOf = new Int16Array(names.length).fill(-1);
  }

  begin(): void {
    this.#codeOf.fill(-1);
    this.#used = [];
  }

  /** Every row is set, in order; -1 = null. */
  set(row: number, index: number): void {
    this.#reserve(row + 1);
    this.#codes[row] = index < 0 ? -1 : this.#codeFor(index);
  }

  /** The same for the first `rows` of `indexes`, from `row` on. */
  appendRun(row: number, indexes: Int16Array, rows: number): void {
    this.#reserve(row + rows);
    const codes = this.#codes;
    const known = this.#codeOf;
    for (let i = 0; i < rows; i++) {
      const index = indexes[i]!;
      const code = index < 0 ? -1 : known[index]!;
      codes[row + i] = index < 0 || code >= 0 ? code : this.#codeFor(index);
    }
  }

  appendNulls(row: number, rows: number): void {
    this.#reserve(row + rows);
    this.#codes.fill(-1, row, row + rows);
  }

  #codeFor(index: number): number {
    let code = this.#codeOf[index]!;
    if (code < 0) {
      code = this.#used.length;
      this.#codeOf[index] = code;
      this.#used.push(this.#names[index]!);
    }
    return code;
  }

  #reserve(rows: number): void {
    if (rows <= this.#codes.length) return;
    const grown = new Int16Array(Math.max(rows, 2 * this.#codes.length));
    grown.set(this.#codes);
    this.#codes = grown;
  }

  finish(rows: number): DictionaryColumn {
    return { codes: this.#codes.subarray(0, rows), values: this.#used };
  }
}
