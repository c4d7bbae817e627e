/** The rows of one range of offsets, by their place in it: what the topic says, to compare the table and the raw record with. Typed arrays, used again. */

/** What a row says besides its position and id, in both the topic and the table. Numbers, so that nothing is made per row. */
export interface RowFacts {
  logTimeMs: number;
  eventTimeMs: number;
  userLow: number;
  userHigh: number;
  /** NaN = none. */
  value: number;
  oseq: number;
}

export class RangeRows {
  readonly #ids: Uint8Array;
  /** Log time, event time, value, oseq. */
  readonly #numbers: Float64Array;
  readonly #users: Uint32Array;

  constructor(size: number) {
    this.#ids = new Uint8Array(16 * size);
    this.#numbers = new Float64Array(4 * size);
    this.#users = new Uint32Array(2 * size);
  }

  keepId(i: number, ids: Uint8Array, at: number): void {
    this.#ids.set(ids.subarray(at, at + 16), 16 * i);
  }

  keep(i: number, ids: Uint8Array, at: number, facts: RowFacts): void {
    this.keepId(i, ids, at);
    this.#numbers[4 * i] = facts.logTimeMs;
    this.#numbers[4 * i + 1] = facts.eventTimeMs;
    this.#numbers[4 * i + 2] = facts.value;
    this.#numbers[4 * i + 3] = facts.oseq;
    this.#users[2 * i] = facts.userLow;
    this.#users[2 * i + 1] = facts.userHigh;
  }

  hasId(i: number, ids: Uint8Array, at: number): boolean {
    for (let byte = 0; byte < 16; byte++) if (this.#ids[16 * i + byte] !== ids[at + byte]) return false;
    return true;
  }

  equals(i: number, ids: Uint8Array, at: number, facts: RowFacts): boolean {
    const value = this.#numbers[4 * i + 2]!;
    return (
      this.hasId(i, ids, at) &&
      this.#numbers[4 * i] === facts.logTimeMs &&
      this.#numbers[4 * i + 1] === facts.eventTimeMs &&
      (value === facts.value || (Number.isNaN(value) && Number.isNaN(facts.value))) &&
      this.#numbers[4 * i + 3] === facts.oseq &&
      this.#users[2 * i] === facts.userLow &&
      this.#users[2 * i + 1] === facts.userHigh
    );
  }
}
