/** Clean rows as live values of users and sessions. Nothing is made per row: an object per user and session, a text per session. */
import { decodeClean } from "#shared/events/block.ts";
import type { CleanColumns } from "#shared/events/columns.ts";
import { ACTIVITY_TTL_SECONDS, activityKey, LIVE_WINDOW_MS, SESSION_TTL_SECONDS, sessionKey } from "#shared/read/hot-keys.ts";
import { type HotBatch, type HotValue, ttlSeconds, userIdentity } from "./hot-batch.ts";

/** As of the newest event by event time; of two at the same time, the one of higher rank. */
class NewestEvent {
  user: number | string;
  loggedMs = 0;
  timeMs = -Infinity;
  type = "";
  sessionStartMs = 0;
  sessionEvents = 0;

  constructor(user: number | string) {
    this.user = user;
  }

  /** Returns whether the row is the newest now. */
  see(columns: CleanColumns, row: number, user: number | string, loggedMs: number): boolean {
    this.loggedMs = loggedMs;
    const timeMs = columns.eventTimeMs[row]!;
    const events = columns.sessionEvents[row]!;
    if (timeMs < this.timeMs || (timeMs === this.timeMs && events < this.sessionEvents)) return false;
    this.user = user;
    this.timeMs = timeMs;
    this.type = columns.eventType.values[columns.eventType.codes[row]!] ?? "";
    this.sessionStartMs = columns.sessionStartMs[row]!;
    this.sessionEvents = events;
    return true;
  }
}

class NamedSession extends NewestEvent {
  readonly id: string;
  /** The name as it was first seen: rows of the same session, most of them, need no text. */
  readonly bytes: Uint8Array;

  constructor(id: string, bytes: Uint8Array, user: number | string) {
    super(user);
    this.id = id;
    this.bytes = bytes;
  }
}

class Activity extends NewestEvent {
  windowStartMs = -Infinity;
  windowEvents = 0;
  /** Of the newest event; null = it names none. */
  session: NamedSession | null = null;

  seeWindow(columns: CleanColumns, row: number): void {
    const startMs = Math.floor(columns.eventTimeMs[row]! / LIVE_WINDOW_MS) * LIVE_WINDOW_MS;
    const events = columns.windowEvents[row]!;
    if (startMs < this.windowStartMs || (startMs === this.windowStartMs && events < this.windowEvents)) return;
    this.windowStartMs = startMs;
    this.windowEvents = events;
  }
}

export class ActivityBatch implements HotBatch {
  readonly #lane: string;
  readonly #users = new Map<number | string, Activity>();
  readonly #sessions = new Map<string, NamedSession>();

  constructor(lane: string) {
    this.#lane = lane;
  }

  get size(): number {
    return this.#users.size + this.#sessions.size;
  }

  add(value: Uint8Array, loggedMs: number): void {
    const columns = decodeClean(value);
    for (let row = 0; row < columns.rows; row++) {
      const user = userIdentity(columns.userId, row);
      let activity = this.#users.get(user);
      if (activity === undefined) this.#users.set(user, (activity = new Activity(user)));
      const session = this.#sessionAt(columns, row, activity);
      activity.seeWindow(columns, row);
      if (activity.see(columns, row, user, loggedMs)) activity.session = session;
      session?.see(columns, row, user, loggedMs);
    }
  }

  #sessionAt({ sessionId: { bytes, offsets } }: CleanColumns, row: number, { session: last, user }: Activity): NamedSession | null {
    const from = offsets[row]!;
    const to = offsets[row + 1]!;
    if (from === to) return null;
    if (last !== null && isSame(last.bytes, bytes, from, to)) return last;
    const id = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8", from, to);
    let session = this.#sessions.get(id);
    if (session === undefined) this.#sessions.set(id, (session = new NamedSession(id, bytes.slice(from, to), user)));
    return session;
  }

  values(nowMs: number): HotValue[] {
    const values: HotValue[] = [];
    for (const { id, user, loggedMs, timeMs, type, sessionStartMs, sessionEvents } of this.#sessions.values()) {
      const ttl = ttlSeconds(SESSION_TTL_SECONDS, loggedMs, nowMs);
      if (ttl > 0) values.push(["session", sessionKey(this.#lane, id), ttl, user, timeMs, type, sessionStartMs, sessionEvents]);
    }
    for (const activity of this.#users.values()) {
      const { user, loggedMs, timeMs, type, windowStartMs, windowEvents, sessionStartMs, sessionEvents, session } = activity;
      const ttl = ttlSeconds(ACTIVITY_TTL_SECONDS, loggedMs, nowMs);
      if (ttl <= 0) continue;
      const last = [timeMs, type, windowStartMs, windowEvents, sessionStartMs, sessionEvents, session?.id ?? ""];
      values.push(["activity", activityKey(this.#lane, String(user)), ttl, ...last]);
    }
    return values;
  }
}

function isSame(name: Uint8Array, bytes: Uint8Array, from: number, to: number): boolean {
  if (to - from !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (name[i] !== bytes[from + i]) return false;
  return true;
}
