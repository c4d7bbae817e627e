/**
 * The read path of API, CLI and dashboard: Redis first, ClickHouse on a miss, and what there is when one of them is down.
 *
 * I1 However many ask for the same missing key at the same time, ClickHouse is asked once; what is nowhere is not asked for again for a moment
 *    (AbsentKeys), or until Redis says that the key has come into being.
 * I2 A caller who may not see every source never gets a value that others' rows went into (access.ts).
 * I3 Each question ends in bounded time; a store that did not answer is left alone for a moment (StoreGuard).
 * I4 An answer says from where it is, as of when, and whether it can still change. Of two answers the newer one is given.
 */
import { Clickhouse } from "../clients/clickhouse/client.ts";
import { RedisGroups } from "../clients/redis/groups.ts";
import type { Config } from "../config/config.ts";
import { AbsentKeys } from "./absent-keys.ts";
import { type Access, ALL_SOURCES, maySee, rightsOf } from "./access.ts";
import type { Answer, EventValue, MetricValue, SessionValue, UserValue, WindowKind, WindowValue } from "./answer.ts";
import { activityKey, createdChannel, eventKey, LIVE_WINDOW_MS, metricKey, sessionKey } from "./hot-keys.ts";
import { type Hot, type HotPlace, HotSource } from "./hot-source.ts";
import { eventId, metricName, userId } from "./keys.ts";
import { type MetricTables, newestMetric } from "./metric-source.ts";
import { SingleFlight } from "./single-flight.ts";
import { type Asked, nobodyAnswers, StoreGuard } from "./store-guard.ts";
import { type Tabled, TableSource } from "./table-source.ts";

export interface ReaderOptions {
  readonly nowMs?: () => number;
  /** Default 500. */
  readonly redisTimeoutMs?: number;
  /** Default 3,000. */
  readonly clickhouseTimeoutMs?: number;
  /** Redis behind its log by more than this is compared with ClickHouse. Default 10,000. */
  readonly staleAfterMs?: number;
  /** How long what was not found counts as absent. Default 1,000. */
  readonly absentMs?: number;
  readonly absentKeys?: number;
  /** How long a store that failed is left alone. Default 1,000. */
  readonly restMs?: number;
  /** Different misses that ask ClickHouse at a time. Default 64. */
  readonly flights?: number;
}

export type ReaderConfig = Pick<
  Config,
  "lane" | "generation" | "partitions" | "redis" | "clickhouse" | "clickhouseUser" | "clickhousePassword" | "clickhouseDatabase"
>;

/** Behind the last event of a session: its gap, and more than the watermark's bound by default. */
const ENDED_AFTER_MS = 60_000;

/** A minute closes within two; one that is older is looked for in ClickHouse. */
const NEWEST_MINUTE_WITHIN_MS = 180_000;

export class Reader {
  readonly #hot: HotSource;
  readonly #tables: TableSource;
  readonly #groups: RedisGroups;
  readonly #clickhouse: Clickhouse;
  readonly #redisGuard: StoreGuard;
  readonly #tablesGuard: StoreGuard;
  readonly #flights: SingleFlight;
  readonly #absent: AbsentKeys;
  readonly #lane: string;
  readonly #metricTables: MetricTables;
  readonly #nowMs: () => number;
  readonly #staleAfterMs: number;

  /** Connects when it is asked first. Every key that comes into being in Redis is listened for. */
  constructor(config: ReaderConfig, options: ReaderOptions = {}) {
    const { redisTimeoutMs = 500, clickhouseTimeoutMs = 3_000, restMs = 1_000, nowMs = Date.now } = options;
    const { lane, generation, partitions, clickhouseDatabase: database } = config;
    this.#lane = lane;
    this.#nowMs = nowMs;
    this.#staleAfterMs = options.staleAfterMs ?? 10_000;
    this.#groups = new RedisGroups(config.redis, { commandTimeoutMs: redisTimeoutMs });
    const access = { url: config.clickhouse, user: config.clickhouseUser, password: config.clickhousePassword };
    this.#clickhouse = new Clickhouse({ ...access, requestTimeoutMs: clickhouseTimeoutMs });
    this.#hot = new HotSource(this.#groups, { id: { lane, generation }, partitions });
    this.#tables = new TableSource(this.#clickhouse, { database, lane, timeoutMs: clickhouseTimeoutMs });
    this.#metricTables = { database, lane, timeoutMs: clickhouseTimeoutMs };
    this.#redisGuard = new StoreGuard({ name: "Redis", timeoutMs: redisTimeoutMs, restMs, nowMs });
    this.#tablesGuard = new StoreGuard({ name: "ClickHouse", timeoutMs: clickhouseTimeoutMs, restMs, nowMs });
    this.#flights = new SingleFlight(options.flights ?? 64);
    this.#absent = new AbsentKeys({ limit: options.absentKeys ?? 10_000, lifeMs: options.absentMs ?? 1_000, nowMs });
    for (const redis of this.#groups.all) {
      redis.subscribe(createdChannel(lane), {
        onMessage: (message) => {
          for (const key of JSON.parse(message) as string[]) this.#absent.came(key);
        },
        onGap: () => this.#absent.clear(),
      });
    }
  }

