/**
 * The same values from ClickHouse. Callers who may not see every source get what is computed from the rows that they may see: ranks and windows that the
 * processor wrote count everybody's.
 */
import type { Clickhouse } from "../clients/clickhouse/client.ts";
import { type Access, ALL_SOURCES } from "./access.ts";
import type { EventValue, SessionValue, UserValue, WindowKind, WindowValue } from "./answer.ts";
import { LIVE_WINDOW_MS } from "./hot-keys.ts";
import { newestSession, sessionFrom, type TimedEvent } from "./visible-session.ts";

/** The fixed-size kinds; a session is as long as it is. */
const SIZES_MS: Readonly<Partial<Record<WindowKind, number>>> = {
  tumbling_5m: LIVE_WINDOW_MS,
  tumbling_1h: 3_600_000,
  hopping_5m_1m: 300_000,
  hopping_10m_1m: 600_000,
  hopping_1h_5m: 3_600_000,
};

/** Of one session of one user: more are not counted. */
const SESSION_ROWS_MAX = 100_000;

/** Newest row of the clean output that the value has. */
export interface TablePlace {
  readonly partition: number | null;
  readonly row: number | null;
}

export interface Tabled<T> {
  readonly value: T | null;
  readonly place: TablePlace;
}

const NOWHERE: TablePlace = { partition: null, row: null };

interface LastEventRow {
  readonly user_text: string;
  readonly time: string;
  readonly event_type: string;
  readonly session: string;
  readonly session_events: number;
  readonly p: number;
  readonly row_text: string;
}

interface ClosedRow {
  readonly kind: WindowKind;
  readonly start: string;
  readonly last: string;
  readonly events: number;
  readonly value_sum: number | null;
}

/** No alias has the name of a column: conditions and orders would mean the alias. */
const LAST_EVENT = `toString(user_id) AS user_text, toUnixTimestamp64Milli(event_time) AS time, event_type,
  toUnixTimestamp64Milli(session_start) AS session, session_events, p, toString(oseq) AS row_text`;
const NEWEST_FIRST = "ORDER BY event_time DESC, gen DESC, oseq DESC";
const CLOSED = "kind, toUnixTimestamp64Milli(window_start) AS start, toUnixTimestamp64Milli(last_event) AS last, events, value_sum";

export interface TableSourceOptions {
  readonly database: string;
  readonly lane: string;
  /** The server gives a query up after this long. */
  readonly timeoutMs: number;
}

/** 64-bit columns come as text. */
type EventRow = Omit<EventValue, "eventTimeMs" | "loggedMs" | "row" | "sourceOffset"> & {
  readonly eventTimeMs: string;
  readonly loggedMs: string;
  readonly row: string;
  readonly sourceOffset: string;
};

export class TableSource {
  readonly #client: Clickhouse;
  readonly #options: TableSourceOptions;

  constructor(client: Clickhouse, options: TableSourceOptions) {
    this.#client = client;
    this.#options = options;
  }

