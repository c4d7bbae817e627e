/** Which dead letters a command is about. */
import { REASON_CODES, REASONS } from "#shared/events/reasons.ts";
import { nearest } from "#shared/config/config.ts";
import { durationOption, UsageError } from "../command.ts";
import { parseEvent, scalarText } from "./event-edit.ts";
import type { Letter } from "./letter.ts";

/** Times are epoch milliseconds; the filter is stored with a replay and must mean the same later. */
export interface LetterFilter {
  /** Codes, or `schema.*`; empty = all. */
  readonly reasons: readonly string[];
  readonly sinceMs: number | null;
  /** Exclusive. */
  readonly untilMs: number | null;
  /** user_id as decimal text. */
  readonly user: string | null;
}

export const FILTER_OPTIONS = {
  reason: { type: "string", multiple: true },
  since: { type: "string" },
  until: { type: "string" },
  user: { type: "string" },
} as const;

export const FILTER_HELP = `  --reason CODE   this reason only; repeatable; schema.* names a family
  --since TIME    dead-lettered at this time or later: RFC 3339, or an age such as 30m, 24h
  --until TIME    before this time
  --user ID       of this user_id`;

interface FilterValues {
  readonly reason?: readonly string[] | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly user?: string | undefined;
}

/** @throws UsageError */
export function readFilter(values: FilterValues, nowMs: number): LetterFilter {
  for (const reason of values.reason ?? []) {
    const known = reason.endsWith(".*")
      ? REASON_CODES.some((code) => code.startsWith(reason.slice(0, -1)))
      : Object.hasOwn(REASONS, reason) || reason === "unknown";
    if (!known) throw new UsageError(`--reason: there is no reason ${JSON.stringify(reason)}${nearest(reason, REASON_CODES)}`);
  }
  if (values.user !== undefined && !/^\d{1,20}$/.test(values.user))
    throw new UsageError(`--user: must be a user_id in decimal, got ${JSON.stringify(values.user)}`);
  return {
    reasons: [...(values.reason ?? [])].toSorted(),
    sinceMs: timeOption("since", values.since, nowMs),
    untilMs: timeOption("until", values.until, nowMs),
    user: values.user ?? null,
  };
}

function timeOption(what: string, text: string | undefined, nowMs: number): number | null {
  if (text === undefined) return null;
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const timeMs = /T.*(Z|[+-]\d\d:\d\d)$/i.test(text) ? Date.parse(text) : NaN;
    if (Number.isNaN(timeMs)) throw new UsageError(`--${what}: must be a time with its zone, such as 2026-11-24T10:00:00Z, got ${text}`);
    return timeMs;
  }
  const [, days] = /^(\d+)d$/.exec(text) ?? [];
  return nowMs - (days === undefined ? durationOption(what, text, 0) : Number(days) * 86_400_000);
}

export function matches({ reasons, sinceMs, untilMs, user }: LetterFilter, letter: Letter): boolean {
  if (sinceMs !== null && letter.atMs < sinceMs) return false;
  if (untilMs !== null && letter.atMs >= untilMs) return false;
  if (reasons.length > 0 && !reasons.some((reason) => isReason(letter.reason, reason))) return false;
  return user === null || userOf(letter) === user;
}

function isReason(code: string, wanted: string): boolean {
  return wanted.endsWith(".*") ? code.startsWith(wanted.slice(0, -1)) : code === wanted;
}

/** The event's own user_id where it can be read, else the key: the two may differ, and then the event is what a person looks for. */
export function userOf({ key, value }: Letter): string | null {
  const own = scalarText(value === null ? undefined : parseEvent(value)?.["user_id"]);
  return own ?? (key === null ? null : Buffer.from(key).toString());
}

export function eventIdOf({ value }: Letter): string | null {
  const id = value === null ? undefined : parseEvent(value)?.["event_id"];
  return typeof id === "string" ? id : null;
}
