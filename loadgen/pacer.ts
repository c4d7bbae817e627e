/**
 * Open-loop pacing: how many events are due is a function of time alone, so that a slow pipeline does not slow its own measurement. A debt
 * beyond `debtMsMax` (a broker outage) is forgotten instead of being sent as a flood.
 */
export class Pacer {
  readonly #perMs: number;
  readonly #debtMsMax: number;
  #startMs: number;
  #sent = 0;
  #forgotten = 0;

  constructor(options: { readonly ratePerSecond: number; readonly startMs: number; readonly debtMsMax?: number }) {
    this.#perMs = options.ratePerSecond / 1_000;
    this.#startMs = options.startMs;
    this.#debtMsMax = options.debtMsMax ?? 5_000;
  }

  /** Events that the schedule asked for and that were never sent. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** `nowMs` by any monotonic clock. The caller sends that many now. */
  take(nowMs: number, most: number): number {
    const due = Math.floor((nowMs - this.#startMs) * this.#perMs) - this.#sent;
    const tooMany = due - Math.ceil(this.#debtMsMax * this.#perMs);
    if (tooMany > 0) {
      this.#startMs += tooMany / this.#perMs;
      this.#forgotten += tooMany;
    }
    const count = Math.max(0, Math.min(due - Math.max(0, tooMany), most));
    this.#sent += count;
    return count;
  }
}
