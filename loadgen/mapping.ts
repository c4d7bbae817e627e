/**
 * Turns rows of somebody's file into events, by a mapping that is data: which field is the user, which the time, what the rest becomes.
 * Without a mapping a row is an event already.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import { ConfigError, OperatingError, toError } from "#shared/kernel/errors.ts";

const UNIT_MS = { milliseconds: 1, seconds: 1_000, minutes: 60_000, hours: 3_600_000 } as const;

const mapping = z.strictObject({
  $comment: z.string().optional(),
  /** Name of the data source; also part of the derived ids. */
  source: z.string().min(1),
  eventType: z.string().min(1),
  /** Field with a whole number. */
  userId: z.string().min(1),
  eventTime: z.union([
    z.strictObject({ field: z.string().min(1), format: z.literal("rfc3339") }),
    z.strictObject({
      field: z.string().min(1),
      unit: z.enum(["milliseconds", "seconds", "minutes", "hours"]),
      /** What 0 means. Default: 1970. */
      since: z.iso.datetime({ offset: true }).default("1970-01-01T00:00:00Z"),
      /**
       * Rows with the same time share this long a span: the k-th of n (from 0, in file order) comes floor(k * span / n) later. For data
       * whose clock is coarser than the pipeline's windows.
       */
      spreadMs: z.int().min(1).optional(),
    }),
  ]),
  /** A field with a UUID, or nothing: derived from source and row number, so that sending the file again repeats the ids. */
  eventId: z.string().min(1).optional(),
  sessionId: z.string().min(1).optional(),
  /** Fields that become `properties`, with their names. */
  properties: z.array(z.string().min(1)).max(100),
});

export type Mapping = z.output<typeof mapping>;

/** @throws ConfigError naming every problem. */
export function readMapping(path: string): Mapping {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, "utf8"));
  } catch (thrown) {
    throw new ConfigError([`${path}: ${toError(thrown).message}`]);
  }
  const parsed = mapping.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new ConfigError(parsed.error.issues.map((issue) => `${path}: ${issue.path.join(".") || "mapping"}: ${issue.message}`));
}

export interface MappedEvent {
  /** JSON of the event. */
  readonly line: string;
  /** Key of the record. */
  readonly key: string;
}

type Row = Readonly<Record<string, unknown>>;

/** Rows must come in the order in which they are to be sent. `run` makes the derived ids of one sending differ from another's. */
export function* mapRows(rows: Iterable<Row>, mapping: Mapping, options: { readonly run?: string } = {}): Generator<MappedEvent> {
  const { eventTime } = mapping;
  const spreadMs = "unit" in eventTime ? eventTime.spreadMs : undefined;
  let number = 0;
  let same: Row[] = [];
  let sameMs = Number.NaN;
  const flush = function* (): Generator<MappedEvent> {
    for (const [k, row] of same.entries()) {
      const shiftMs = spreadMs === undefined ? 0 : Math.floor((k * spreadMs) / same.length);
      yield mapRow(row, mapping, { timeMs: sameMs + shiftMs, number: number++, run: options.run ?? "" });
    }
    same = [];
  };
  for (const row of rows) {
    const timeMs = timeOf(row, mapping, number + same.length);
    if (timeMs !== sameMs) yield* flush();
    sameMs = timeMs;
    same.push(row);
  }
  yield* flush();
}

function mapRow(row: Row, mapping: Mapping, at: { timeMs: number; number: number; run: string }): MappedEvent {
  const userId = row[mapping.userId];
  if (!Number.isSafeInteger(userId) || (userId as number) < 0) throw unmappable(at.number, mapping.userId, "a whole number from 0", userId);
  const event = {
    event_id: mapping.eventId === undefined ? derivedId(`${mapping.source}/${at.run}/${at.number}`) : row[mapping.eventId],
    event_time: new Date(at.timeMs).toISOString(),
    user_id: userId,
    event_type: mapping.eventType,
    source: mapping.source,
    ...(mapping.sessionId === undefined ? {} : { session_id: String(row[mapping.sessionId]) }),
    schema_version: 1,
    properties: Object.fromEntries(mapping.properties.filter((name) => row[name] !== undefined).map((name) => [name, row[name]])),
  };
  return { line: JSON.stringify(event), key: String(userId) };
}

function timeOf(row: Row, { eventTime }: Mapping, number: number): number {
  const value = row[eventTime.field];
  const timeMs =
    "unit" in eventTime
      ? typeof value === "number"
        ? Date.parse(eventTime.since) + Math.round(value * UNIT_MS[eventTime.unit])
        : Number.NaN
      : typeof value === "string"
        ? Date.parse(value)
        : Number.NaN;
  if (!Number.isFinite(timeMs)) throw unmappable(number, eventTime.field, "unit" in eventTime ? "a number" : "an RFC 3339 time", value);
  return timeMs;
}

/** UUID version 5 (RFC 9562), without the namespace: the name is unique already. */
function derivedId(name: string): string {
  const hash = createHash("sha1").update(`weir/${name}`).digest();
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString("hex", 0, 16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function unmappable(number: number, field: string, expected: string, got: unknown): OperatingError {
  return new OperatingError(
    `row ${number + 1}, field ${field}: expected ${expected}, got ${JSON.stringify(got)?.slice(0, 60) ?? "nothing"}`,
    {
      code: "MAPPING_ROW",
      hint: "correct the row, or name another field in the mapping",
    },
  );
}
