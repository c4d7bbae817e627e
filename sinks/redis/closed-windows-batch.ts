/** Closed windows as final values: of each user the newest 5-minute window and the newest session. */
import { decodeWindows } from "#shared/events/block.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import { ACTIVITY_TTL_SECONDS, activityKey, SESSION_TTL_SECONDS, sessionKey } from "#shared/read/hot-keys.ts";
import { type HotBatch, type HotValue, ttlSeconds, userIdentity } from "./hot-batch.ts";

const TUMBLING = WINDOW_KINDS.indexOf("tumbling_5m");
const SESSION = WINDOW_KINDS.indexOf("session_30s");

interface ClosedWindow {
  readonly loggedMs: number;
  readonly startMs: number;
  readonly lastEventMs: number;
  readonly events: number;
  readonly valueSum: number;
}

export class ClosedWindowsBatch implements HotBatch {
  readonly #lane: string;
  readonly #windows = new Map<number | string, ClosedWindow>();
  readonly #sessions = new Map<number | string, ClosedWindow>();

  constructor(lane: string) {
    this.#lane = lane;
  }

  get size(): number {
    return this.#windows.size + this.#sessions.size;
  }

  add(value: Uint8Array, loggedMs: number): void {
    const columns = decodeWindows(value);
    for (let row = 0; row < columns.rows; row++) {
      const kind = columns.kind[row]!;
      if (kind !== TUMBLING && kind !== SESSION) continue;
      const newest = kind === TUMBLING ? this.#windows : this.#sessions;
      const user = userIdentity(columns.userId, row);
      const startMs = columns.windowStartMs[row]!;
      if (startMs < (newest.get(user)?.startMs ?? -Infinity)) continue;
      const lastEventMs = columns.lastEventMs[row]!;
      newest.set(user, { loggedMs, startMs, lastEventMs, events: columns.events[row]!, valueSum: columns.valueSum[row]! });
    }
  }

  values(nowMs: number): HotValue[] {
    const values: HotValue[] = [];
    for (const [user, { loggedMs, startMs, events, valueSum }] of this.#windows) {
      const ttl = ttlSeconds(ACTIVITY_TTL_SECONDS, loggedMs, nowMs);
      if (ttl > 0) values.push(["closed-window", activityKey(this.#lane, String(user)), ttl, startMs, events, valueSum]);
    }
    for (const [user, { loggedMs, startMs, lastEventMs, events }] of this.#sessions) {
      const ttl = ttlSeconds(ACTIVITY_TTL_SECONDS, loggedMs, nowMs);
      if (ttl <= 0) continue;
      const named = [sessionKey(this.#lane, ""), ttlSeconds(SESSION_TTL_SECONDS, loggedMs, nowMs)];
      values.push(["closed-session", activityKey(this.#lane, String(user)), ttl, user, startMs, lastEventMs, events, ...named]);
    }
    return values;
  }
}
