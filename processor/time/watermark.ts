/** The promise that no event with a time at or before it is still expected: largest event time seen minus the bound, never back. */
export class Watermark {
  readonly #outOfOrdernessMs: number;
  #timeMs = -Infinity;

  constructor(outOfOrdernessMs: number) {
    this.#outOfOrdernessMs = outOfOrdernessMs;
  }

  /** -Infinity before the first event. */
  get timeMs(): number {
    return this.#timeMs;
  }

  /** What it will be after an event at that time. */
  after(eventTimeMs: number): number {
    return Math.max(this.#timeMs, eventTimeMs - this.#outOfOrdernessMs);
  }

  observe(eventTimeMs: number): void {
    const timeMs = eventTimeMs - this.#outOfOrdernessMs;
    if (timeMs > this.#timeMs) this.#timeMs = timeMs;
  }

  /** For what is no event: ticks, drain, restore. */
  raise(timeMs: number): void {
    if (timeMs > this.#timeMs) this.#timeMs = timeMs;
  }
}
