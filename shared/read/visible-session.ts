/** The session of events less than 30 s apart, from the events that a caller may see: for him, the others did not happen. */

const SESSION_GAP_MS = 30_000;

export interface TimedEvent {
  readonly timeMs: number;
  readonly value: number | null;
}

export interface VisibleSession {
  readonly startMs: number;
  readonly events: number;
  readonly valueSum: number | null;
}

/** The one that ends the list. `events` in order of time. */
export function newestSession(events: readonly TimedEvent[]): VisibleSession | null {
  let from = events.length - 1;
  while (from > 0 && events[from]!.timeMs - events[from - 1]!.timeMs < SESSION_GAP_MS) from--;
  return from < 0 ? null : summed(events.slice(from));
}

/** The one that begins at this very time; null where none does. `events` in order of time. */
export function sessionFrom(events: readonly TimedEvent[], startMs: number): VisibleSession | null {
  if (events[0]?.timeMs !== startMs) return null;
  let to = 1;
  while (to < events.length && events[to]!.timeMs - events[to - 1]!.timeMs < SESSION_GAP_MS) to++;
  return summed(events.slice(0, to));
}

function summed(events: readonly TimedEvent[]): VisibleSession {
  let valueSum: number | null = null;
  for (const { value } of events) if (value !== null) valueSum = (valueSum ?? 0) + value;
  return { startMs: events[0]!.timeMs, events: events.length, valueSum };
}
