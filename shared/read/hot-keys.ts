/** Names and lifetimes of what is in Redis. Names are an interface: readers outside use them. */
import type { OutputRole, PipelineId } from "../events/names.ts";

export const ACTIVITY_TTL_SECONDS = 3_600;
export const SESSION_TTL_SECONDS = 1_800;
export const EVENT_TTL_SECONDS = 86_400;
export const METRIC_TTL_SECONDS = 600;

/** Of the window that an activity shows. */
export const LIVE_WINDOW_MS = 300_000;

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

export function eventKey(lane: string, eventId: string): string {
  return `${prefixOf(lane)}cache:event:${eventId}`;
}

/**
 * `name`: what is measured, then of which source, then of which event type or destination; as far as it goes. `metric:quality.accuracy:web:click`.
 * Colons inside a part are escaped. A metric without a source of one type has an empty part.
 */
export function metricKey(lane: string, name: readonly string[]): string {
  const parts = name.map((part) => part.replaceAll(/[%:]/g, encodeURIComponent));
  while (parts.length > 1 && parts.at(-1) === "") parts.pop();
  return `${prefixOf(lane)}metric:${parts.join(":")}`;
}

/** A hash per output partition: number of the last row applied (`row`), offset of the next record (`offset`), log time of the last record (`at`). */
export function markKey({ lane, generation }: PipelineId, role: OutputRole | "minutes", partition: number): string {
  return `weir:mark:${lane}:${generation}:${role}:${partition}`;
}

/** Gets, after each batch that made keys, one message: their names as a JSON list. What a reader knows to be absent is there from then on. */
export function createdChannel(lane: string): string {
  return `weir:created:${lane}`;
}