  async user(userId: string, access: Access): Promise<Tabled<UserValue>> {
    const [last] = await this.#events<LastEventRow>(
      LAST_EVENT,
      "user_id = {user:UInt64}",
      `${NEWEST_FIRST} LIMIT 1`,
      { user: userId },
      access,
    );
    if (last === undefined) return { value: null, place: NOWHERE };
    const lastEventMs = Number(last.time);
    const startMs = Math.floor(lastEventMs / LIVE_WINDOW_MS) * LIVE_WINDOW_MS;
    const [window, closed, session] = await Promise.all([
      this.#window("tumbling_5m", userId, startMs, access),
      this.#newestClosed(userId),
      access.sources === "all" ? null : this.#visibleSession(userId, lastEventMs, access),
    ]);
    const closedWindow = closed.find(({ kind }) => kind === "tumbling_5m");
    const closedSession = closed.find(({ kind }) => kind === "session_30s");
    const isOver = closedSession !== undefined && Number(closedSession.last) >= lastEventMs;
    const known = isOver ? closedSession : { start: last.session, events: last.session_events };
    const value = {
      userId,
      lastEventMs,
      lastEventType: last.event_type,
      window,
      session: session ?? { startMs: Number(known.start), lastEventMs, events: known.events, isFinal: isOver },
      closedWindow: closedWindow === undefined ? null : await this.#closedFor(userId, closedWindow, window, access),
    };
    return { value, place: placeOf(last) };
  }

  async window(kind: WindowKind, userId: string, startMs: number, access: Access): Promise<Tabled<WindowValue>> {
    return { value: await this.#window(kind, userId, startMs, access), place: NOWHERE };
  }

  async session(sessionId: string, access: Access): Promise<Tabled<SessionValue>> {
    const parameters = { session: sessionId };
    const [last] = await this.#events<LastEventRow>(
      LAST_EVENT,
      "session_id = {session:String}",
      `${NEWEST_FIRST} LIMIT 1`,
      parameters,
      access,
    );
    if (last === undefined) return { value: null, place: NOWHERE };
    const lastEventMs = Number(last.time);
    const base = { sessionId, userId: last.user_text, lastEventMs, lastEventType: last.event_type };
    const [closed, visible] = await Promise.all([
      this.closedSession(last.user_text, lastEventMs),
      access.sources === "all" ? null : this.#visibleSession(last.user_text, lastEventMs, access),
    ]);
    const isFinal = closed !== null;
    const { startMs, events } = visible ?? closed ?? { startMs: Number(last.session), events: last.session_events };
    return { value: { ...base, startMs, events, isFinal }, place: placeOf(last) };
  }

  /** The closed session of the user that the event time lies in. */
  async closedSession(userId: string, eventMs: number): Promise<{ startMs: number; events: number; lastEventMs: number } | null> {
    const at = "fromUnixTimestamp64Milli({at:Int64})";
    const [row] = await this.#closed(`kind = 'session_30s' AND window_start <= ${at} AND last_event >= ${at}`, userId, "LIMIT 1", {
      at: eventMs,
    });
    return row === undefined ? null : { startMs: Number(row.start), events: row.events, lastEventMs: Number(row.last) };
  }

  /** For everyone: the caller's rights are checked on the answer, so that all share it. */
  async event(eventId: string): Promise<EventValue | null> {
    const columns = `toString(event_id) AS eventId, toUnixTimestamp64Milli(event_time) AS eventTimeMs, toString(user_id) AS userId, event_type AS eventType,
      source, session_id AS sessionId, value, properties, device_info AS deviceInfo, geo_location AS geoLocation, reason,
      toUnixTimestamp64Milli(timestamp) AS loggedMs, gen AS generation, p AS partition, oseq AS row, source_offset AS sourceOffset`;
    const [found] = await this.#events<EventRow>(
      columns,
      "event_id = {event:UUID}",
      "ORDER BY gen DESC LIMIT 1",
      { event: eventId },
      ALL_SOURCES,
    );
    if (found === undefined) return null;
    const { eventTimeMs, loggedMs, row, sourceOffset } = found;
    const numbers = { eventTimeMs: Number(eventTimeMs), loggedMs: Number(loggedMs), row: Number(row), sourceOffset: Number(sourceOffset) };
    return { ...found, ...numbers };
  }

  async #window(kind: WindowKind, userId: string, startMs: number, access: Access): Promise<WindowValue | null> {
    const condition = "kind = {kind:String} AND window_start = fromUnixTimestamp64Milli({start:Int64})";
    const [closed] = await this.#closed(condition, userId, "ORDER BY gen DESC LIMIT 1", { kind, start: startMs });
    const base = { kind, userId, startMs };
    if (closed !== undefined && access.sources === "all")
      return { ...base, events: closed.events, valueSum: closed.value_sum, isFinal: true };
    const isFinal = closed !== undefined;
    const size = SIZES_MS[kind];
    if (size === undefined) {
      const session = sessionFrom(await this.#timedEvents(userId, startMs, undefined, access), startMs);
      return session === null ? null : { ...base, events: session.events, valueSum: session.valueSum, isFinal };
    }
    const [open] = await this.#events<{ events: number; value_sum: number | null }>(
      "toUInt32(count()) AS events, sum(value) AS value_sum",
      "user_id = {user:UInt64} AND event_time >= fromUnixTimestamp64Milli({from:Int64}) AND event_time < fromUnixTimestamp64Milli({to:Int64})",
      // Two generations may hold the same events.
      "GROUP BY gen ORDER BY gen DESC LIMIT 1",
      { user: userId, from: startMs, to: startMs + size },
      access,
    );
    return open === undefined ? null : { ...base, events: open.events, valueSum: open.value_sum, isFinal };
  }

  async #newestClosed(userId: string): Promise<ClosedRow[]> {
    const condition = "kind IN ('tumbling_5m', 'session_30s')";
    return this.#closed(condition, userId, "ORDER BY kind, window_start DESC, gen DESC LIMIT 1 BY kind", {});
  }

  /** Of a caller who may not see all, only a window in which there is something to see may be told of. */
  async #closedFor(userId: string, closed: ClosedRow, window: WindowValue | null, access: Access): Promise<WindowValue | null> {
    const startMs = Number(closed.start);
    if (access.sources === "all")
      return { kind: "tumbling_5m", userId, startMs, events: closed.events, valueSum: closed.value_sum, isFinal: true };
    return window?.startMs === startMs && window.isFinal ? window : this.#window("tumbling_5m", userId, startMs, access);
  }

  async #visibleSession(userId: string, lastEventMs: number, access: Access): Promise<UserValue["session"]> {
    const session = newestSession(await this.#timedEvents(userId, undefined, lastEventMs, access));
    if (session === null) return null;
    return {
      startMs: session.startMs,
      lastEventMs,
      events: session.events,
      isFinal: (await this.closedSession(userId, lastEventMs)) !== null,
    };
  }

  /** Of the newest generation that has any, in order of time. */
  async #timedEvents(userId: string, fromMs: number | undefined, toMs: number | undefined, access: Access): Promise<TimedEvent[]> {
    const from = fromMs === undefined ? "" : " AND event_time >= fromUnixTimestamp64Milli({from:Int64})";
    const to = toMs === undefined ? "" : " AND event_time <= fromUnixTimestamp64Milli({to:Int64})";
    const rows = await this.#events<{ time: string; value: number | null; gen: number }>(
      "toUnixTimestamp64Milli(event_time) AS time, value, gen",
      `user_id = {user:UInt64}${from}${to}`,
      `ORDER BY event_time ${fromMs === undefined ? "DESC" : "ASC"} LIMIT ${SESSION_ROWS_MAX}`,
      { user: userId, ...(fromMs === undefined ? {} : { from: fromMs }), ...(toMs === undefined ? {} : { to: toMs }) },
      access,
    );
    const newest = rows.reduce((max, { gen }) => Math.max(max, gen), 0);
    const events = rows.filter(({ gen }) => gen === newest).map(({ time, value }) => ({ timeMs: Number(time), value }));
    return fromMs === undefined ? events.reverse() : events;
  }

  #events<T>(
    columns: string,
    condition: string,
    tail: string,
    parameters: Readonly<Record<string, unknown>>,
    { sources }: Access,
  ): Promise<T[]> {
    const rights = sources === "all" ? "" : " AND source IN {sources:Array(String)} AND source != ''";
    const rightsOf = sources === "all" ? {} : { sources: [...sources] };
    return this.#query(
      `SELECT ${columns} FROM ${this.#options.database}.events WHERE ${condition} AND lane = {lane:String}${rights} ${tail}`,
      {
        ...parameters,
        ...rightsOf,
      },
    );
  }

  #closed(condition: string, userId: string, tail: string, parameters: Readonly<Record<string, unknown>>): Promise<ClosedRow[]> {
    const where = `user_id = {user:UInt64} AND ${condition} AND lane = {lane:String}`;
    return this.#query(`SELECT ${CLOSED} FROM ${this.#options.database}.windows FINAL WHERE ${where} ${tail}`, {
      ...parameters,
      user: userId,
    });
  }

  #query<T>(sql: string, parameters: Readonly<Record<string, unknown>>): Promise<T[]> {
    const { lane, timeoutMs } = this.#options;
    return this.#client.query(`${sql} SETTINGS max_execution_time = ${Math.ceil(timeoutMs / 1_000)}`, { ...parameters, lane });
  }
}

function placeOf({ p, row_text: row }: LastEventRow): TablePlace {
  return { partition: p, row: Number(row) };
}