  /** Live values of a user. @throws UnavailableError READ_UNAVAILABLE, TransientError READ_BUSY, OperatingError READ_KEY */
  async user(text: string, access: Access): Promise<Answer<UserValue>> {
    const id = userId(text);
    return this.#aggregated(`user ${id}`, {
      key: activityKey(this.#lane, id),
      access,
      hot: () => this.#hot.user(id),
      tabled: () => this.#tables.user(id, access),
      newness: (value) => value.lastEventMs,
      isEnough: (_value, _place, isFresh) => isFresh,
      isFinal: (value) => (value.window?.isFinal ?? false) && (value.session?.isFinal ?? false),
    });
  }

  async session(id: string, access: Access): Promise<Answer<SessionValue>> {
    return this.#aggregated(`session ${id}`, {
      key: sessionKey(this.#lane, id),
      access,
      hot: () => this.#hot.session(id),
      tabled: () => this.#tables.session(id, access),
      newness: (value) => value.lastEventMs + (value.isFinal ? 0.5 : 0),
      // It has ended, but its user had another one before its end was known: Redis leaves it as it was.
      isEnough: (value, place, isFresh) => isFresh && (value.isFinal || (place.loggedMs ?? 0) - value.lastEventMs < ENDED_AFTER_MS),
      isFinal: (value) => value.isFinal,
    });
  }

  /** One window of a user, by its start. In Redis are the newest 5-minute ones. */
  async window(kind: WindowKind, text: string, startMs: number, access: Access): Promise<Answer<WindowValue>> {
    const id = userId(text);
    return this.#aggregated(`window ${kind} ${startMs} of user ${id}`, {
      key: `${activityKey(this.#lane, id)} ${kind} ${startMs}`,
      access,
      hot: kind === "tumbling_5m" && startMs % LIVE_WINDOW_MS === 0 ? () => this.#hotWindow(id, startMs) : null,
      tabled: () => this.#tables.window(kind, id, startMs, access),
      newness: (value) => value.events + (value.isFinal ? 0.5 : 0),
      isEnough: (value, _place, isFresh) => isFresh || value.isFinal,
      isFinal: (value) => value.isFinal,
    });
  }

  /** The newest closed minute of a metric. What is of no source, or of all, is for callers who may see all. */
  async metric(text: string, access: Access): Promise<Answer<MetricValue>> {
    const parts = metricName(text);
    const [, source] = parts;
    if (!maySee(access, source ?? null)) return this.#answer<MetricValue>(null, "absent", NOWHERE, [], false);
    const name = parts.map((part) => part ?? "");
    const answer = await this.#aggregated<Omit<MetricValue, "name">>(`metric ${text}`, {
      key: metricKey(this.#lane, name),
      // Whoever may see the source may see all that goes into it.
      access: ALL_SOURCES,
      hot: () => this.#hot.metric(name),
      tabled: async () => ({
        value: await newestMetric(this.#clickhouse, this.#metricTables, parts, this.#nowMs()),
        place: TABLED_NOWHERE,
      }),
      newness: ({ minuteMs }) => minuteMs,
      isEnough: ({ minuteMs }) => this.#nowMs() - minuteMs <= NEWEST_MINUTE_WITHIN_MS,
      isFinal: () => true,
    });
    return { ...answer, value: answer.value === null ? null : { name: text, ...answer.value } };
  }

  /** One event, read through Redis: what ClickHouse answers is kept there for a day. Whoever may not see it is told that there is none. */
  async event(text: string, access: Access): Promise<Answer<EventValue>> {
    const id = eventId(text);
    const key = eventKey(this.#lane, id);
    const notes: string[] = [];
    const kept = await this.#redisGuard.ask(() => this.#hot.event(id));
    if (!kept.ok) notes.push(kept.note);
    else if (kept.found !== null) return this.#eventAnswer(kept.found, access, "redis", notes);
    if (this.#absent.has(key)) return this.#answer<EventValue>(null, "absent", NOWHERE, notes, false);
    const asked = await this.#miss(
      key,
      key,
      () => this.#tables.event(id),
      (found) => found === null,
    );
    if (!asked.ok) throw nobodyAnswers(`event ${id}`, [...notes, asked.note], asked.error);
    // Best effort: the answer does not wait for it, and the next miss does it again.
    const { found } = asked;
    if (found !== null && kept.ok) void this.#redisGuard.ask(() => this.#hot.keepEvent(found)).catch(() => undefined);
    return this.#eventAnswer(found, access, "clickhouse", notes);
  }

  async close(): Promise<void> {
    this.#groups.close();
    await this.#clickhouse.close();
  }

  async #hotWindow(id: string, startMs: number): Promise<Hot<WindowValue>> {
    const { value, place } = await this.#hot.user(id);
    const held = [value?.closedWindow, value?.window].find((window) => window?.startMs === startMs);
    return { value: held ?? null, place };
  }

  async #aggregated<T>(what: string, look: Look<T>): Promise<Answer<T>> {
    const { access, hot, isFinal, key } = look;
    const notes: string[] = [];
    let held: Hot<T> | undefined;
    if (access.sources === "all" && hot !== null) {
      const asked = await this.#redisGuard.ask(hot);
      if (asked.ok) held = asked.found;
      else notes.push(asked.note);
    }
    const kept = held?.value ?? null;
    const ageMs = this.#nowMs() - (held?.place.loggedMs ?? 0);
    if (held !== undefined && kept !== null && look.isEnough(kept, held.place, ageMs <= this.#staleAfterMs)) {
      return this.#answer(kept, "redis", held.place, notes, isFinal(kept));
    }
    const flight = `${key} ${rightsOf(access)}`;
    // What only some may not see must not look absent to the others.
    const absentKey = access.sources === "all" ? key : flight;
    if (kept === null && this.#absent.has(absentKey)) {
      return this.#answer<T>(null, "absent", NOWHERE, notes, false);
    }
    // Shared by callers of whom one may have missed in Redis and another not: what is absent is so in ClickHouse, and each has looked in Redis.
    const asked = await this.#miss(flight, absentKey, look.tabled, (found) => found.value === null && kept === null);
    if (asked.ok) {
      const { value, place } = asked.found;
      const isOlder = kept !== null && (value === null || look.newness(value) < look.newness(kept));
      if (!isOlder) return this.#answer(value, "clickhouse", { ...place, loggedMs: null }, notes, value !== null && isFinal(value));
    } else {
      notes.push(asked.note);
    }
    if (held === undefined || kept === null) {
      throw nobodyAnswers(what, this.#withRights(access, notes), asked.ok ? new Error("no answer") : asked.error);
    }
    if (held.place.loggedMs === null) notes.push("Redis is being rebuilt");
    else if (ageMs > this.#staleAfterMs) notes.push(`Redis has the log up to ${Math.round(ageMs / 1_000)} s ago`);
    return this.#answer(kept, "redis", held.place, notes, isFinal(kept));
  }

  #withRights({ sources }: Access, notes: readonly string[]): readonly string[] {
    return sources === "all" ? notes : [...notes, "what is in Redis counts all sources"];
  }

  #miss<T>(flight: string, absentKey: string, question: () => Promise<T>, isAbsent: (found: T) => boolean): Promise<Asked<T>> {
    return this.#flights.ask(flight, () =>
      this.#absent.seek(
        absentKey,
        () => this.#tablesGuard.ask(question),
        (asked) => asked.ok && isAbsent(asked.found),
      ),
    );
  }

  #eventAnswer(event: EventValue | null, access: Access, from: "redis" | "clickhouse", notes: readonly string[]): Answer<EventValue> {
    const seen = event !== null && maySee(access, event.source) ? event : null;
    // An event never changes, whenever it was read.
    const place = { partition: seen?.partition ?? null, row: seen?.row ?? null, loggedMs: null };
    return this.#answer(seen, from, place, notes, seen !== null);
  }

  #answer<T>(value: T | null, from: Answer<T>["from"], place: AnswerPlace, notes: readonly string[], isFinal: boolean): Answer<T> {
    const nowMs = this.#nowMs();
    const timeMs = place.loggedMs ?? nowMs;
    const asOf = { timeMs, ageMs: Math.max(0, nowMs - timeMs), partition: place.partition, row: place.row };
    // From where a caller learns that there is nothing must not tell him that there is something which he may not see.
    return { value, from: value === null ? "absent" : from, asOf, isFinal, notes };
  }
}

const NOWHERE: AnswerPlace = { partition: null, row: null, loggedMs: null };
const TABLED_NOWHERE = { partition: null, row: null };

interface AnswerPlace extends Omit<HotPlace, "partition"> {
  readonly partition: number | null;
}

interface Look<T> {
  readonly key: string;
  readonly access: Access;
  /** Null: never in Redis. */
  readonly hot: (() => Promise<Hot<T>>) | null;
  readonly tabled: () => Promise<Tabled<T>>;
  /** Orders two values of the same key. */
  readonly newness: (value: T) => number;
  /** Whether what Redis has is the answer. Fresh = its log is not far behind the clock. */
  readonly isEnough: (value: T, place: HotPlace, isFresh: boolean) => boolean;
  readonly isFinal: (value: T) => boolean;
}
