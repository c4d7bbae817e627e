/** Closed minutes on the real engine and the real Redis: the same rows however often and in whatever portions they are delivered. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import type { MinuteKind } from "#shared/events/minutes.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { CELL_WIDTH, COUNTER, decodePartial, encodePartial } from "#shared/events/partials.ts";
import { MinuteMerge } from "#processor/minutes/minute-merge.ts";
import { minuteRecords } from "#processor/minutes/minute-output.ts";
import { createdChannel, markKey, metricKey } from "#shared/read/hot-keys.ts";
import { createMinutesStore } from "#sinks/clickhouse/minutes-store.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import { MetricBatch } from "#sinks/redis/metric-batch.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import type { SinkStore } from "#sinks/runtime/partition-sink.ts";
import { costRow, metricRow, MINUTE_MS, minuteBlock, type MinuteRow, qualityRow } from "#test/support/minute-blocks.ts";
import { settles } from "#test/support/process.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { type Outcome, RunningPipeline } from "../cli/running-pipeline.ts";
import { outgoing, OutputLog } from "./output-log.ts";
import { SinksProcess } from "./sinks-process.ts";

const DATABASE = `weir_${uniqueLane().replace("-", "_")}`;
const encoder = new TextEncoder();

let clickhouse: Clickhouse;
let lane: string;

beforeAll(async () => {
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(clickhouse, DATABASE, { replicated: false });
});

afterAll(async () => {
  await clickhouse.command(`DROP DATABASE IF EXISTS ${DATABASE}`);
  await clickhouse.close();
});

beforeEach(() => {
  lane = uniqueLane();
});

/** As the sink's loop hands them over. */
function placed(list: readonly { readonly kind: MinuteKind; readonly count: number; readonly value: Uint8Array }[]): OutputRecord[] {
  let oseq = 1;
  return list.map(({ kind, count, value }, offset) => {
    const headers = [[HEADERS.kind, encoder.encode(kind)] as const];
    const record = { offset, timestampMs: Date.now(), key: null, value, headers, generation: 1, oseq, count, cut: 0, endsCut: false };
    oseq += count;
    return record;
  });
}

function recordsOf(list: readonly (readonly [kind: MinuteKind, rows: readonly MinuteRow[]])[]): OutputRecord[] {
  return placed(list.map(([kind, rows]) => ({ kind, count: rows.length, value: minuteBlock(kind, rows) })));
}

const table = (): SinkStore => {
  const provenance = { lane, generation: 1, partition: 0 };
  return createMinutesStore({ client: clickhouse, database: DATABASE, topic: `${lane}.metrics.minutes`, provenance });
};

/** Of the lane, in order, without FINAL where asked: parts as they lie there. */
const held = (name: string, columns: string, from = "FINAL"): Promise<Record<string, unknown>[]> =>
  clickhouse.query(`SELECT ${columns} FROM ${DATABASE}.${name} ${from} WHERE lane = {lane:String} ORDER BY oseq`, { lane });

const MINUTES: readonly (readonly [MinuteKind, readonly MinuteRow[]])[] = [0, 1, 2].flatMap((minute) => {
  const at = { minute: MINUTE_MS + minute * 60_000 };
  return [
    ["metrics", [metricRow({ ...at, value: 0.1 + minute }), metricRow({ ...at, source: null, event_type: null, value: null, count: 0 })]],
    ["quality", [qualityRow({ ...at, total: 2 ** 40 + minute, timely: 7 }), qualityRow({ ...at, total: 5, source: "äpi" })]],
    ["cost", [costRow({ ...at, usd: (minute + 1) / 4 })]],
  ] as const;
});

test("rows come out as they were written, once, however often and in whatever portions they are delivered", async () => {
  const records = recordsOf(MINUTES);
  const first = table();
  await first.resume(null);
  expect(await first.deliver(records.slice(0, 4))).toEqual({ offset: 4, oseq: 7 });
  // Another process, which does not know what the first had done.
  const second = table();
  await second.resume({ offset: 2, oseq: 4 });
  await second.deliver(records.slice(2, 5));
  await second.deliver(records.slice(5));
  // And a zombie with everything in one.
  const third = table();
  await third.resume(null);
  await third.deliver(records);
  const at = "toFloat64(toUnixTimestamp(minute)) * 1000 AS minute";
  const expected = (kind: MinuteKind): readonly MinuteRow[] =>
    MINUTES.filter(([each]) => each === kind).flatMap(([, rows]) =>
      rows.map((row) =>
        Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null && name !== "value" ? "" : value])),
      ),
    );
  const counts = (...names: readonly string[]): string => names.map((name) => `toFloat64(${name}) AS ${name}`).join(", ");
  expect(await held("metrics_1min", `${at}, metric, source, event_type, value, ${counts("count")}`, "")).toEqual(expected("metrics"));
  expect(
    await held(
      "quality_1min",
      `${at}, source, event_type, ${counts("total", "complete", "consistent", "timely", "unique", "accurate")}`,
      "",
    ),
  ).toEqual(expected("quality"));
  expect(await held("cost_1min", `${at}, source, destination, ${counts("events", "bytes")}, usd`, "")).toEqual(expected("cost"));
});

