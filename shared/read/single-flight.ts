/** Callers who want the same at the same time share one question. */
import { TransientError } from "../kernel/errors.ts";

export class SingleFlight {
  readonly #flights = new Map<string, Promise<unknown>>();
  readonly #limit: number;

  /** `limit`: different questions under way at a time; more are refused, so that a stampede of misses cannot pile up. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Equal keys must stand for equal questions. @throws TransientError READ_BUSY */
  async ask<T>(key: string, question: () => Promise<T>): Promise<T> {
    const known = this.#flights.get(key);
    if (known !== undefined) return known as Promise<T>;
    if (this.#flights.size >= this.#limit) {
      throw new TransientError(`${this.#limit} look-ups are under way already`, { code: "READ_BUSY", hint: "ask again in a moment" });
    }
    const flight = question().finally(() => this.#flights.delete(key));
    this.#flights.set(key, flight);
    return flight;
  }
}
