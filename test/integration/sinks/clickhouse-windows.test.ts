import { afterAll, afterEach, beforeAll, beforeEach, expect, inject, test } from "vitest";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { createDeadLettersStore } from "#sinks/clickhouse/dead-letters-store.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { createWindowsStore } from "#sinks/clickhouse/windows-store.ts";
import type { SinkStore } from "#sinks/runtime/partition-sink.ts";
import { BASE_MS, USERS } from "#test/support/sink-rows.ts";
import { OutputLog } from "./output-log.ts";

const DATABASE = "weir_test_sink_windows";

let log: OutputLog;
let clickhouse: Clickhouse;

beforeAll(async () => {
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(clickhouse, DATABASE, { replicated: false });
});

afterAll(async () => {
  await clickhouse.command(`DROP DATABASE ${DATABASE}`);
  await clickhouse.close();
});

beforeEach(async () => {
  log = await OutputLog.open();
});

afterEach(async () => {
  await log.kafka.close();
});

/** Counts the deliveries that end in an insert. */
function counted(store: SinkStore): SinkStore & { deliveries: number } {
  return {
    ...store,
    deliveries: 0,
    deliver(records) {
      this.deliveries += 1;
      return store.deliver(records);
    },
  };
}

const windowsStore = (): SinkStore => createWindowsStore(clickhouse, `${DATABASE}.windows`, log.partition("windows").topic, log.provenance);
const lettersStore = (): SinkStore =>
  createDeadLettersStore(clickhouse, `${DATABASE}.dead_letters`, log.partition("dlq").topic, log.provenance);

test("a closed window comes out as it was written, once, however often and in whatever portions it is delivered", async () => {
  for (let record = 0; record < 10; record++) await log.windows(3);
  await log.drain("windows", `${log.lane}-a`, windowsStore());
  await log.windows(2);
  // The second group takes in one portion what the first took in two.
  await log.drain("windows", `${log.lane}-b`, windowsStore());
  const rows = await clickhouse.query<Record<string, unknown>>(
    `SELECT kind, toFloat64(user_id) AS user_id, toUnixTimestamp64Milli(window_start)::Float64 AS start, toUnixTimestamp64Milli(window_end)::Float64 AS end, events,
            value_count, value_sum, value_min, value_max, toUnixTimestamp64Milli(first_event)::Float64 AS first, toUnixTimestamp64Milli(last_event)::Float64 AS last,
            toFloat64(oseq) AS oseq
     FROM ${DATABASE}.windows FINAL WHERE lane = {lane:String} ORDER BY oseq`,
    { lane: log.lane },
  );
  expect(rows).toEqual(
    Array.from({ length: 32 }, (_, i) => {
      const oseq = i + 1;
      const start = BASE_MS + oseq * 300_000;
      return {
        kind: "tumbling_5m",
        user_id: oseq % USERS,
        start,
        end: start + 300_000,
        events: oseq,
        value_count: oseq % 2,
        value_sum: oseq / 2,
        value_min: oseq % 2 === 0 ? null : 1,
        value_max: oseq % 2 === 0 ? null : 2,
        first: start,
        last: start + 1,
        oseq,
      };
    }),
  );
});

test("a sparse history closes windows of more months at once than ClickHouse allows by default", async () => {
  await log.windows(150, 31 * 86_400_000);
  await log.drain("windows", `${log.lane}-a`, windowsStore());
  const [found] = await clickhouse.query<{ rows: number; months: number }>(
    `SELECT toFloat64(count()) AS rows, toFloat64(uniqExact(toYYYYMM(window_start))) AS months FROM ${DATABASE}.windows WHERE lane = {lane:String}`,
    { lane: log.lane },
  );
  expect(found!.rows).toBe(150);
  expect(found!.months).toBeGreaterThan(100);
});

test("many small records become few inserts", async () => {
  for (let record = 0; record < 40; record++) await log.windows(1);
  const store = counted(windowsStore());
  await log.drain("windows", `${log.lane}-a`, store);
  expect(store.deliveries).toBeLessThanOrEqual(2);
});

test("a dead letter keeps reason, pointer, place and the very bytes, once, however often it is delivered", async () => {
  const bytes = new Uint8Array([0xff, 0x00, 0x7b, 0xc3]);
  await log.deadLetter(bytes);
  await log.deadLetter(null);
  await log.drain("dlq", `${log.lane}-a`, lettersStore());
  await log.deadLetter(new TextEncoder().encode("{"));
  await log.drain("dlq", `${log.lane}-b`, lettersStore());
  const rows = await clickhouse.query<Record<string, unknown>>(
    `SELECT toFloat64(oseq) AS oseq, reason, pointer, hex(value) AS value, toFloat64(source_offset) AS source_offset, p, gen
     FROM ${DATABASE}.dead_letters FINAL WHERE lane = {lane:String} ORDER BY oseq`,
    { lane: log.lane },
  );
  const letter = { reason: "json.syntax", pointer: "/x", p: 0, gen: 1 };
  expect(rows).toEqual([
    { ...letter, oseq: 1, value: "FF007BC3", source_offset: 10 },
    { ...letter, oseq: 2, value: "", source_offset: 20 },
    { ...letter, oseq: 3, value: "7B", source_offset: 30 },
  ]);
});