test("a server that knows a record's token but has lost its rows gets them after the restart", async () => {
  const records = recordsOf(MINUTES);
  const before = table();
  await before.resume(null);
  await before.deliver(records);
  for (const name of ["metrics_1min", "quality_1min", "cost_1min"])
    await clickhouse.command(`ALTER TABLE ${DATABASE}.${name} DELETE WHERE lane = {lane:String} SETTINGS mutations_sync = 1`, { lane });
  expect(await held("quality_1min", "oseq")).toEqual([]);
  const after = table();
  await after.resume(null);
  await after.deliver(records);
  const oseqs = await Promise.all(["metrics_1min", "quality_1min", "cost_1min"].map((name) => held(name, "toFloat64(oseq) AS oseq", "")));
  expect(
    oseqs
      .flat()
      .map(({ oseq }) => Number(oseq))
      .toSorted((a, b) => a - b),
  ).toEqual(Array.from({ length: 15 }, (_, i) => i + 1));
});

test("a planted defect of known share is measured back to within a hundredth of a percentage point, from partials to the view", async () => {
  const planted = { incomplete: 0.000_1, inconsistent: 0.003, untimely: 0.002, duplicate: 0.01, inaccurate: 0.000_3 };
  // Two partitions of different size: shares must weigh by events.
  const merge = new MinuteMerge({ closedMs: -Infinity, partitions: [0, 1].map(() => ({ markMs: -Infinity, offset: 0 })) });
  for (const [partition, total] of [900_000, 100_000].entries()) {
    const numbers = new Float64Array(CELL_WIDTH);
    numbers[COUNTER.total] = total;
    numbers[COUNTER.clean] = total;
    for (const [name, share] of Object.entries(planted)) numbers[COUNTER[name as keyof typeof planted]] = total * share;
    const cells = decodePartial(encodePartial({ minuteMs: MINUTE_MS, sources: ["web"], types: ["click"], numbers }));
    merge.add(partition, { offset: 0, markMs: MINUTE_MS + 60_000, cells });
  }
  const records = merge.close(merge.dueMs(new Set())).flatMap(minuteRecords);
  expect(records.map(({ kind }) => kind)).toEqual(["metrics", "quality", "cost"]);
  const store = table();
  await store.resume(null);
  await store.deliver(placed(records.map(({ kind, rows, value }) => ({ kind, count: rows, value }))));
  const [found] = await clickhouse.query<Record<string, number>>(
    `SELECT toFloat64(total) AS events, completeness, consistency, timeliness, uniqueness, accuracy FROM ${DATABASE}.quality WHERE lane = {lane:String}`,
    { lane },
  );
  expect(found!["events"]).toBe(1_000_000);
  for (const [name, share] of [
    ["completeness", planted.incomplete],
    ["consistency", planted.inconsistent],
    ["timeliness", planted.untimely],
    ["uniqueness", planted.duplicate],
    ["accuracy", planted.inaccurate],
  ] as const)
    // prettier-ignore
    expect(Math.abs(100 - found![name]! - 100 * share), name).toBeLessThan(0.01);
  expect((await held("cost_1min", "destination")).map(({ destination }) => destination)).toEqual(["clickhouse", "redis", "clean"]);
});

let redis: Redis | undefined;

afterEach(() => {
  redis?.close();
  redis = undefined;
});

test("Redis holds the newest minute of each series for ten minutes, and a replay puts nothing older over it", async () => {
  const connection = new Redis(inject("stack").redis);
  redis = connection;
  await connection.connect();
  const key = markKey({ lane, generation: 1 }, "minutes", 0);
  const store = (): SinkStore =>
    createHotValuesStore({
      redis: connection,
      markKey: key,
      generation: 1,
      createdChannel: createdChannel(lane),
      batch: () => new MetricBatch(lane),
    });
  const [first, second] = [store(), store()];
  await Promise.all([first.resume(null), second.resume(null)]);
  const records = recordsOf(MINUTES);
  await first.deliver(records);
  // A zombie that is still at the beginning: the mark refuses it.
  await second.deliver(records.slice(0, 3));
  const newest = { gen: "1", minute: String(MINUTE_MS + 120_000) };
  expect(await connection.hash(metricKey(lane, ["events", "web", "click"]))).toEqual({ ...newest, value: "2.1", count: "10" });
  expect(await connection.hash(metricKey(lane, ["quality.timeliness", "äpi"]))).toEqual({ ...newest, value: "100", count: "5" });
  expect(await connection.hash(metricKey(lane, ["cost.usd"]))).toEqual({ ...newest, value: "0.75", count: "10" });
  const ttl = await connection.ttlSeconds(metricKey(lane, ["cost.usd"]));
  expect(ttl).toBeGreaterThan(540);
  expect(ttl).toBeLessThanOrEqual(600);
});

