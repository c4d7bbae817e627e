/** The same five queries by Map and plain objects, as one would write them: the oracle, and the reference for the time. */
import { KIND, type NexmarkBatch } from "./nexmark-events.ts";
import { HOP_MS, type NexmarkQuery, NEXMARK_GAP_MS, type QueryName, ResultDigest, WINDOW_MS } from "./nexmark-queries.ts";

interface Event {
  readonly kind: number;
  readonly timeMs: number;
  readonly auction: number;
  readonly person: number;
  readonly price: number;
}

abstract class ObjectQuery implements NexmarkQuery {
  readonly digest = new ResultDigest();

  add(batch: NexmarkBatch): void {
    for (let row = 0; row < batch.rows; row++) {
      const event = {
        kind: batch.kind[row]!,
        timeMs: batch.timeMs[row]!,
        auction: batch.auction[row]!,
        person: batch.person[row]!,
        price: batch.price[row]!,
      };
      this.apply(event);
    }
  }

  abstract apply(event: Event): void;

  abstract finish(): void;
}

const startOf = (timeMs: number, sizeMs: number): number => Math.floor(timeMs / sizeMs) * sizeMs;

/** Windows of one size, in order of time, closed when an event is behind them. */
class Windowed<T> {
  readonly #open = new Map<number, T>();
  readonly #create: () => T;
  readonly #close: (startMs: number, window: T) => void;

  constructor(create: () => T, close: (startMs: number, window: T) => void) {
    this.#create = create;
    this.#close = close;
  }

  at(startMs: number): T {
    let window = this.#open.get(startMs);
    if (window === undefined) this.#open.set(startMs, (window = this.#create()));
    return window;
  }

  closeUntil(watermarkMs: number, sizeMs: number): void {
    for (const [startMs, window] of this.#open) {
      if (startMs + sizeMs > watermarkMs) continue;
      this.#close(startMs, window);
      this.#open.delete(startMs);
    }
  }
}

class Q5 extends ObjectQuery {
  readonly #windows = new Windowed<Map<number, number>>(
    () => new Map(),
    (startMs, counts) => {
      let most = 0;
      for (const count of counts.values()) most = Math.max(most, count);
      for (const [auction, count] of counts) if (count === most) this.digest.add(startMs, auction, count);
    },
  );

  apply({ kind, timeMs, auction }: Event): void {
    if (kind !== KIND.bid) return;
    this.#windows.closeUntil(timeMs, WINDOW_MS);
    for (let startMs = startOf(timeMs, HOP_MS); startMs > timeMs - WINDOW_MS; startMs -= HOP_MS) {
      const counts = this.#windows.at(startMs);
      counts.set(auction, (counts.get(auction) ?? 0) + 1);
    }
  }

  finish(): void {
    this.#windows.closeUntil(Infinity, WINDOW_MS);
  }
}

class Q7 extends ObjectQuery {
  readonly #windows = new Windowed<{ best: Event | null }>(
    () => ({ best: null }),
    (startMs, { best }) => this.digest.add(startMs, best!.price, best!.auction, best!.person),
  );

  apply(event: Event): void {
    if (event.kind !== KIND.bid) return;
    this.#windows.closeUntil(event.timeMs, WINDOW_MS);
    const window = this.#windows.at(startOf(event.timeMs, WINDOW_MS));
    if (window.best === null || event.price > window.best.price) window.best = event;
  }

  finish(): void {
    this.#windows.closeUntil(Infinity, WINDOW_MS);
  }
}

class Q8 extends ObjectQuery {
  readonly #windows = new Windowed<{ readonly people: Set<number>; readonly sellers: Set<number> }>(
    () => ({ people: new Set(), sellers: new Set() }),
    (startMs, { people, sellers }) => {
      for (const person of people) if (sellers.has(person)) this.digest.add(startMs, person, 1);
    },
  );

  apply({ kind, timeMs, person }: Event): void {
    if (kind === KIND.bid) return;
    this.#windows.closeUntil(timeMs, WINDOW_MS);
    const { people, sellers } = this.#windows.at(startOf(timeMs, WINDOW_MS));
    (kind === KIND.person ? people : sellers).add(person);
  }

  finish(): void {
    this.#windows.closeUntil(Infinity, WINDOW_MS);
  }
}

class Q11 extends ObjectQuery {
  readonly #sessions = new Map<number, { firstMs: number; lastMs: number; bids: number }>();

  apply({ kind, timeMs, person }: Event): void {
    if (kind !== KIND.bid) return;
    const session = this.#sessions.get(person);
    if (session !== undefined && timeMs - session.lastMs < NEXMARK_GAP_MS) {
      session.lastMs = timeMs;
      session.bids += 1;
      return;
    }
    if (session !== undefined) this.#emit(person, session);
    this.#sessions.set(person, { firstMs: timeMs, lastMs: timeMs, bids: 1 });
  }

  finish(): void {
    for (const [bidder, session] of this.#sessions) this.#emit(bidder, session);
  }

  #emit(bidder: number, { firstMs, lastMs, bids }: { firstMs: number; lastMs: number; bids: number }): void {
    this.digest.add(firstMs, bidder, bids, lastMs % 1e9);
  }
}

class Q12 extends ObjectQuery {
  readonly #windows = new Windowed<Map<number, number>>(
    () => new Map(),
    (startMs, counts) => {
      for (const [bidder, bids] of counts) this.digest.add(startMs, bidder, bids);
    },
  );

  apply({ kind, timeMs, person }: Event): void {
    if (kind !== KIND.bid) return;
    this.#windows.closeUntil(timeMs, WINDOW_MS);
    const counts = this.#windows.at(startOf(timeMs, WINDOW_MS));
    counts.set(person, (counts.get(person) ?? 0) + 1);
  }

  finish(): void {
    this.#windows.closeUntil(Infinity, WINDOW_MS);
  }
}

export const REFERENCES: Readonly<Record<QueryName, () => NexmarkQuery>> = {
  q5: () => new Q5(),
  q7: () => new Q7(),
  q8: () => new Q8(),
  q11: () => new Q11(),
  q12: () => new Q12(),
};
