/** The checker itself: each fault is planted on the real servers, and `weir verify` must name it and its place. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { exchange } from "#local/services/running-server.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { NumberedKafka } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, topicName } from "#shared/events/names.ts";
import { markKey } from "#shared/read/hot-keys.ts";
import { settles } from "#test/support/process.ts";
import { RunningPipeline } from "./running-pipeline.ts";

interface Verified {
  readonly verdict: string;
  readonly totals: Readonly<Record<string, number>>;
  readonly checks: readonly { readonly name: string; readonly verdict: string }[];
  readonly mismatches: readonly { readonly what: string; readonly recounted: number; readonly claimed: number }[];
  readonly partitions: readonly {
    readonly partition: number;
    readonly raw: number;
    readonly examples: Readonly<Record<string, readonly number[]>>;
    readonly minutes: readonly Readonly<Record<string, number>>[];
  }[];
}

const OLD = 300;
const NEW = 100;
const EXTRA = 10;

let pipeline: RunningPipeline;
let kafka: NumberedKafka;

const idOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
const eventOf = (n: number, timeMs: number, change: object = {}): string =>
  JSON.stringify({
    event_id: idOf(n),
    event_time: new Date(timeMs).toISOString(),
    user_id: 1 + (n % 20),
    event_type: "page_view",
    source: "web",
    properties: { n },
    ...change,
  });

async function verified(code: number, args: readonly string[] = []): Promise<Verified> {
  const outcome = await pipeline.weir(["verify", "--json", "--timeout", "60s", ...args]);
  expect(outcome, `${outcome.err}\n${outcome.out.slice(0, 3_000)}\n${pipeline.log}`).toMatchObject({ code });
  return JSON.parse(outcome.out) as Verified;
}

const verdictOf = ({ checks }: Verified, name: RegExp): string | undefined => checks.find((check) => name.test(check.name))?.verdict;
const where = (table: string): string => `${table} WHERE lane = '${pipeline.config.lane}'`;

beforeAll(async () => {
  pipeline = new RunningPipeline(inject("stack"));
  await pipeline.start();
  kafka = await openKafka({ ...(await kafkaOptions(pipeline.config)), clientId: "verify-test" });
});

afterAll(async () => {
  await kafka.close();
  await pipeline.stop();
});

test("nothing produced: every part says unknown, none says balanced", async () => {
  const result = await verified(3);
  expect(result.verdict).toBe("unknown");
  for (const name of [/every offset/, /own counts/, /windows/, /dead_letters/, /Redis/]) expect(verdictOf(result, name)).toBe("unknown");
});

describe("with events", () => {
  beforeAll(async () => {
    const nowMs = Date.now();
    const oldMs = nowMs - 1_800_000;
    const lines = [
      ...Array.from({ length: OLD }, (_, n) => eventOf(n, oldMs + n)),
      ...Array.from({ length: EXTRA }, (_, n) => eventOf(n, oldMs + n)),
      ...Array.from({ length: EXTRA }, (_, n) => eventOf(10_000 + n, oldMs, { event_id: "none" })),
      // Half an hour later: the windows of the first ones close.
      ...Array.from({ length: NEW }, (_, n) => eventOf(20_000 + n, nowMs + n)),
      ...Array.from({ length: EXTRA }, (_, n) => eventOf(30_000 + n, oldMs)),
    ];
    const sent = await pipeline.weir(["send", "-"], { input: `${lines.join("\n")}\n` });
    expect(sent, sent.err).toMatchObject({ code: 0 });
  });

  test("all parts balance, with the numbers that were sent, and the minutes add up", async () => {
    const result = await verified(0);
    expect(result.mismatches).toEqual([]);
    expect(result.totals).toMatchObject({
      raw: OLD + NEW + 3 * EXTRA,
      clean: OLD + NEW,
      duplicate: EXTRA,
      deadLettered: EXTRA,
      late: EXTRA,
      lost: 0,
      doubled: 0,
    });
    expect(new Set(result.checks.map(({ verdict }) => verdict))).toEqual(new Set(["balanced"]));
    for (const kind of ["raw", "clean", "duplicate", "deadLettered", "late", "lost"]) {
      const minutes = result.partitions.flatMap((partition) => partition.minutes);
      expect(minutes.reduce((sum, minute) => sum + minute[kind]!, 0)).toBe(result.totals[kind]);
    }
  });

  test("one partition, and the log from an offset or a time on, are recounted alone; duplicates find originals before it", async () => {
    const whole = await verified(0);
    const of = (partition: number): number => whole.partitions[partition]!.raw;
    expect(of(0)).toBeGreaterThan(20);
    expect(await verified(0, ["--partition", "1"])).toMatchObject({ totals: { raw: of(1) } });
    // The originals of its duplicates lie before this offset.
    const late = await verified(0, ["--partition", "0", "--since", String(of(0) - 15)]);
    expect(late.totals).toMatchObject({ raw: 15, lost: 0, doubled: 0 });
    expect((await verified(0, ["--since", "1h"])).totals["raw"]).toBe(OLD + NEW + 3 * EXTRA);
    expect(await verified(3, ["--since", new Date(Date.now() + 60_000).toISOString()])).toMatchObject({ verdict: "unknown" });
  });

  test("--every looks again until Ctrl-C, and leaves what it found for the status page", async () => {
    const child = pipeline.spawnWeir(["verify", "--json", "--since", "1h", "--every", "100ms"]);
    let out = "";
    child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
    await settles(() => expect(out.split("\n").length).toBeGreaterThan(2), { limitMs: 60_000 });
    child.kill("SIGINT");
    expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(130);
    const left = JSON.parse(readFileSync(join(pipeline.config.dataDir, "verify.json"), "utf8")) as Record<string, unknown>;
    expect(left).toMatchObject({ verdict: "balanced", since: "1h", lost: 0, doubled: 0 });
    expect(left["minutes"]).toContainEqual(expect.objectContaining({ partition: 0, minute: expect.any(String), raw: expect.any(Number) }));
  });

  test("two rows that changed places in ClickHouse, with every count as before", async () => {
    const rows = (await pipeline.sql(`SELECT source_offset, event_id FROM ${where("events")} AND p = 0 ORDER BY source_offset LIMIT 2`))
      .split("\n")
      .map((line) => line.split("\t") as [string, string]);
    const swap = (first: string, second: string): Promise<string> =>
      pipeline.sql(
        `ALTER TABLE events UPDATE event_id = if(source_offset = ${rows[0]![0]}, toUUID('${first}'), toUUID('${second}'))
         WHERE lane = '${pipeline.config.lane}' AND p = 0 AND source_offset IN (${rows[0]![0]}, ${rows[1]![0]}) SETTINGS mutations_sync = 2`,
      );
    await swap(rows[1]![1], rows[0]![1]);
    const result = await verified(3, ["--partition", "0"]);
    expect(result.totals).toMatchObject({ altered: 2, lost: 0, doubled: 0 });
    expect(result.partitions[0]!.examples["altered"]).toEqual(rows.map(([offset]) => Number(offset)));
    await swap(rows[0]![1], rows[1]![1]);
  });

  test("a transaction that nobody ends", async () => {
    const place = { topic: topicName(pipeline.config.lane, "windows"), partition: 1 };
    const id = `${pipeline.config.lane}-stuck`;
    const producer = await kafka.initProducer(id, { transactionTimeoutMs: 60_000 });
    await producer.send(place, [{ key: null, value: Buffer.from("open") }]);
    const { mismatches } = await verified(3);
    expect(mismatches.map(({ what }) => what)).toContainEqual(
      expect.stringMatching(
        new RegExp(`^${place.topic}, partition 1: a transaction of producer ${producer.producerId}, .* is open at offset \\d+`),
      ),
    );
    // Fenced, and with that aborted.
    await kafka.initProducer(id, { transactionTimeoutMs: 60_000 });
    await verified(0);
  });

  test("a mark in Redis that is ahead of the log", async () => {
    const port = Number(new URL(pipeline.config.redis).port);
    const key = markKey(pipeline.config, "clean", 0);
    const row = (await exchange(port, `HGET ${key} row\r\n`, { want: 4 })).toString().split("\r\n")[1];
    await exchange(port, `HSET ${key} row 999999\r\n`, { want: 2 });
    const { mismatches } = await verified(3, ["--partition", "0"]);
    expect(mismatches).toContainEqual({
      what: `Redis' mark of ${topicName(pipeline.config.lane, "clean")}, partition 0 is ahead of the log, whose last row is`,
      recounted: Number(row),
      claimed: 999_999,
    });
    await exchange(port, `HSET ${key} row ${row}\r\n`, { want: 2 });
  });

  test("a window and a dead letter that their tables have lost, by the number of the row", async () => {
    const rowOf = (table: string): Promise<string> =>
      pipeline.sql(`SELECT oseq FROM ${where(table)} AND p = 0 ORDER BY oseq LIMIT 1 OFFSET 2`);
    const [window, kind] = (
      await pipeline.sql(`SELECT oseq, kind FROM ${where("windows")} AND p = 0 AND kind = 'tumbling_5m' ORDER BY oseq LIMIT 1 OFFSET 2`)
    ).split("\t");
    const letter = await rowOf("dead_letters");
    await pipeline.sql(`DELETE FROM ${where("windows")} AND p = 0 AND oseq = ${window}`);
    await pipeline.sql(`DELETE FROM ${where("dead_letters")} AND p = 0 AND oseq = ${letter}`);
    const result = await verified(3, ["--partition", "0"]);
    expect(result.totals).toMatchObject({ lost: 0, doubled: 0 });
    const whats = result.mismatches.map(({ what }) => what);
    expect(whats).toContainEqual(expect.stringMatching(new RegExp(`^windows, partition 0: lacks rows .* oseq ${window};`)));
    expect(kind).toBe("tumbling_5m");
    expect(whats).toContainEqual(expect.stringMatching(/^windows, partition 0: events in tumbling_5m of 20/));
    expect(whats).toContainEqual(expect.stringMatching(new RegExp(`^dead_letters, partition 0: lacks rows .* oseq ${letter};`)));
  });

  test("rows that the view counts twice, by their minute", async () => {
    const minute = await pipeline.sql(`SELECT min(minute) FROM ${where("user_activity_1min")}`);
    await pipeline.sql(
      `INSERT INTO user_activity_1min SELECT * FROM ${where("user_activity_1min")} AND minute = '${minute}' SETTINGS insert_deduplicate = 0`,
    );
    const { mismatches } = await verified(3);
    expect(mismatches.map(({ what }) => what)).toEqual(
      expect.arrayContaining(["events in user_activity_1min", `events in user_activity_1min, minute ${minute}`]),
    );
  });

  test("a block of which ClickHouse has a part only", async () => {
    const [cut, offset] = (
      await pipeline.sql(
        `SELECT cut, max(source_offset) - 1 FROM ${where("events")} AND p = 0 GROUP BY cut HAVING count() > 5 ORDER BY cut LIMIT 1`,
      )
    ).split("\t");
    const [lost] = (
      await pipeline.sql(
        `SELECT source_offset FROM ${where("events")} AND p = 0 AND cut = ${cut} AND source_offset <= ${offset} ORDER BY source_offset DESC LIMIT 1`,
      )
    ).split("\n");
    await pipeline.sql(
      `ALTER TABLE events DELETE WHERE lane = '${pipeline.config.lane}' AND p = 0 AND source_offset = ${lost} SETTINGS mutations_sync = 2`,
    );
    const result = await verified(3, ["--partition", "0"]);
    expect(result.totals).toMatchObject({ lost: 1, topicOnly: 1 });
    expect(result.partitions[0]!.examples["lost"]).toEqual([Number(lost)]);
    expect(result.mismatches.map(({ what }) => what)).toContain(`ClickHouse's events, partition 0: cut ${cut} is torn; rows`);
  });

  test("a record of events.clean that is torn, and one that stands there twice", async () => {
    await pipeline.kill("sinks");
    const clean = { topic: topicName(pipeline.config.lane, "clean"), partition: 1 };
    const [answer] = await kafka.fetch([{ ...clean, offset: 0 }], { isolation: "read_committed" });
    const copy = answer!.records.find(({ value }) => value !== null)!;
    await kafka.produce(clean, [{ key: null, value: copy.value!, headers: copy.headers }]);
    const torn = await kafka.produce(clean, [
      {
        key: null,
        value: copy.value!.subarray(0, copy.value!.length >> 1),
        headers: copy.headers.filter(([name]) => name !== HEADERS.progress),
      },
    ]);
    // The sinks stand still; what they would choke on is said to be read.
    await kafka.commitOffsets(groupId(pipeline.config, "sink-clickhouse"), [{ ...clean, offset: torn + 1, metadata: "" }]);
    const result = await verified(3, ["--partition", "1"]);
    const whats = result.mismatches.map(({ what }) => what);
    expect(whats).toContainEqual(expect.stringContaining(`${clean.topic}, partition 1, offset ${torn}: torn, rows that can be read`));
    expect(whats).toContainEqual(expect.stringContaining("number of the first row, where rows are numbered without a gap"));
    expect(result.totals["disordered"]).toBeGreaterThan(0);
    expect(result.totals["doubled"]).toBeGreaterThan(0);
  });
});
