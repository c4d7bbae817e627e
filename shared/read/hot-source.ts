/** The hot values in Redis, each read in one atomic call with the position that it is as of. */
import type { Redis } from "../clients/redis/client.ts";
import type { RedisGroups } from "../clients/redis/groups.ts";
import type { OutputRole, PipelineId } from "../events/names.ts";
import { murmur2, partitionOf } from "../events/partitioner.ts";
import type { EventValue, MetricValue, SessionValue, UserValue, WindowValue } from "./answer.ts";
import { activityKey, EVENT_TTL_SECONDS, eventKey, markKey, metricKey, sessionKey } from "./hot-keys.ts";

/** KEYS: mark, value. Answers the mark's row and time, then fields and values. */
const READ = `
local mark = redis.call('HMGET', KEYS[1], 'row', 'at')
return {mark[1] or '', mark[2] or '', redis.call('HGETALL', KEYS[2])}
`;

export interface HotPlace {
  readonly partition: number;
  /** Null: Redis has lost what it had and reads the log again. */
  readonly row: number | null;
  readonly loggedMs: number | null;
}

export interface Hot<T> {
  readonly value: T | null;
  readonly place: HotPlace;
}

/** The partition of metrics.minutes, which has one. */
const MINUTES_PARTITION = 0;

interface Read {
  readonly place: HotPlace;
  readonly fields: ReadonlyMap<string, string>;
}

export class HotSource {
  readonly #groups: RedisGroups;
  readonly #id: PipelineId;
  readonly #partitions: number;

  constructor(groups: RedisGroups, { id, partitions }: { readonly id: PipelineId; readonly partitions: number }) {
    this.#groups = groups;
    this.#id = id;
    this.#partitions = partitions;
  }

  async user(userId: string): Promise<Hot<UserValue>> {
    const { place, fields } = await this.#read(activityKey(this.#id.lane, userId), partitionOf(Buffer.from(userId), this.#partitions));
    const lastEvent = fields.get("last_event_time") ?? fields.get("session_last_event");
    // Only what closed windows say is there: the rest is being rebuilt.
    if (lastEvent === undefined) return { value: null, place };
    const window = windowOf(userId, fields, "window_start", "window_events", fields.get("is_final") === "1");
    const closed = windowOf(userId, fields, "closed_window_start", "closed_window_events", true);
    const valueSum = closed === null ? null : orNull(fields.get("closed_window_value_sum"));
    const closedWindow = closed === null ? null : { ...closed, valueSum };
    const value = {
      userId,
      lastEventMs: Number(lastEvent),
      lastEventType: fields.get("last_event_type") ?? "",
      window: window !== null && window.isFinal && closedWindow?.startMs === window.startMs ? closedWindow : window,
      session: sessionOf(fields),
      closedWindow,
    };
    return { value, place };
  }

  /** On the group of whoever's session it is: all are asked, the newest counts. */
  async session(sessionId: string): Promise<Hot<SessionValue>> {
    const key = sessionKey(this.#id.lane, sessionId);
    const found = await Promise.all(
      this.#groups.all.map(async (redis) => {
        await redis.connect();
        return redis.hash(key);
      }),
    );
    const newest = found.reduce((a, b) => (Number(b["last_event_time"] ?? -1) > Number(a["last_event_time"] ?? -1) ? b : a));
    const userId = newest["user_id"];
    if (userId === undefined) return { value: null, place: { partition: -1, row: null, loggedMs: null } };
    const { place, fields } = await this.#read(key, partitionOf(Buffer.from(userId), this.#partitions));
    const lastEvent = fields.get("last_event_time");
    if (lastEvent === undefined) return { value: null, place };
    const value = {
      sessionId,
      userId: fields.get("user_id")!,
      lastEventMs: Number(lastEvent),
      lastEventType: fields.get("last_event_type") ?? "",
      startMs: Number(fields.get("session_start")),
      events: Number(fields.get("session_events")),
      isFinal: fields.get("is_final") === "1",
    };
    return { value, place };
  }

  async event(eventId: string): Promise<EventValue | null> {
    const redis = this.#ofEvent(eventId);
    await redis.connect();
    const text = await redis.get(eventKey(this.#id.lane, eventId));
    return text === null ? null : (JSON.parse(text) as EventValue);
  }

  async metric(name: readonly string[]): Promise<Hot<Omit<MetricValue, "name">>> {
    const { place, fields } = await this.#read(metricKey(this.#id.lane, name), MINUTES_PARTITION, "minutes");
    const minuteMs = orNull(fields.get("minute"));
    if (minuteMs === null) return { value: null, place };
    return { value: { minuteMs, value: orNull(fields.get("value")), count: Number(fields.get("count")) }, place };
  }

  async keepEvent(event: EventValue): Promise<void> {
    await this.#ofEvent(event.eventId).setFor(eventKey(this.#id.lane, event.eventId), JSON.stringify(event), EVENT_TTL_SECONDS);
  }

  /** Which partition an event is of is not to be seen from its id: any group will do, if it is always the same. */
  #ofEvent(eventId: string): Redis {
    return this.#groups.of(murmur2(Buffer.from(eventId)) >>> 0);
  }

  async #read(key: string, partition: number, role: OutputRole | "minutes" = "clean"): Promise<Read> {
    const redis = this.#groups.of(partition);
    await redis.connect();
    const mark = markKey(this.#id, role, partition);
    const [row, loggedMs, pairs] = (await redis.script(READ, [mark, key], [])) as [string, string, string[]];
    const fields = new Map<string, string>();
    for (let i = 0; i < pairs.length; i += 2) fields.set(pairs[i]!, pairs[i + 1]!);
    return { fields, place: { partition, row: orNull(row), loggedMs: orNull(loggedMs) } };
  }
}

function windowOf(userId: string, fields: Read["fields"], start: string, events: string, isFinal: boolean): WindowValue | null {
  const startMs = orNull(fields.get(start));
  if (startMs === null) return null;
  return { kind: "tumbling_5m", userId, startMs, events: Number(fields.get(events)), valueSum: null, isFinal };
}

function sessionOf(fields: Read["fields"]): UserValue["session"] {
  const startMs = orNull(fields.get("session_start"));
  if (startMs === null) return null;
  const [lastEventMs, events] = [Number(fields.get("session_last_event")), Number(fields.get("session_events"))];
  return { startMs, lastEventMs, events, isFinal: fields.get("session_is_final") === "1" };
}

function orNull(text: string | undefined): number | null {
  if (text === undefined || text === "") return null;
  const number = Number(text);
  return Number.isNaN(number) ? null : number;
}
