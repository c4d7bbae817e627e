/**
 * Lag in time from lag in offsets: when did the log's end pass the committed position? Between two looks at the end a straight line is assumed
 * (as kafka-lag-exporter does). Unlike the age of the last committed record this is 0 at the end of the log and does not jump when a quiet
 * partition gets an event. Pure.
 */
interface Look {
  readonly end: number;
  readonly atMs: number;
}

/** Looks of the last hour or so at one a second; older ones thin out by half. */
const LOOKS_MAX = 512;
const APART_MS = 250;

export class TimeLag {
  #looks: Look[] = [];

  saw(end: number, atMs: number): void {
    const last = this.#looks.at(-1);
    const beforeLast = this.#looks.at(-2);
    // Of an end that stands still only first and last look matter; of one that moves, a few a second.
    if (last !== undefined && beforeLast !== undefined && (last.end === end ? beforeLast.end === end : atMs - beforeLast.atMs < APART_MS)) {
      this.#looks[this.#looks.length - 1] = { end, atMs };
    } else this.#looks.push({ end, atMs });
    if (this.#looks.length > LOOKS_MAX) this.#looks = this.#looks.filter((_, i) => i % 2 === 0 || i > LOOKS_MAX / 2);
  }

  /** `position`: next offset to be committed. Never below 0. */
  lagMs(position: number, nowMs: number): number {
    const passed = this.#looks.findIndex(({ end }) => end > position);
    if (passed === -1) return 0;
    const after = this.#looks[passed]!;
    const before = this.#looks[passed - 1];
    // Behind the first look: at least since then.
    if (before === undefined) return Math.max(0, nowMs - after.atMs);
    const share = (position - before.end) / (after.end - before.end);
    return Math.max(0, nowMs - (before.atMs + share * (after.atMs - before.atMs)));
  }

  /** Before this nothing will be asked. */
  forget(position: number): void {
    const passed = this.#looks.findIndex(({ end }) => end > position);
    const from = passed === -1 ? this.#looks.length - 1 : passed - 1;
    if (from > 0) this.#looks = this.#looks.slice(from);
  }
}
