/** A store that may be down: each question has its time, and after one that failed the store is left alone for a moment instead of making everyone wait. */
import { setTimeout as pause } from "node:timers/promises";
import { type OperatingError, toError, TransientError, UnavailableError, UnknownOutcomeError } from "../kernel/errors.ts";

export type Asked<T> = { readonly ok: true; readonly found: T } | { readonly ok: false; readonly note: string; readonly error: Error };

export interface StoreGuardOptions {
  readonly name: string;
  readonly timeoutMs: number;
  /** How long it is left alone. */
  readonly restMs: number;
  readonly nowMs: () => number;
}

export class StoreGuard {
  readonly #options: StoreGuardOptions;
  #restsUntilMs = 0;
  #lastError = new Error("not asked yet");

  constructor(options: StoreGuardOptions) {
    this.#options = options;
  }

  /** Throws only what is not an outage: a question that the store refuses, a bug. */
  async ask<T>(question: () => Promise<T>): Promise<Asked<T>> {
    const { nowMs, restMs } = this.#options;
    if (nowMs() < this.#restsUntilMs) return this.#down(this.#lastError);
    try {
      return { ok: true, found: await this.#inTime(question()) };
    } catch (thrown) {
      const error = toError(thrown);
      const isOutage = error instanceof TransientError || error instanceof UnavailableError || error instanceof UnknownOutcomeError;
      if (!isOutage) throw error;
      this.#restsUntilMs = nowMs() + restMs;
      this.#lastError = error;
      return this.#down(error);
    }
  }

  #down(error: Error): Asked<never> {
    return { ok: false, note: `${this.#options.name} is down: ${error.message}`, error };
  }

  async #inTime<T>(answer: Promise<T>): Promise<T> {
    const { name, timeoutMs } = this.#options;
    const inTime = new AbortController();
    const late = pause(timeoutMs, undefined, { signal: inTime.signal, ref: false }).then(() => {
      throw new UnavailableError(`no answer within ${timeoutMs} ms`, { code: "READ_TIMEOUT", hint: `see whether ${name} is overloaded` });
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      inTime.abort();
      late.catch(() => undefined);
      answer.catch(() => undefined);
    }
  }
}

/** No store could answer. */
export function nobodyAnswers(what: string, notes: readonly string[], cause: Error): OperatingError {
  return new UnavailableError(`${what} cannot be looked up: ${notes.join("; ")}`, {
    code: "READ_UNAVAILABLE",
    hint: "weir status shows which store is down",
    cause,
  });
}