test("weir quality weighs by events, marks what is below its target and says so in its exit code; weir cost adds up", async () => {
  const pipeline = new RunningPipeline(inject("stack"), { clickhouseDatabase: DATABASE, lane });
  try {
    const minute = Math.floor(Date.now() / 60_000) * 60_000;
    const hostile = "\u001b[2J";
    const store = table();
    await store.resume(null);
    await store.deliver(
      recordsOf([
        ["quality", [qualityRow({ minute, total: 999_999 }), qualityRow({ minute, total: 1, unique: 0, event_type: "purchase" })]],
        [
          "cost",
          [
            costRow({ minute, source: hostile }),
            costRow({ minute, usd: 0.5, destination: "redis" }),
            costRow({ minute: minute - 7_200_000 }),
          ],
        ],
      ]),
    );
    const [quality, byType, cost, none] = await Promise.all(
      [["quality"], ["quality", "--by", "type", "--json"], ["cost"], ["cost", "--since", "1ms"]].map((command) => pipeline.weir(command)),
    ) as [Outcome, Outcome, Outcome, Outcome]; // prettier-ignore
    expect(none).toMatchObject({ code: 3, err: expect.stringContaining("no minute has closed") as string });
    expect(quality.code, quality.err).toBe(3);
    expect(quality.out).toMatch(/^web +1000000 +100\.0000 +100\.0000 +100\.0000 +99\.9999 x +100\.0000$/m);
    const { rows } = JSON.parse(byType.out) as { rows: { of: string[]; percents: number[] }[] };
    expect(rows.map(({ of, percents }) => of.concat(String(percents[3])))).toEqual([["web", "click", "100"], ["web", "purchase", "0"]]); // prettier-ignore
    expect(cost.code, cost.err).toBe(0);
    expect(cost.out).not.toContain("\u001b");
    expect(cost.out.split("\n").slice(0, 3).map((line) => line.replaceAll(/ +/g, " "))).toEqual(["source events bytes usd", "web 10 4000 0.500000", "\\u{1b}[2J 10 4000 0.250000"]); // prettier-ignore
  } finally {
    await pipeline.stop();
  }
});

test("kill -9 of the sinks between an insert and its commit: every minute once in ClickHouse, the newest in Redis", async () => {
  const log = await OutputLog.open();
  lane = log.lane;
  const { kafka, clickhouse: address, redis: redisUrl } = inject("stack");
  const config = { lane, partitions: 1, kafka, clickhouse: address, redis: redisUrl, clickhouseDatabase: DATABASE };
  const at = { topic: topicName(lane, "minutes"), partition: 0 };
  const records = recordsOf(MINUTES);
  const groups = [log.group("sink-clickhouse"), log.group("sink-redis")];
  const ends = async (): Promise<number[]> =>
    (await Promise.all(groups.map((group) => log.kafka.committedOffsets(group, [at], { requireStable: false })))).map(
      ([found]) => found!.offset,
    );
  let next: SinksProcess | undefined;
  try {
    await log.kafka.produce(
      at,
      records.map(({ value, oseq, count }, i) => outgoing({ value, oseq, count, more: { [HEADERS.kind]: MINUTES[i]![0] } })),
    );
    const doomed = new SinksProcess(config, "after-insert:kill:5");
    expect((await doomed.exit).signal, doomed.log).toBe("SIGKILL");
    expect((await ends())[0]).toBeLessThan(records.length);
    next = new SinksProcess(config);
    await settles(async () => expect(await ends(), next!.log).toEqual([records.length, records.length]), {
      limitMs: 60_000,
      unless: () => next!.hasEnded,
    });
    expect(await next.leave()).toBe(0);
  } finally {
    next?.kill();
    await log.kafka.close();
  }
  const rows = await Promise.all(["metrics_1min", "quality_1min", "cost_1min"].map((name) => held(name, "toFloat64(oseq) AS oseq", "")));
  expect(rows.flat().map(({ oseq }) => Number(oseq)).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1)); // prettier-ignore
  redis = new Redis(redisUrl);
  await redis.connect();
  expect((await redis.hash(metricKey(lane, ["cost.usd"])))["minute"]).toBe(String(MINUTE_MS + 120_000));
});
