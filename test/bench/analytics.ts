/**
 * The questions of docs/ANALYSTS.md over rows in the production schema, one query at a time on a server of its own: how long each takes, how many rows
 * it reads, how many bytes an event takes on disk beside its JSON text. The rows are made in ClickHouse and put in by blocks of a cut's size, in order
 * of log time, views and projections included; merges go on beside the first queries as they do in life.
 *
 * The page cache is warm: what is measured is the engine, not the disk. The users asked about differ from run to run of a query: of the busiest, of the
 * usual and of the rare ones. Not measured: the pipeline's own inserts at the same time, more than one query at a time, replicas.
 */
import { statfsSync } from "node:fs";
import { startClickhouse } from "#local/services/clickhouse.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { fillRows } from "./analytics-rows.ts";
import { readQuestions } from "./analyst-questions.ts";
import { makeBenchFolder } from "./bench-folder.ts";

const EVENTS = 10_000_000;
const EVENTS_MAX = 100_000_000;
const HOUR_MS = 3_600_000;
/** One hour of a busy pipeline, whatever the number: more events are more an hour. */
const SPAN_MS = 24 * HOUR_MS;
const ROUNDS = 20;
/** With the merges' extra room and the windows. */
const DISK_BYTES_PER_EVENT = 250;
const DATABASE = "weir";
/** What producers send around the values: names, quotes, an id of 36 and a time of 24 characters. */
const JSON_FRAME_BYTES =
  '{"event_id":"","event_time":"","user_id":,"event_type":"","source":"","session_id":"","device_info":"","geo_location":"","schema_version":1,"properties":}'
    .length +
  36 +
  24;
/** They read a column or more of every row of their period; the others are answered from what is summed up, sorted by the user or indexed. */
const FULL_SCANS: ReadonlySet<number> = new Set([4, 9]);

export interface QuestionCase {
  readonly question: string;
  readonly ms_p50: number;
  readonly ms_p99: number;
  readonly rows_read: number;
}

export interface AnalyticsResult {
  readonly name: "analytics";
  readonly events: number;
  readonly events_per_second_filled: number;
  readonly bytes_per_event: number;
  readonly json_bytes_per_event: number;
  readonly times_smaller: number;
  readonly slowest_keyed_ms_p99: number;
  readonly slowest_scan_seconds_per_100m: number;
  readonly exact: boolean;
  readonly cases: readonly QuestionCase[];
}

export async function run({ events = EVENTS }: { readonly events?: number }): Promise<AnalyticsResult> {
  if (events > EVENTS_MAX) throw new Error(`--events: at most ${EVENTS_MAX} for this bench`);
  const dir = makeBenchFolder();
  const { bavail, bsize } = statfsSync(dir);
  if (bavail * bsize < events * DISK_BYTES_PER_EVENT) {
    throw new Error(
      `${events} events want ${Math.ceil((events * DISK_BYTES_PER_EVENT) / 1e9)} GB below ${dir}, ${Math.floor((bavail * bsize) / 1e9)} are free`,
    );
  }
  const server = await startClickhouse({ dir });
  const client = new Clickhouse({ url: server.address, user: "default", password: "", requestTimeoutMs: 600_000 });
  try {
    return await measure(client, server.address, events);
  } finally {
    await client.close();
    await server.stop();
  }
}

