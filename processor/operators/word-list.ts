import type { DictionaryColumn } from "#shared/events/columns.ts";

/** Most distinct values that a column of 16-bit codes can hold. */
export const MAX_WORDS = 32_767;

/** Distinct strings of the rows that wait for output. Codes are local to this list and never leave it. */
export class WordList {
  readonly #codes = new Map<string, number>();
  #values: string[] = [];
  /** Of the last block's dictionary: code + 1 -> code here. */
  #mapped = new Int32Array(64);
  #local = new Int32Array(64);

  /** Translation of a block's codes, valid until the next call. Entry 0 is null's. */
  map(column: DictionaryColumn): Int32Array {
    const { values } = column;
    if (this.#mapped.length <= values.length) this.#mapped = new Int32Array(values.length * 2);
    this.#mapped[0] = -1;
    for (let i = 0; i < values.length; i++) this.#mapped[i + 1] = this.codeOf(values[i]!);
    return this.#mapped;
  }

  codeOf(value: string): number {
    let code = this.#codes.get(value);
    if (code === undefined) {
      code = this.#values.length;
      this.#values.push(value);
      this.#codes.set(value, code);
    }
    return code;
  }

  /** Rows from..to as a column whose values stand in order of first use: a function of the rows alone. */
  column(codes: Int32Array, from: number, to: number): DictionaryColumn {
    if (this.#local.length < this.#values.length) this.#local = new Int32Array(this.#values.length * 2);
    const local = this.#local.fill(-1, 0, this.#values.length);
    const values: string[] = [];
    const out = new Int16Array(to - from);
    for (let i = from; i < to; i++) {
      const code = codes[i]!;
      if (code < 0) {
        out[i - from] = -1;
        continue;
      }
      if (local[code]! < 0) {
        local[code] = values.length;
        values.push(this.#values[code]!);
      }
      out[i - from] = local[code]!;
    }
    return { codes: out, values };
  }

  clear(): void {
    this.#codes.clear();
    this.#values = [];
  }
}
