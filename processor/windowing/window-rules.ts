/**
 * The windows of every user, and their rules.
 *
 * - Tumbling: [n * size, (n + 1) * size) of event time since the Unix epoch, UTC.
 * - Hopping (off unless configured): [n * hop, n * hop + size), so an event is in size / hop of them.
 * - Session: [first event, last event + gap). An event belongs to a session when it lies *less* than the gap from it, before or behind; at
 *   exactly the gap it starts another session, as the end of a window is exclusive. An event less than the gap from two sessions merges
 *   them. A user has as many open sessions as the out-of-orderness leaves room for.
 * - A window closes when the watermark reaches its end, and emits once. A session exists from its first event on, so none is ever empty.
 * - An event is late, for all its windows at once so that sums agree, when its five-minute window or the first of its hopping
 *   windows has closed, or when the watermark is the gap or more ahead of it and no open session takes it. It goes to events.late and into no window.
 * - An event that is less than the gap behind the watermark and close to a session that has closed already starts a new session: an emitted
 *   window is final. Such an event is out of order by more than the bound.
 * - Order of closing: by end; at one end five-minute windows, then hours, then hopping ones, then sessions. Tumbling windows of one end in the order
 *   in which their users came first (hours: in the order in which their five-minute windows closed; hopping: pane by pane, a pane being the events
 *   of one hop), sessions by user id.
 * - The hour is the sum of its five-minute windows, added when they close, a hopping window that of its panes, oldest first: floating-point sums
 *   are defined by that order.
 */
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import type { HoppingKind } from "../model/ports.ts";

export const FIVE_MINUTES_MS = 300_000;
export const HOUR_MS = 3_600_000;
export const SESSION_GAP_MS = 30_000;

type WindowKind = (typeof WINDOW_KINDS)[number];

export function codeOf(kind: WindowKind): number {
  return WINDOW_KINDS.indexOf(kind);
}

export const KIND = { fiveMinutes: codeOf("tumbling_5m"), hour: codeOf("tumbling_1h"), session: codeOf("session_30s") } as const;

export const HOPPING = {
  hopping_5m_1m: { sizeMs: 300_000, hopMs: 60_000 },
  hopping_10m_1m: { sizeMs: 600_000, hopMs: 60_000 },
  hopping_1h_5m: { sizeMs: 3_600_000, hopMs: 300_000 },
} as const satisfies Record<HoppingKind, { readonly sizeMs: number; readonly hopMs: number }>;

export function windowStart(timeMs: number, sizeMs: number): number {
  return Math.floor(timeMs / sizeMs) * sizeMs;
}
