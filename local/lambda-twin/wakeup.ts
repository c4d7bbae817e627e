/** Lets loops of one object sleep until one of them, or a caller, has news. A wake between a loop's look and its wait is not lost. */
export class Wakeup {
  #waiting: (() => void)[] = [];
  #wakes = 0;

  /** Take it before looking for work. */
  get ticket(): number {
    return this.#wakes;
  }

  wake(): void {
    this.#wakes++;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Returns at once when there was a wake after the ticket. */
  async since(ticket: number): Promise<void> {
    if (this.#wakes !== ticket) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
