/**
 * Cuts of events.clean: the rows that a sink inserts as one block. Cut k takes clean rows until it has cutRows, or until a record arrives
 * cutMs of log time after the record of its first row; then it ends before that record's rows. Only the log decides, never an epoch.
 */
export interface CutSegment {
  readonly cut: number;
  /** Waiting rows from..to of the clean output; none when the rows of an ended cut have been taken before. */
  readonly from: number;
  readonly to: number;
  readonly ends: boolean;
}

export class Cuts {
  readonly #cutRows: number;
  readonly #cutMs: number;
  /** Number of the open cut; the first is 1. */
  number = 1;
  rows = 0;
  /** Log time of the open cut's first row. */
  firstLogMs = 0;
  #segments: CutSegment[] = [];
  /** First waiting row of the open cut. */
  #from = 0;

  constructor(cutRows: number, cutMs: number) {
    this.#cutRows = cutRows;
    this.#cutMs = cutMs;
  }

  get hasEnded(): boolean {
    return this.#segments.length > 0;
  }

  /** A record arrives. `waiting` is the number of clean rows that wait for output. */
  arrive(logTimeMs: number, waiting: number): void {
    if (this.rows > 0 && logTimeMs >= this.firstLogMs + this.#cutMs) this.#end(waiting);
  }

  /** Rows were added: `waiting - added` .. `waiting` wait for output. */
  add(added: number, waiting: number, logTimeMs: number): void {
    let row = waiting - added;
    while (row < waiting) {
      if (this.rows === 0) this.firstLogMs = logTimeMs;
      const taken = Math.min(waiting - row, this.#cutRows - this.rows);
      this.rows += taken;
      row += taken;
      if (this.rows === this.#cutRows) this.#end(row);
    }
  }

  #end(to: number): void {
    this.#segments.push({ cut: this.number, from: this.#from, to, ends: true });
    this.#from = to;
    this.number++;
    this.rows = 0;
  }

  /** What waits, in order, the open cut's part last. Starts the count of waiting rows again from 0. */
  take(waiting: number): CutSegment[] {
    const segments = this.#segments;
    if (waiting > this.#from) segments.push({ cut: this.number, from: this.#from, to: waiting, ends: false });
    this.#segments = [];
    this.#from = 0;
    return segments;
  }
}
