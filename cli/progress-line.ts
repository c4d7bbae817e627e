/** One line on a terminal that is written over; nothing where nobody watches. */
const INTERVAL_MS = 100;

export class ProgressLine {
  readonly #write: (text: string) => void;
  readonly #isTerminal: boolean;
  #shownAtMs = Number.NEGATIVE_INFINITY;
  #shown = false;

  constructor(options: { readonly write: (text: string) => void; readonly isTerminal: boolean }) {
    this.#write = options.write;
    this.#isTerminal = options.isTerminal;
  }

  show(text: string, nowMs = performance.now()): void {
    if (!this.#isTerminal || nowMs - this.#shownAtMs < INTERVAL_MS) return;
    this.#shownAtMs = nowMs;
    this.#shown = true;
    this.#write(`\r\u001b[K${text}`);
  }

  end(): void {
    if (this.#shown) this.#write("\r\u001b[K");
    this.#shown = false;
  }
}
