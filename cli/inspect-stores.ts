/** An event in the stores: its row, the sums and windows that count it, hot values. */
import { RedisGroups } from "#shared/clients/redis/groups.ts";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import { activityKey, eventKey, markKey, sessionKey } from "#shared/read/hot-keys.ts";
import type { InspectContext, Place, Stage } from "./inspect-stage.ts";
import { queryRows } from "./table-rows.ts";

export interface EventRow {
  readonly event_id: string;
  readonly eventTimeMs: number;
  readonly userId: string;
  readonly session_id: string;
  readonly event_type: string;
  readonly logTimeMs: number;
  readonly p: number;
  readonly source_offset: number;
  readonly oseq: number;
  readonly cut: number;
}

const COLUMNS = `toString(event_id) AS event_id, toUnixTimestamp64Milli(event_time) AS eventTimeMs, toString(user_id) AS userId, session_id, event_type,
  toUnixTimestamp64Milli(timestamp) AS logTimeMs, p, source_offset, oseq, cut, source, value, properties, reason`;
const OURS = "lane = {lane:String} AND gen = {generation:UInt32}";

export async function rowsAt({ config }: InspectContext, { partition, offset }: Place): Promise<EventRow[]> {
  return queryRows<EventRow>(
    config,
    `SELECT ${COLUMNS} FROM events WHERE ${OURS} AND p = {partition:UInt16} AND source_offset = {offset:UInt64}`,
    { partition, offset },
  );
}

export async function rowsOfId({ config }: InspectContext, id: string): Promise<EventRow[]> {
  return queryRows<EventRow>(
    config,
    `SELECT ${COLUMNS} FROM events WHERE ${OURS} AND event_id = {id:UUID} ORDER BY p, source_offset LIMIT 20`,
    {
      id,
    },
  );
}

/** Dead letters whose bytes have the id somewhere. */
export async function lettersOfId({ config }: InspectContext, id: string): Promise<Place[]> {
  const rows = await queryRows<{ readonly p: number; readonly source_offset: number }>(
    config,
    `SELECT p, source_offset FROM dead_letters FINAL WHERE ${OURS} AND positionCaseInsensitive(value, {id:String}) > 0 ORDER BY at LIMIT 20`,
    { id },
  );
  return rows.map(({ p, source_offset }) => ({ partition: p, offset: source_offset }));
}

export async function tableStages(context: InspectContext, rows: readonly EventRow[], place: Place): Promise<Stage[]> {
  const { config } = context;
  const row = rows[0];
  if (row === undefined) {
    const letters = await queryRows<Record<string, unknown>>(
      config,
      `SELECT reason, pointer, oseq, toString(at) AS at FROM dead_letters FINAL WHERE ${OURS} AND p = {partition:UInt16} AND source_offset = {offset:UInt64}`,
      { ...place },
    );
    return letters.map((facts) => ({
      stage: "ClickHouse dead_letters",
      status: "found",
      atMs: null,
      text: `1 row, ${String(facts["reason"])}`,
      facts,
    }));
  }
  const many = rows.length === 1 ? "1 row" : `${rows.length} rows, where one is right: weir verify --partition ${row.p}`;
  const [sum] = await queryRows<{ readonly events: number; readonly minute: string }>(
    config,
    `SELECT sum(events) AS events, toString(toStartOfMinute(fromUnixTimestamp64Milli({eventTimeMs:Int64}, 'UTC'))) AS minute FROM user_activity_1min
     WHERE lane = {lane:String} AND user_id = {userId:UInt64} AND event_type = {eventType:String}
       AND minute = toStartOfMinute(fromUnixTimestamp64Milli({eventTimeMs:Int64}, 'UTC'))`,
    { userId: row.userId, eventType: row.event_type, eventTimeMs: row.eventTimeMs },
  );
  return [
    {
      stage: "ClickHouse events",
      status: "found",
      atMs: row.logTimeMs,
      text: `${many}, oseq ${row.oseq}, cut ${row.cut}`,
      facts: { rows },
    },
    {
      stage: "ClickHouse user_activity_1min",
      status: sum!.events > 0 ? "found" : "absent",
      atMs: null,
      text: `${sum!.events} events of user ${row.userId}, type ${row.event_type}, minute ${sum!.minute}`,
      facts: { ...sum },
    },
    await windowsStage(context, row),
  ];
}

async function windowsStage({ config }: InspectContext, { userId, eventTimeMs }: EventRow): Promise<Stage> {
  const windows = await queryRows<{ readonly kind: string; readonly start: string; readonly end: string; readonly events: number }>(
    config,
    `SELECT kind, toString(window_start) AS start, toString(window_end) AS end, events, value_sum FROM windows FINAL
     WHERE ${OURS} AND user_id = {userId:UInt64} AND window_start <= fromUnixTimestamp64Milli({eventTimeMs:Int64}, 'UTC')
       AND window_end > fromUnixTimestamp64Milli({eventTimeMs:Int64}, 'UTC') ORDER BY kind, start`,
    { userId, eventTimeMs },
  );
  const text = windows.map(({ kind, start, events }) => `${kind} of ${start}: ${events} events`).join("; ");
  return {
    stage: "ClickHouse windows",
    status: windows.length > 0 ? "found" : "waiting",
    atMs: null,
    text: windows.length > 0 ? text : "no window with it has closed",
    facts: { windows },
  };
}

export async function redisStages({ config }: InspectContext, row: EventRow): Promise<Stage[]> {
  const groups = new RedisGroups(config.redis);
  const { lane } = config;
  try {
    const redis = groups.of(row.p);
    await redis.connect();
    const mark = await redis.hash(markKey(config, "clean", row.p));
    const keys = [activityKey(lane, row.userId), ...(row.session_id === "" ? [] : [sessionKey(lane, row.session_id)])];
    const values = await Promise.all(
      keys.map(async (key): Promise<Stage> => {
        const [fields, ttlSeconds] = await Promise.all([redis.hash(key), redis.ttlSeconds(key)]);
        const isThere = Object.keys(fields).length > 0;
        const text = isThere ? `${Object.entries(fields).map(([name, value]) => `${name}=${value}`).join(" ")}, ${ttlSeconds} s to live` : "expired, or not written"; // prettier-ignore
        return { stage: `Redis ${key}`, status: isThere ? "found" : "absent", atMs: null, text, facts: { fields, ttlSeconds } };
      }),
    );
    const ttlSeconds = await redis.ttlSeconds(eventKey(lane, row.event_id));
    const isApplied = Number(mark["row"] ?? -1) >= row.oseq;
    return [
      {
        stage: "Redis mark",
        status: isApplied ? "found" : "waiting",
        atMs: mark["at"] === undefined ? null : Number(mark["at"]),
        text: `rows up to ${mark["row"] ?? "none"} are applied, this is ${row.oseq}`,
        facts: mark,
      },
      ...values,
      ...(ttlSeconds < 0
        ? []
        : [
            {
              stage: `Redis ${eventKey(lane, row.event_id)}`,
              status: "found" as const,
              atMs: null,
              text: `cached, ${ttlSeconds} s to live`,
              facts: { ttlSeconds },
            },
          ]),
    ];
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    return [{ stage: "Redis", status: "unknown", atMs: null, text: toError(thrown).message, facts: {} }];
  } finally {
    groups.close();
  }
}
