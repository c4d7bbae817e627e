/**
 * The rows of one output partition against those of the table that a sink makes of them, by their gap-free number: which are missing, which are
 * there without cause, which say something else. In ranges of numbers, so that memory is bounded.
 */
import { assert } from "#shared/kernel/assert.ts";

const EXAMPLES = 10;
const EXPECTED = 1;
const FOUND = 2;

export interface StoreResult {
  readonly rows: number;
  readonly missing: number;
  readonly extra: number;
  readonly altered: number;
  /** Numbers of the first rows of each kind. */
  readonly examples: { readonly missing: readonly number[]; readonly extra: readonly number[]; readonly altered: readonly number[] };
}

export class StoreRecount {
  readonly size: number;
  readonly #width: number;
  readonly #marks: Uint8Array;
  readonly #facts: Float64Array;
  readonly #counts = { rows: 0, missing: 0, extra: 0, altered: 0 };
  readonly #examples = { missing: [] as number[], extra: [] as number[], altered: [] as number[] };
  #first = 0;

  /** `width`: numbers that a row is compared by. */
  constructor(width: number, size = 131_072) {
    this.#width = width;
    this.size = size;
    this.#marks = new Uint8Array(size);
    this.#facts = new Float64Array(size * width);
  }

  begin(first: number): void {
    this.#first = first;
    this.#marks.fill(0);
  }

  /** A row of the topic. */
  expect(oseq: number, facts: Float64Array): void {
    const i = this.#at(oseq);
    this.#counts.rows++;
    this.#marks[i] = EXPECTED;
    this.#facts.set(facts, i * this.#width);
  }

  /** A row of the table, after those of the topic in this range. */
  find(oseq: number, facts: Float64Array): void {
    const i = this.#at(oseq);
    const mark = this.#marks[i]!;
    this.#marks[i] = mark | FOUND;
    if (mark !== EXPECTED) this.#note("extra", oseq);
    else if (facts.some((fact, at) => !Object.is(fact, this.#facts[i * this.#width + at]))) this.#note("altered", oseq);
  }

  finishRange(): void {
    for (let i = 0; i < this.size; i++) if (this.#marks[i] === EXPECTED) this.#note("missing", this.#first + i);
  }

  result(): StoreResult {
    return { ...this.#counts, examples: this.#examples };
  }

  #at(oseq: number): number {
    const i = oseq - this.#first;
    assert(i >= 0 && i < this.size, "the row is of this range");
    return i;
  }

  #note(kind: "missing" | "extra" | "altered", oseq: number): void {
    if (this.#counts[kind]++ < EXAMPLES) this.#examples[kind].push(oseq);
  }
}