async function measure(client: Clickhouse, url: string, events: number): Promise<AnalyticsResult> {
  await migrateClickhouse(client, DATABASE, { replicated: false });
  const toMs = Math.floor(Date.now() / HOUR_MS) * HOUR_MS;
  const fromMs = toMs - SPAN_MS;
  const users = Math.min(1_000_000, Math.ceil(events / 20));
  const tookMs = await fillRows({
    client,
    database: DATABASE,
    events,
    users,
    fromMs,
    spanMs: SPAN_MS,
    blockRows: Math.min(500_000, Math.ceil(events / 10)),
  });
  const [counts] = await client.query<{ rows: number; viewed: number; projected: number; json: number }>(
    `SELECT (SELECT toFloat64(count()) FROM ${DATABASE}.events) AS rows, (SELECT toFloat64(sum(events)) FROM ${DATABASE}.user_activity_1min) AS viewed,
            (SELECT toFloat64(sum(n)) FROM (SELECT toStartOfMinute(event_time) AS m, count() AS n FROM ${DATABASE}.events GROUP BY m)) AS projected,
            (SELECT avg(length(properties) + length(device_info) + length(geo_location) + length(session_id) + length(source) + length(event_type) + length(toString(user_id)) + ${JSON_FRAME_BYTES})
             FROM (SELECT * FROM ${DATABASE}.events LIMIT 100000)) AS json`,
  );
  const cases: QuestionCase[] = [];
  let isAnswered = true;
  for (const { title, sql } of readQuestions(DATABASE)) {
    const times: number[] = [];
    let rowsRead = 0;
    for (let round = 0; round <= ROUNDS; round++) {
      const from = round % 2 === 0 ? fromMs : toMs - HOUR_MS;
      const user = [3, Math.ceil(users / 100), Math.ceil(users / 2)][round % 3]!;
      const { ms, read, rows } = await ask(url, sql, { user, from, to: toMs, oseq: 1 + ((round * 7_919) % events) }, client);
      // The first one loads marks and compiles.
      if (round === 0) isAnswered &&= rows > 0;
      else times.push(ms);
      rowsRead = Math.max(rowsRead, read);
    }
    times.sort((a, b) => a - b);
    cases.push({ question: title, ms_p50: rounded(times[ROUNDS >> 1]!), ms_p99: rounded(times.at(-1)!), rows_read: rowsRead });
  }
  const [disk] = await client.query<{ bytes: number }>(
    `SELECT toFloat64(sum(bytes_on_disk)) AS bytes FROM system.parts WHERE database = '${DATABASE}' AND table = 'events' AND active`,
  );
  const bytes = disk!.bytes / events;
  const keyed = cases.filter((_, i) => !FULL_SCANS.has(i + 1));
  const scans = cases.filter((_, i) => FULL_SCANS.has(i + 1));
  return {
    name: "analytics",
    events,
    events_per_second_filled: Math.round(events / (tookMs / 1_000)),
    bytes_per_event: rounded(bytes),
    json_bytes_per_event: rounded(counts!.json),
    times_smaller: rounded(counts!.json / bytes),
    slowest_keyed_ms_p99: Math.max(...keyed.map(({ ms_p99 }) => ms_p99)),
    slowest_scan_seconds_per_100m: rounded((Math.max(...scans.map(({ ms_p50 }) => ms_p50)) / 1_000) * (1e8 / events)),
    exact: isAnswered && counts!.rows === events && counts!.viewed === events && counts!.projected === events,
    cases,
  };
}

interface Asked {
  readonly user: number;
  readonly from: number;
  readonly to: number;
  readonly oseq: number;
}

/** By plain HTTP: the summary of what was read stands in the answer's head. */
async function ask(
  address: string,
  sql: string,
  { user, from, to, oseq }: Asked,
  client: Clickhouse,
): Promise<{ readonly ms: number; readonly read: number; readonly rows: number }> {
  const url = new URL(address);
  const time = (ms: number): string => new Date(ms).toISOString().slice(0, 19).replace("T", " ");
  for (const [name, value] of Object.entries({ user: String(user), from: time(from), to: time(to) }))
    url.searchParams.set(`param_${name}`, value);
  if (sql.includes("{event:UUID}")) {
    const [event] = await client.query<{ id: string }>(`SELECT event_id AS id FROM ${DATABASE}.events WHERE oseq = ${oseq}`);
    url.searchParams.set("param_event", event!.id);
  }
  url.searchParams.set("wait_end_of_query", "1");
  const startedMs = performance.now();
  const answer = await fetch(url, { method: "POST", body: `${sql} FORMAT JSONCompactEachRow` });
  const text = await answer.text();
  const ms = performance.now() - startedMs;
  if (!answer.ok) throw new Error(text.slice(0, 500));
  const summary = JSON.parse(answer.headers.get("x-clickhouse-summary") ?? "{}") as { read_rows?: string };
  return { ms, read: Number(summary.read_rows ?? 0), rows: text === "" ? 0 : text.trimEnd().split("\n").length };
}

function rounded(value: number): number {
  return Math.round(value * 100) / 100;
}
