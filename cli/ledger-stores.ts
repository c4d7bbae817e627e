/** The stores beside the table of events: what each holds against the committed log. */
import { IndependentStream } from "#shared/clients/kafka/independent-stream.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { IndependentRecord } from "#shared/clients/kafka/independent-reader.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { RedisGroups } from "#shared/clients/redis/groups.ts";
import type { Config } from "#shared/config/config.ts";
import { decodeWindows } from "#shared/events/block.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import { markKey } from "#shared/read/hot-keys.ts";
import { StoreRecount, type StoreResult } from "#shared/ledger/store-recount.ts";
import type { Mismatch, Verdict } from "#shared/ledger/verdict.ts";
import { RowCursor } from "./ledger-cursor.ts";
import { pause } from "./ledger-wait.ts";
import { type PartitionProgress, readProgress } from "./progress.ts";
import { queryRows, readNumbers } from "./table-rows.ts";

/** One line of the recount: what was compared, and how it came out. */
export interface Check {
  readonly name: string;
  readonly verdict: Verdict;
  readonly detail: string;
}

export interface StoreFindings {
  readonly check: Check;
  readonly mismatches: readonly Mismatch[];
}

const VIEW = "user_activity_1min";
/** Ten seconds: an insert and its views take a tenth of one. */
const VIEW_LOOKS = 100;
const SETTLED_LOOKS = 20;
const NAMED = 5;
/** A Redis that was emptied is filled again within seconds; one that nobody fills is not waited for. */
const NO_MARK_MS = 3_000;

const TABLES = {
  windows: {
    columns: [
      "toFloat64(oseq)",
      "toFloat64(bitAnd(user_id, 4294967295))",
      "toFloat64(bitShiftRight(user_id, 32))",
      "toFloat64(toUnixTimestamp64Milli(window_start))",
      "toFloat64(events)",
      "toFloat64(value_count)",
      "ifNull(value_sum, nan)",
    ],
    decode: ({ value }: IndependentRecord) => {
      const columns = decodeWindows(value ?? new Uint8Array(0));
      return {
        rows: columns.rows,
        columns: (i: number) => [
          columns.userId[2 * i]!,
          columns.userId[2 * i + 1]!,
          columns.windowStartMs[i]!,
          columns.events[i]!,
          columns.valueCount[i]!,
          columns.valueSum[i]!,
        ],
      };
    },
  },
  dlq: {
    columns: ["toFloat64(oseq)", "toFloat64(source_offset)"],
    decode: ({ headers }: IndependentRecord) => ({
      rows: 1,
      columns: () => [Number(headers[HEADERS.source]?.toString().split("/").at(-1) ?? 0)],
    }),
  },
} as const;
const TABLE_NAMES = { windows: "windows", dlq: "dead_letters" } as const;

/** Every row of windows.results or events.dlq against the table made of it, up to what the processor had committed. */
export async function compareTable(
  config: Config,
  role: keyof typeof TABLES,
  progress: readonly PartitionProgress[],
  from?: (partition: number) => number,
): Promise<StoreFindings> {
  const { columns, decode } = TABLES[role];
  const table = TABLE_NAMES[role];
  const mismatches: Mismatch[] = [];
  let rows = 0;
  for (const { partition, progress: committed } of progress) {
    const last = committed?.oseq[role] ?? 0;
    const place = { topic: topicName(config.lane, role), partition, fromOffset: from?.(partition) ?? 0 };
    const cursor = new RowCursor({
      stream: await IndependentStream.open(await kafkaOptions(config), place),
      name: `${place.topic}, partition ${partition}`,
      generation: config.generation,
      decode,
      key: (_columns, _row, oseq) => oseq,
    });
    const recount = new StoreRecount(columns.length - 1);
    const facts = new Float64Array(columns.length - 1);
    try {
      for (let first = await cursor.peek(); first !== null && first <= last; first = await cursor.peek()) {
        const begin = first;
        const end = Math.min(begin + recount.size, last + 1);
        recount.begin(begin);
        await cursor.upTo(end, (numbers, row, oseq) => {
          facts.set(numbers(row));
          recount.expect(oseq, facts);
        });
        await readNumbers(
          config,
          {
            columns,
            from: `${table} FINAL WHERE lane = {lane:String} AND gen = {generation:UInt32} AND p = {partition:UInt16} AND oseq >= {first:UInt64} AND oseq < {end:UInt64}`,
            parameters: { partition, first: begin, end },
          },
          (found) => recount.find(found[0]!, found.subarray(1)),
        );
        recount.finishRange();
      }
    } finally {
      await cursor.close();
    }
    const result = recount.result();
    rows += result.rows;
    mismatches.push(...cursor.mismatches, ...storeMismatches(table, place.topic, partition, result));
  }
  return { check: checkOf(`${topicName(config.lane, role)} in ClickHouse's ${table}`, rows, mismatches, "rows"), mismatches };
}

