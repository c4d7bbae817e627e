/** The usual way to write the fold's windows in JavaScript: JSON.parse, Map, an object per event and window. For comparison only. */
import { WINDOW_KINDS, type WindowColumns } from "#shared/events/columns.ts";

interface Aggregate {
  events: number;
  valueCount: number;
  sum: number;
  min: number;
  max: number;
  firstMs: number;
  lastMs: number;
}

export interface ClosedWindow {
  readonly kind: (typeof WINDOW_KINDS)[number];
  readonly userId: number;
  readonly startMs: number;
  readonly endMs: number;
  readonly aggregate: Aggregate;
}

interface ParsedEvent {
  readonly event_id: string;
  readonly event_time: string;
  readonly user_id: number;
  readonly properties: { readonly amount?: number };
}

const GAP_MS = 30_000;
const SIZES = [300_000, 3_600_000] as const;

export class ObjectFold {
  readonly #outOfOrdernessMs: number;
  readonly #seen = new Map<string, string>();
  /** By size, start, user. */
  readonly #windows = SIZES.map(() => new Map<number, Map<number, Aggregate>>());
  readonly #sessions = new Map<number, Aggregate[]>();
  /** Users whose session may end in a second. */
  readonly #timers = new Map<number, number[]>();
  #closed: ClosedWindow[] = [];
  #watermarkMs = -Infinity;
  #nextSecond = Infinity;

  constructor(outOfOrdernessMs: number) {
    this.#outOfOrdernessMs = outOfOrdernessMs;
  }

  apply(text: string): void {
    const event = JSON.parse(text) as ParsedEvent;
    if (this.#seen.has(event.event_id)) return;
    this.#seen.set(event.event_id, event.event_time);
    const timeMs = Date.parse(event.event_time);
    const value = event.properties.amount;
    for (const [i, size] of SIZES.entries()) {
      const startMs = Math.floor(timeMs / size) * size;
      let users = this.#windows[i]!.get(startMs);
      if (users === undefined) this.#windows[i]!.set(startMs, (users = new Map()));
      let aggregate = users.get(event.user_id);
      if (aggregate === undefined) users.set(event.user_id, (aggregate = empty()));
      absorb(aggregate, one(timeMs, value));
    }
    this.#session(event.user_id, timeMs, value);
    if (timeMs - this.#outOfOrdernessMs > this.#watermarkMs) {
      this.#watermarkMs = timeMs - this.#outOfOrdernessMs;
      this.#close();
    }
  }

  take(): ClosedWindow[] {
    const closed = this.#closed;
    this.#closed = [];
    return closed;
  }

  /** Closes what the last whole second left. */
  finish(): void {
    for (const userId of this.#sessions.keys()) this.#closeSessions(userId);
  }

  #session(userId: number, timeMs: number, value: number | undefined): void {
    const sessions = this.#sessions.get(userId) ?? [];
    const near = sessions.filter((s) => timeMs > s.firstMs - GAP_MS && timeMs < s.lastMs + GAP_MS);
    const session = near[0] ?? empty();
    for (const other of near.slice(1)) absorb(session, other);
    absorb(session, one(timeMs, value));
    this.#sessions.set(userId, [...sessions.filter((s) => !near.includes(s)), session]);
    if (near.length !== 1) this.#setTimer(userId, session.lastMs + GAP_MS);
  }

  #setTimer(userId: number, endMs: number): void {
    const second = Math.floor(endMs / 1000);
    const users = this.#timers.get(second);
    if (users === undefined) this.#timers.set(second, [userId]);
    else users.push(userId);
    this.#nextSecond = Math.min(this.#nextSecond, second);
  }

