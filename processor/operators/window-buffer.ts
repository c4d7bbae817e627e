/** Closed windows that wait for the end of the epoch, as columns. */
import type { WindowColumns } from "#shared/events/columns.ts";
import type { RollingHash } from "./rolling-hash.ts";
import { widen } from "./widen.ts";

/** Bytes of a row in an Arrow batch, bitmaps of the two nullable columns included. */
const ROW_BYTES = 74;

export class WindowBuffer {
  readonly #hash: RollingHash;
  readonly #role: number;
  #rows = 0;
  #kind = new Uint8Array(0);
  #userId = new Int32Array(0);
  #events = new Uint32Array(0);
  #valueCount = new Uint32Array(0);
  /** Of a row between {@link open} and {@link seal}, for the caller to write: a double that is passed to a function is an object. */
  startMs = new Float64Array(0);
  endMs = new Float64Array(0);
  /** Of the values; `min` and `max` count only when there are any. */
  sum = new Float64Array(0);
  min = new Float64Array(0);
  max = new Float64Array(0);
  firstMs = new Float64Array(0);
  lastMs = new Float64Array(0);
  /** The doubles that go into the hash, as words. */
  #startWords = new Int32Array(0);
  #endWords = new Int32Array(0);
  #sumWords = new Int32Array(0);

  constructor(hash: RollingHash, role: number) {
    this.#hash = hash;
    this.#role = role;
  }

  get rows(): number {
    return this.#rows;
  }

  /** Appends a closed window and returns its row. The caller writes times and values, then calls {@link seal}. */
  open(kind: number, low: number, high: number, events: number, valueCount: number): number {
    const row = this.#rows;
    if (row === this.#kind.length) this.#resize();
    this.#kind[row] = kind;
    this.#userId[row * 2] = low;
    this.#userId[row * 2 + 1] = high;
    this.#events[row] = events;
    this.#valueCount[row] = valueCount;
    this.#rows = row + 1;
    return row;
  }

  /** Chains the row into the hash. */
  seal(row: number): void {
    const kind = this.#kind[row]!;
    const low = this.#userId[row * 2]!;
    const high = this.#userId[row * 2 + 1]!;
    const events = this.#events[row]!;
    const valueCount = this.#valueCount[row]!;
    if (valueCount === 0) {
      this.min[row] = Number.NaN;
      this.max[row] = Number.NaN;
    }
    const start = this.#startWords;
    const end = this.#endWords;
    const sum = this.sum[row]!;
    // Bits of NaN differ between machines and compilers.
    const sumLow = sum === sum ? this.#sumWords[row * 2]! : 0;
    const sumHigh = sum === sum ? this.#sumWords[row * 2 + 1]! : 0;
    const w0 = low ^ Math.imul(kind + 1, 0x9e3779b1);
    const w1 = start[row * 2]! ^ end[row * 2 + 1]!;
    const w2 = start[row * 2 + 1]! ^ end[row * 2]!;
    this.#hash.add(
      this.#role,
      Math.imul(w0, 0x85ebca77) + Math.imul(w1, 0xc2b2ae3d) + Math.imul(w2, 0x27d4eb2f) + Math.imul(high, 0x165667b1) + sumHigh,
      Math.imul(events, 0xd6e8feb9) +
        Math.imul(valueCount, 0xa2b4c5d7) +
        Math.imul(sumLow, 0x94d049bb) +
        Math.imul(sumHigh, 0xbf58476d) +
        (w0 ^ w1),
    );
  }

  /** First row behind `from` that no longer fits in a record of `maxBytes`; at least one row fits. */
  fit(from: number, to: number, maxBytes: number): number {
    return Math.min(to, from + Math.max(1, Math.floor(maxBytes / ROW_BYTES)));
  }

  /** Views, valid until the next row or clear. */
  columns(from: number, to: number): WindowColumns {
    return {
      rows: to - from,
      kind: this.#kind.subarray(from, to),
      userId: new Uint32Array(this.#userId.buffer, from * 8, (to - from) * 2),
      windowStartMs: this.startMs.subarray(from, to),
      windowEndMs: this.endMs.subarray(from, to),
      events: this.#events.subarray(from, to),
      valueCount: this.#valueCount.subarray(from, to),
      valueSum: this.sum.subarray(from, to),
      valueMin: this.min.subarray(from, to),
      valueMax: this.max.subarray(from, to),
      firstEventMs: this.firstMs.subarray(from, to),
      lastEventMs: this.lastMs.subarray(from, to),
    };
  }

  clear(): void {
    this.#rows = 0;
  }

  #resize(): void {
    const wider = Math.max(256, this.#kind.length * 2);
    this.#kind = widen(this.#kind, new Uint8Array(wider));
    this.#userId = widen(this.#userId, new Int32Array(wider * 2));
    this.#events = widen(this.#events, new Uint32Array(wider));
    this.#valueCount = widen(this.#valueCount, new Uint32Array(wider));
    this.startMs = widen(this.startMs, new Float64Array(wider));
    this.endMs = widen(this.endMs, new Float64Array(wider));
    this.sum = widen(this.sum, new Float64Array(wider));
    this.min = widen(this.min, new Float64Array(wider));
    this.max = widen(this.max, new Float64Array(wider));
    this.firstMs = widen(this.firstMs, new Float64Array(wider));
    this.lastMs = widen(this.lastMs, new Float64Array(wider));
    this.#startWords = new Int32Array(this.startMs.buffer);
    this.#endWords = new Int32Array(this.endMs.buffer);
    this.#sumWords = new Int32Array(this.sum.buffer);
  }
}