function storeMismatches(table: string, topic: string, partition: number, { rows, examples, ...counts }: StoreResult): Mismatch[] {
  return (["missing", "extra", "altered"] as const)
    .filter((kind) => counts[kind] > 0)
    .map((kind) => {
      const what = { missing: "lacks rows", extra: "has rows too many", altered: "has rows that say something else" }[kind];
      const numbers = examples[kind].join(", ");
      const claimed = kind === "missing" ? rows - counts.missing : rows + (kind === "extra" ? counts.extra : -counts.altered);
      return { what: `${table}, partition ${partition}: ${what} than ${topic}, oseq ${numbers}; rows`, recounted: rows, claimed };
    });
}

function checkOf(name: string, counted: number, mismatches: readonly Mismatch[], unit: string): Check {
  if (mismatches.length > 0) return { name, verdict: "unbalanced", detail: `${counted} ${unit}, ${mismatches.length} findings` };
  return counted === 0
    ? { name, verdict: "unknown", detail: `there were no ${unit}` }
    : { name, verdict: "balanced", detail: `${counted} ${unit}` };
}

/**
 * The materialised view adds up to the table under it, short of the live lane's 90 days, since the two tables drop expired rows each in its own
 * time. While a sink writes, the view is a moment behind: rows that it lacks or has twice keep the sums apart for good, a write in flight only
 * until it ends, so one equal pair is proof and the look is repeated until then. Under a load where some insert is always in flight, the live
 * lane's settled minutes are compared instead: an event older than ten minutes would be late, so no row can come to them any more.
 */
export async function compareView(config: Config, stop: AbortSignal | undefined): Promise<StoreFindings> {
  const kept = (minute: string): string => `lane = {lane:String} AND (lane != 'live' OR ${minute} > now() - INTERVAL 80 DAY)`;
  const ofRow = "toStartOfMinute(toDateTime(event_time, 'UTC'))";
  const settled = (minute: string): string => `${minute} < now() - INTERVAL 10 MINUTE`;
  const name = `ClickHouse's events in ${VIEW}`;
  for (let looks = 1; ; looks++) {
    const [sums] = await queryRows<{ readonly view: readonly [number, number]; readonly table: readonly [number, number] }>(
      config,
      `SELECT (SELECT (sum(events), sumIf(events, ${settled("minute")})) FROM ${VIEW} WHERE ${kept("minute")}) AS view,
              (SELECT (count(), countIf(${settled(ofRow)})) FROM events WHERE ${kept(ofRow)}) AS table`,
    );
    const [view, settledView] = sums!.view;
    const [table, settledTable] = sums!.table;
    const isSettled = looks >= SETTLED_LOOKS && config.lane === "live" && settledView === settledTable && view < table;
    if (view === table || isSettled) return { check: checkOf(name, table, [], "events"), mismatches: [] };
    if (looks === VIEW_LOOKS) {
      const minutes = await queryRows<{ readonly at: string; readonly view: number; readonly table: number }>(
        config,
        `SELECT toString(minute) AS at, sum(v) AS view, sum(t) AS table FROM
           (SELECT minute, sum(events) AS v, 0 AS t FROM ${VIEW} WHERE ${kept("minute")} GROUP BY minute
            UNION ALL SELECT ${ofRow} AS minute, 0 AS v, count() AS t FROM events WHERE ${kept(ofRow)} GROUP BY minute)
         GROUP BY minute HAVING view != table ORDER BY minute LIMIT ${NAMED}`,
      );
      const mismatches = [
        { what: `events in ${VIEW}`, recounted: table, claimed: view },
        ...minutes.map((each) => ({ what: `events in ${VIEW}, minute ${each.at}`, recounted: each.table, claimed: each.view })),
      ];
      return { check: checkOf(name, table, mismatches, "events"), mismatches };
    }
    await pause(stop);
  }
}

/**
 * The closed 5-minute windows add up to the clean rows in them: every clean row is in exactly one. Only windows that the committed watermark has
 * passed are looked at; a row that came to one of them later would be late.
 */
