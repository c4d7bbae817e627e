/**
 * When a quiet partition gets a tick: the log has to say that time passed, or its last windows would never close. Pure, apart from being told
 * the time. While nothing but ticks comes, they grow rarer, for the last window may stay open for an hour; but what is due is closed at once.
 */
const INTERVAL_MS_MAX = 2_000;

export class IdleTick {
  readonly #intervalMsMin: number;
  #intervalMs: number;
  #quietSinceMs: number;

  constructor(options: { readonly idleTickMs: number; readonly nowMs: number }) {
    this.#intervalMsMin = options.idleTickMs;
    this.#intervalMs = options.idleTickMs;
    this.#quietSinceMs = options.nowMs;
  }

  /** Input came: the partition is not idle. */
  sawInput(nowMs: number): void {
    this.#intervalMs = this.#intervalMsMin;
    this.#quietSinceMs = nowMs;
  }

  /** A tick was appended, or could not be now. */
  ticked(nowMs: number): void {
    this.#intervalMs = Math.min(Math.max(INTERVAL_MS_MAX, this.#intervalMsMin), this.#intervalMs * 2);
    this.#quietSinceMs = nowMs;
  }

  /** `nextDueMs`: from when on a tick closes something. */
  isDue(nowMs: number, nextDueMs = Infinity): boolean {
    const quietMs = nowMs - this.#quietSinceMs;
    return quietMs >= this.#intervalMs || (nowMs >= nextDueMs && quietMs >= this.#intervalMsMin);
  }
}
