/**
 * What was found nowhere, for a short while: many ask for what is not there, and each would cost a query. A key is forgotten when it comes into being,
 * also while it is still being looked for: the look-up may have been too early.
 */

export class AbsentKeys {
  readonly #until = new Map<string, number>();
  readonly #soughtKeys = new Map<string, { came: boolean }>();
  readonly #limit: number;
  readonly #lifeMs: number;
  readonly #nowMs: () => number;

  constructor({ limit, lifeMs, nowMs }: { readonly limit: number; readonly lifeMs: number; readonly nowMs: () => number }) {
    this.#limit = limit;
    this.#lifeMs = lifeMs;
    this.#nowMs = nowMs;
  }

  has(key: string): boolean {
    const until = this.#until.get(key);
    if (until === undefined) return false;
    if (until > this.#nowMs()) return true;
    this.#until.delete(key);
    return false;
  }

  /** Runs the look-up and remembers the key when `isAbsent` says so of its result. One look-up of a key at a time. */
  async seek<T>(key: string, lookUp: () => Promise<T>, isAbsent: (found: T) => boolean): Promise<T> {
    const sought = { came: false };
    this.#soughtKeys.set(key, sought);
    try {
      const found = await lookUp();
      if (isAbsent(found) && !sought.came) this.#remember(key);
      return found;
    } finally {
      this.#soughtKeys.delete(key);
    }
  }

  came(key: string): void {
    this.#until.delete(key);
    const sought = this.#soughtKeys.get(key);
    if (sought !== undefined) sought.came = true;
  }

  /** Any key may have come. */
  clear(): void {
    this.#until.clear();
    for (const sought of this.#soughtKeys.values()) sought.came = true;
  }

  #remember(key: string): void {
    // A map keeps the order of insertion, and all live equally long: the first is the oldest.
    if (this.#until.size >= this.#limit) this.#until.delete(this.#until.keys().next().value!);
    this.#until.set(key, this.#nowMs() + this.#lifeMs);
  }
}