export async function compareWindowSums(config: Config, progress: readonly PartitionProgress[]): Promise<StoreFindings> {
  const name = "ClickHouse's events in its 5-minute windows";
  const ours = "lane = {lane:String} AND gen = {generation:UInt32} AND p = {partition:UInt16}";
  const mismatches: Mismatch[] = [];
  let events = 0;
  for (const { partition, progress: committed } of progress) {
    const watermarkMs = committed?.watermarkMs ?? null;
    if (watermarkMs === null) continue;
    const closed = (start: string): string =>
      `${start} + INTERVAL 5 MINUTE < fromUnixTimestamp64Milli({watermarkMs:Int64}, 'UTC') AND (lane != 'live' OR ${start} > now() - INTERVAL 80 DAY)`;
    const start = "toStartOfInterval(event_time, INTERVAL 5 MINUTE)";
    const from = `(SELECT toDateTime(window_start, 'UTC') AS start, sum(events) AS w, 0 AS e FROM windows FINAL
        WHERE ${ours} AND kind = 'tumbling_5m' AND ${closed("window_start")} GROUP BY start
       UNION ALL SELECT toDateTime(${start}, 'UTC') AS start, 0 AS w, count() AS e FROM events WHERE ${ours} AND ${closed(start)} GROUP BY start)`;
    const parameters = { partition, watermarkMs };
    const [sum] = await queryRows<{ readonly events: number }>(config, `SELECT sum(e) AS events FROM ${from}`, parameters);
    events += sum!.events;
    const off = await queryRows<{ readonly at: string; readonly windows: number; readonly events: number }>(
      config,
      `SELECT toString(start) AS at, sum(w) AS windows, sum(e) AS events FROM ${from} GROUP BY start HAVING windows != events ORDER BY start LIMIT ${NAMED}`,
      parameters,
    );
    for (const { at, windows, events: rows } of off)
      mismatches.push({ what: `windows, partition ${partition}: events in tumbling_5m of ${at}`, recounted: rows, claimed: windows });
  }
  return { check: checkOf(name, events, mismatches, "events"), mismatches };
}

const REDIS_ROLES = ["clean", "windows"] as const;

/** Marks reach what was committed, and none is ahead of the log: a mark ahead would have Redis refuse rows that it never had. */
export async function compareRedis(
  options: { readonly kafka: Kafka; readonly config: Config; readonly stop?: AbortSignal | undefined },
  progress: readonly PartitionProgress[],
  deadline: number,
): Promise<StoreFindings> {
  const { kafka, config, stop } = options;
  const name = "Redis' marks";
  const wanted = progress.flatMap(({ partition, progress: committed }) =>
    REDIS_ROLES.map((role) => ({ role, partition, oseq: committed?.oseq[role] ?? 0 })).filter(({ oseq }) => oseq > 0),
  );
  if (wanted.length === 0) return { check: { name, verdict: "unknown", detail: "there were no rows" }, mismatches: [] };
  const redis = new RedisGroups(config.redis);
  try {
    await Promise.all(redis.all.map((group) => group.connect()));
    const read = (): Promise<number[]> =>
      Promise.all(
        wanted.map(async ({ role, partition }) => Number((await redis.of(partition).hash(markKey(config, role, partition)))["row"])),
      );
    const began = performance.now();
    let marks = await read();
    const isBehind = (): boolean => wanted.some(({ oseq }, i) => !(marks[i]! >= oseq));
    const patienceMs = (): number => (marks.every(Number.isNaN) ? Math.min(deadline, began + NO_MARK_MS) : deadline);
    while (isBehind() && performance.now() < patienceMs()) {
      await pause(stop);
      marks = await read();
    }
    if (marks.every(Number.isNaN))
      return { check: { name, verdict: "unknown", detail: "no mark: nothing writes to Redis" }, mismatches: [] };
    const now = await readProgress(kafka, config);
    const mismatches = wanted.flatMap(({ role, partition, oseq }, i): Mismatch[] => {
      const mark = marks[i]!;
      const committed = now[partition]?.progress?.oseq[role] ?? 0;
      const where = `Redis' mark of ${topicName(config.lane, role)}, partition ${partition}`;
      if (mark > committed) return [{ what: `${where} is ahead of the log, whose last row is`, recounted: committed, claimed: mark }];
      if (mark >= oseq) return [];
      return [{ what: `${where} is behind; last committed row`, recounted: oseq, claimed: Number.isNaN(mark) ? 0 : mark }];
    });
    return { check: checkOf(name, wanted.length, mismatches, "positions"), mismatches };
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    return { check: { name, verdict: "unknown", detail: toError(thrown).message }, mismatches: [] };
  } finally {
    redis.close();
  }
}