  #close(): void {
    while ((this.#nextSecond + 1) * 1000 <= this.#watermarkMs) {
      const users = this.#timers.get(this.#nextSecond) ?? [];
      this.#timers.delete(this.#nextSecond++);
      if (this.#timers.size === 0) this.#nextSecond = Infinity;
      for (const userId of new Set(users)) this.#closeSessions(userId);
    }
    for (const [i, size] of SIZES.entries()) {
      for (const [startMs, users] of this.#windows[i]!) {
        if (startMs + size > this.#watermarkMs) continue;
        const kind = WINDOW_KINDS[i]!;
        for (const [userId, aggregate] of users) this.#closed.push({ kind, userId, startMs, endMs: startMs + size, aggregate });
        this.#windows[i]!.delete(startMs);
      }
    }
  }

  #closeSessions(userId: number): void {
    const open: Aggregate[] = [];
    for (const session of this.#sessions.get(userId) ?? []) {
      const endMs = session.lastMs + GAP_MS;
      if (endMs <= this.#watermarkMs)
        this.#closed.push({ kind: "session_30s", userId, startMs: session.firstMs, endMs, aggregate: session });
      else {
        open.push(session);
        this.#setTimer(userId, endMs);
      }
    }
    if (open.length === 0) this.#sessions.delete(userId);
    else this.#sessions.set(userId, open);
  }
}

function empty(): Aggregate {
  return { events: 0, valueCount: 0, sum: 0, min: Infinity, max: -Infinity, firstMs: Infinity, lastMs: -Infinity };
}

function one(timeMs: number, value: number | undefined): Aggregate {
  const valueCount = value === undefined ? 0 : 1;
  return { events: 1, valueCount, sum: value ?? 0, min: value ?? Infinity, max: value ?? -Infinity, firstMs: timeMs, lastMs: timeMs };
}

function absorb(into: Aggregate, part: Aggregate): void {
  into.events += part.events;
  into.valueCount += part.valueCount;
  into.sum += part.sum;
  into.min = Math.min(into.min, part.min);
  into.max = Math.max(into.max, part.max);
  into.firstMs = Math.min(into.firstMs, part.firstMs);
  into.lastMs = Math.max(into.lastMs, part.lastMs);
}

/** Of a multiset of closed windows: the two sides emit in different order. */
export class WindowDigest {
  readonly #sums = WINDOW_KINDS.map(() => 0);
  readonly #rows = WINDOW_KINDS.map(() => 0);

  addColumns(columns: WindowColumns): number {
    for (let i = 0; i < columns.rows; i++) {
      this.add(
        columns.kind[i]!,
        columns.userId[i * 2]!,
        columns.windowStartMs[i]!,
        columns.windowEndMs[i]!,
        columns.events[i]!,
        columns.valueCount[i]!,
        columns.valueSum[i]!,
        columns.firstEventMs[i]!,
        columns.lastEventMs[i]!,
      );
    }
    return columns.rows;
  }

  addClosed(windows: readonly ClosedWindow[]): void {
    for (const { kind, userId, startMs, endMs, aggregate: a } of windows) {
      this.add(WINDOW_KINDS.indexOf(kind), userId, startMs, endMs, a.events, a.valueCount, a.sum, a.firstMs, a.lastMs);
    }
  }

  add(kind: number, ...words: readonly number[]): void {
    let hash = kind + 1;
    for (const word of words) {
      const quarter = word * 4;
      hash = Math.imul(hash ^ (quarter % 4294967296), 0x9e3779b1) ^ (hash >>> 15);
      hash = Math.imul(hash ^ Math.floor(quarter / 4294967296), 0x85ebca6b) ^ (hash >>> 13);
    }
    this.#sums[kind] = (this.#sums[kind]! + (hash >>> 0)) % 4294967296;
    this.#rows[kind]!++;
  }

  text(): string {
    const known = WINDOW_KINDS.map((kind, i) => `${kind} ${this.#rows[i]!} ${this.#sums[i]!.toString(16)}`);
    return known.filter((_, i) => !WINDOW_KINDS[i]!.startsWith("hopping")).join(", ");
  }
}
