/** Names, fields and lifetimes of the hot values. Names are an interface: readers outside use them. */
import type { CleanColumns, WindowColumns } from "#shared/events/columns.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";

export const ACTIVITY_TTL_SECONDS = 3_600;
export const SESSION_TTL_SECONDS = 1_800;
export const LONGEST_TTL_SECONDS = Math.max(ACTIVITY_TTL_SECONDS, SESSION_TTL_SECONDS);

/** One hash: fields are set to absolute values, the others stay; the time to live begins again. */
export interface HotValue {
  readonly key: string;
  readonly ttlSeconds: number;
  /** field, value, field, value … */
  readonly fields: readonly string[];
}

/** Lanes beside `live` must not show in its values. */
function prefixOf(lane: string): string {
  return lane === "live" ? "" : `${lane}:`;
}

export function activityKey(lane: string, userId: string): string {
  return `${prefixOf(lane)}user:${userId}:activity`;
}

export function sessionKey(lane: string, sessionId: string): string {
  return `${prefixOf(lane)}session:${sessionId}`;
}

export function userIdAt(userId: Uint32Array, row: number): string {
  const low = userId[row * 2]!;
  const high = userId[row * 2 + 1]!;
  return high < 0x20_0000 ? String(high * 0x1_0000_0000 + low) : String((BigInt(high) << 32n) | BigInt(low));
}

/** Cheaper to make and to compare than the text; 64-bit ids that a double cannot hold stay text. */
function userIdentity(userId: Uint32Array, row: number): number | string {
  const high = userId[row * 2 + 1]!;
  return high < 0x20_0000 ? high * 0x1_0000_0000 + userId[row * 2]! : userIdAt(userId, row);
}

/** The last row of each user and session of these columns: in one delivery a later value makes the earlier ones needless. */
export function activityOf(lane: string, columns: CleanColumns): Map<string, HotValue> {
  const values = new Map<string, HotValue>();
  const users = new Set<number | string>();
  const sessions = new Set<string>();
  const { bytes, offsets } = columns.sessionId;
  const sessionBytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let row = columns.rows - 1; row >= 0; row--) {
    const user = userIdentity(columns.userId, row);
    if (!users.has(user)) {
      users.add(user);
      const key = activityKey(lane, String(user));
      values.set(key, { key, ttlSeconds: ACTIVITY_TTL_SECONDS, fields: activityFields(columns, row) });
    }
    const from = offsets[row]!;
    const to = offsets[row + 1]!;
    if (from === to) continue;
    // One character a byte: wrong as text, right as identity.
    const session = sessionBytes.toString("latin1", from, to);
    if (sessions.has(session)) continue;
    sessions.add(session);
    const key = sessionKey(lane, sessionBytes.toString("utf8", from, to));
    values.set(key, { key, ttlSeconds: SESSION_TTL_SECONDS, fields: ["user_id", String(user), ...lastEventFields(columns, row)] });
  }
  return values;
}

function lastEventFields(columns: CleanColumns, row: number): string[] {
  const type = columns.eventType.values[columns.eventType.codes[row]!] ?? "";
  return ["last_event_time", String(columns.eventTimeMs[row]!), "last_event_type", type];
}

/** `is_final 0`: the window and the session are still open. */
function activityFields(columns: CleanColumns, row: number): string[] {
  const fields = lastEventFields(columns, row);
  fields.push("window_events", String(columns.windowEvents[row]!), "session_start", String(columns.sessionStartMs[row]!));
  fields.push("session_events", String(columns.sessionEvents[row]!), "is_final", "0");
  return fields;
}

/** The last closed 5-minute window of each user. */
export function closedWindowsOf(lane: string, columns: WindowColumns): Map<string, HotValue> {
  const values = new Map<string, HotValue>();
  const tumbling = WINDOW_KINDS.indexOf("tumbling_5m");
  for (let row = columns.rows - 1; row >= 0; row--) {
    if (columns.kind[row] !== tumbling) continue;
    const key = activityKey(lane, userIdAt(columns.userId, row));
    if (values.has(key)) continue;
    const fields = [
      ["closed_window_start", String(columns.windowStartMs[row]!)],
      ["closed_window_events", String(columns.events[row]!)],
      ["closed_window_value_sum", String(columns.valueSum[row]!)],
    ].flat();
    values.set(key, { key, ttlSeconds: ACTIVITY_TTL_SECONDS, fields });
  }
  return values;
}
