import { mkdtempSync, rmSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { startRedis } from "#local/services/redis.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import { encodeClean, encodeWindows } from "#shared/events/block.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import { activityKey, createdChannel, markKey as markKeyOf, sessionKey } from "#shared/read/hot-keys.ts";
import { ActivityBatch } from "#sinks/redis/activity-batch.ts";
import { ClosedWindowsBatch } from "#sinks/redis/closed-windows-batch.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import type { SinkStore } from "#sinks/runtime/partition-sink.ts";
import { settles } from "#test/support/process.ts";
import { BASE_MS, cleanColumns, LARGE_USER, rowOf, USERS } from "#test/support/sink-rows.ts";
import { OutputLog } from "./output-log.ts";
import { SinksProcess } from "./sinks-process.ts";

/** A server of our own: it is flushed and killed here. */
const folder = mkdtempSync(join(tmpdir(), "weir-redis-"));
let server: RunningServer;
let redis: Redis;
let log: OutputLog;

beforeAll(async () => {
  chmodSync(folder, 0o755);
  server = await startRedis({ dir: folder });
});

afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  log = await OutputLog.open();
  redis = new Redis(server.address);
  await redis.connect();
});

afterEach(async () => {
  redis.close();
  await log.kafka.close();
});

const markKey = (generation = 1): string => markKeyOf({ lane: log.lane, generation }, "clean", 0);

async function mark(): Promise<string | undefined> {
  return (await redis.hash(markKey()))["row"];
}

function cleanStore(client = redis, generation = 1): SinkStore {
  const { lane } = log;
  const batch = (): ActivityBatch => new ActivityBatch(lane);
  return createHotValuesStore({ redis: client, markKey: markKey(generation), generation, createdChannel: createdChannel(lane), batch });
}

function windowsStore(): SinkStore {
  const { lane } = log;
  const batch = (): ClosedWindowsBatch => new ClosedWindowsBatch(lane);
  const key = markKeyOf({ lane, generation: 1 }, "windows", 0);
  return createHotValuesStore({ redis, markKey: key, generation: 1, createdChannel: createdChannel(lane), batch });
}

/** As the sink hands them over, without a log: rows `first` to `last`. */
function delivery(first: number, last: number, ageSeconds = 0): OutputRecord[] {
  const rows = Array.from({ length: last - first + 1 }, (_, i) => rowOf(first + i));
  const record = {
    offset: first,
    timestampMs: Date.now() - ageSeconds * 1_000,
    key: null,
    value: encodeClean(cleanColumns(rows)),
    headers: [],
  };
  return [{ ...record, generation: 1, oseq: first, count: rows.length, cut: 1, endsCut: false }];
}

function rowWindow(oseq: number): number {
  return Math.floor(rowOf(oseq).eventTimeMs! / 300_000) * 300_000;
}

/** The first row of windows.results: a window of user 1. */
function closed(kind: (typeof WINDOW_KINDS)[number], startMs: number, lastEventMs: number, events: number): OutputRecord[] {
  const columns = {
    rows: 1,
    kind: Uint8Array.of(WINDOW_KINDS.indexOf(kind)),
    userId: Uint32Array.of(1, 0),
    windowStartMs: Float64Array.of(startMs),
    windowEndMs: Float64Array.of(lastEventMs),
    events: Uint32Array.of(events),
    valueCount: Uint32Array.of(1),
    valueSum: Float64Array.of(2.5),
    valueMin: Float64Array.of(2.5),
    valueMax: Float64Array.of(2.5),
    firstEventMs: Float64Array.of(startMs),
    lastEventMs: Float64Array.of(lastEventMs),
  };
  const record = { offset: 0, timestampMs: Date.now(), key: null, value: encodeWindows(columns), headers: [] };
  return [{ ...record, generation: 1, oseq: 1, count: 1, cut: 0, endsCut: false }];
}

/** Of user 1..6, after rows 1 to `rows`. */
function activityAfter(rows: number, user: number): Record<string, string> {
  const row = rowOf(Array.from({ length: USERS }, (_, i) => rows - i).find((oseq) => oseq % USERS === user)!);
  return {
    last_event_time: String(row.eventTimeMs),
    last_event_type: row.eventType!,
    window_start: String(Math.floor(row.eventTimeMs! / 300_000) * 300_000),
    window_events: String(row.oseq),
    is_final: "0",
    session_start: String(BASE_MS),
    session_last_event: String(row.eventTimeMs),
    session_events: String(row.oseq + 1),
    session_is_final: "0",
    session_id: row.sessionId ?? "",
    gen: "1",
  };
}

async function expectActivityAfter(rows: number, client = redis): Promise<void> {
  for (let user = 1; user < USERS; user++)
    expect(await client.hash(activityKey(log.lane, String(user)))).toEqual(activityAfter(rows, user));
}

describe("hot values", () => {
  test("hold the last row of each user and session, with their lifetimes", async () => {
    await log.clean([30, 3, 40], { end: "row" });
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    await expectActivityAfter(73);
    const session = rowOf(73);
    expect(await redis.hash(sessionKey(log.lane, session.sessionId!))).toEqual({
      user_id: String(session.userId),
      last_event_time: String(session.eventTimeMs),
      last_event_type: session.eventType,
      session_start: String(BASE_MS),
      session_events: "74",
      is_final: "0",
      gen: "1",
    });
    const activityTtl = await redis.ttlSeconds(activityKey(log.lane, "1"));
    expect(activityTtl).toBeGreaterThan(3_500);
    expect(activityTtl).toBeLessThanOrEqual(3_600);
    const sessionTtl = await redis.ttlSeconds(sessionKey(log.lane, session.sessionId!));
    expect(sessionTtl).toBeGreaterThan(1_700);
    expect(sessionTtl).toBeLessThanOrEqual(1_800);
    expect(await mark()).toBe("73");
  });

  test("live names are the plain ones, every other lane has its prefix", () => {
    expect(activityKey("live", "7")).toBe("user:7:activity");
    expect(sessionKey("live", "a")).toBe("session:a");
    expect(activityKey("history", "7")).toBe("history:user:7:activity");
  });

  test("a closed window is final in the place of the live one, and stands beside a later live one", async () => {
    await log.clean([14], { end: "row" });
    await log.windows(8);
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    const { window_start: liveStart } = await redis.hash(activityKey(log.lane, "1"));
    await log.drain("windows", log.group("sink-redis"), windowsStore());
    // Window 8 is the second one of user 1, and a later one than that of its last event.
    const start = String(BASE_MS + 8 * 300_000);
    expect(Number(liveStart)).toBeLessThan(Number(start));
    const closed = { closed_window_start: start, closed_window_events: "8", closed_window_value_sum: "4" };
    expect(await redis.hash(activityKey(log.lane, "1"))).toEqual({
      ...activityAfter(14, 1),
      ...closed,
      window_start: start,
      window_events: "8",
      is_final: "1",
    });
  });

  test("a zombie that delivers again what its successor has passed changes nothing", async () => {
    const zombie = cleanStore();
    await zombie.resume(null);
    await zombie.deliver(delivery(1, 10));
    const successor = cleanStore();
    await successor.resume({ offset: 10, oseq: 10 });
    await successor.deliver(delivery(11, 40));
    expect(await zombie.deliver(delivery(11, 20))).toMatchObject({ oseq: 20 });
    await expectActivityAfter(40);
    expect(await mark()).toBe("40");
  });

  test("a delivery behind a gap is refused, and nothing of it is applied", async () => {
    const store = cleanStore();
    await store.resume(null);
    await store.deliver(delivery(1, 10));
    await expect(store.deliver(delivery(12, 20))).rejects.toMatchObject({ code: "REDIS_BEHIND" });
    await expectActivityAfter(10);
    expect(await mark()).toBe("10");
  });

  test("a log whose beginning has expired may begin at any row, but only where reading began again", async () => {
    const store = cleanStore();
    await store.resume(null);
    await store.deliver(delivery(500, 520));
    await expectActivityAfter(520);
    await expect(store.deliver(delivery(530, 540))).rejects.toMatchObject({ code: "REDIS_BEHIND" });
  });

  test("live from when the log took them: reading it again after a loss revives nothing that had expired", async () => {
    const store = cleanStore();
    await store.resume(null);
    await store.deliver(delivery(1, 7, 5_000));
    expect(await mark()).toBe("7");
    expect(await redis.hash(activityKey(log.lane, "1"))).toEqual({});
    await store.deliver(delivery(8, 14, 2_000));
    const activityTtl = await redis.ttlSeconds(activityKey(log.lane, "1"));
    expect(activityTtl).toBeGreaterThan(1_500);
    expect(activityTtl).toBeLessThanOrEqual(1_600);
    expect(await redis.hash(sessionKey(log.lane, "s2"))).toEqual({});
  });

  test("a value that has longer to live is not cut short by one that the log took before it", async () => {
    const store = cleanStore();
    await store.resume(null);
    await store.deliver(delivery(1, 7));
    await store.deliver(delivery(8, 14, 3_000));
    expect(await redis.ttlSeconds(activityKey(log.lane, "1"))).toBeGreaterThan(3_500);
    await expectActivityAfter(14);
  });

  test("lost between resuming and the first new row: that row is refused, and the ones before it come back too", async () => {
    const before = cleanStore();
    await before.resume(null);
    await before.deliver(delivery(1, 10));
    const store = cleanStore();
    // Its position is lost: the mark has it.
    expect(await store.resume(null)).toEqual({ offset: 2, oseq: 10 });
    await redis.flush();
    await expect(store.deliver(delivery(11, 13))).rejects.toMatchObject({ code: "REDIS_BEHIND" });
    expect(await redis.keyCount()).toBe(0);
    expect(await store.resume({ offset: 10, oseq: 10 })).toBeNull();
    await store.deliver([...delivery(1, 10), ...delivery(11, 13)]);
    await expectActivityAfter(13);
  });

  test("FLUSHALL under way: everything comes back from the log, and then the new", async () => {
    const sink = log.run("clean", log.group("sink-redis"), cleanStore());
    for (let cut = 0; cut < 5; cut++) await log.clean([20], { end: "row" });
    await settles(() => expectActivityAfter(100));
    await redis.flush();
    expect(await redis.keyCount()).toBe(0);
    await log.clean([3], { end: "row" });
    await settles(() => expectActivityAfter(103));
    await sink.stop();
  });

  test("an older generation never writes over a newer one's value, and a newer one begins each key anew", async () => {
    const [older, newer] = [cleanStore(redis, 1), cleanStore(redis, 2)];
    await older.resume(null);
    await older.deliver(delivery(1, 40));
    await newer.resume(null);
    // Lower counts, earlier times: what is newer is the generation.
    await newer.deliver(delivery(1, 10));
    const held = await redis.hash(activityKey(log.lane, "1"));
    expect(held).toEqual({ ...activityAfter(10, 1), gen: "2" });
    expect(await older.deliver(delivery(41, 80))).toMatchObject({ oseq: 80 });
    expect(await redis.hash(activityKey(log.lane, "1"))).toEqual(held);
  });

  test("a window that closed before its last events were seen stays final", async () => {
    const [clean, windows] = [cleanStore(), windowsStore()];
    await clean.resume(null);
    await windows.resume(null);
    // Rows 1 to 600 lie in the last minute of a 5-minute window, row 1 being of user 1.
    const start = rowWindow(1);
    await windows.deliver(closed("tumbling_5m", start, rowOf(596).eventTimeMs!, 86));
    await clean.deliver(delivery(1, 20));
    expect(await redis.hash(activityKey(log.lane, "1"))).toMatchObject({ window_start: String(start), window_events: "86", is_final: "1" });
    // Rows from 601 on are in the next one.
    await clean.deliver(delivery(21, 610));
    const { window_start: liveStart, is_final: isFinal } = await redis.hash(activityKey(log.lane, "1"));
    expect({ liveStart, isFinal }).toEqual({ liveStart: String(rowWindow(610)), isFinal: "0" });
  });

  test("a session that closes is final for the user and under its own name", async () => {
    const [clean, windows] = [cleanStore(), windowsStore()];
    await clean.resume(null);
    await windows.resume(null);
    await clean.deliver(delivery(1, 15));
    const last = rowOf(15);
    await windows.deliver(closed("session_30s", BASE_MS, last.eventTimeMs!, 3));
    const held = { session_start: String(BASE_MS), session_events: "3" };
    expect(await redis.hash(activityKey(log.lane, "1"))).toMatchObject({ ...held, session_is_final: "1" });
    expect(await redis.hash(sessionKey(log.lane, last.sessionId!))).toMatchObject({ ...held, is_final: "1" });
    // An event of it that is applied later changes nothing; a new session is live again.
    await clean.deliver(delivery(16, 22));
    expect(await redis.hash(activityKey(log.lane, "1"))).toMatchObject({ session_events: "23", session_is_final: "0" });
  });

  test("a batch of many keys comes in parts: what is lost between them, or of a sink that died between them, leaves no hole", async () => {
    const rows = Array.from({ length: 1_000 }, (_, i) => ({ ...rowOf(i + 1), userId: 100 + i, sessionId: null }));
    const record = { ...delivery(1, 1)[0]!, count: rows.length, value: encodeClean(cleanColumns(rows)) };
    const held = async (): Promise<number> =>
      (await Promise.all(rows.map(({ userId }) => redis.hash(activityKey(log.lane, String(userId)))))).filter(
        (value) => value["gen"] === "1",
      ).length;
    /** Something happens before each call after the first; the script calls itself are the real ones. */
    class Disturbed extends Redis {
      calls = 0;
      disturb: () => Promise<void> = () => Promise.resolve();
      override async script(...call: Parameters<Redis["script"]>): Promise<unknown> {
        if (++this.calls === 5) await this.disturb();
        return super.script(...call);
      }
    }
    const client = new Disturbed(server.address);
    try {
      const store = cleanStore(client);
      await store.resume(null);
      // Before the last of five parts.
      client.disturb = () => redis.flush();
      await expect(store.deliver([record])).rejects.toMatchObject({ code: "REDIS_BEHIND" });
      expect(await mark()).toBeUndefined();
      client.calls = 0;
      client.disturb = () => Promise.reject(new Error("dies here"));
      expect(await store.resume(null)).toBeNull();
      await expect(store.deliver([record])).rejects.toThrow("dies here");
      expect(await mark()).toBeUndefined();
      const successor = cleanStore();
      expect(await successor.resume(null)).toBeNull();
      await successor.deliver([record]);
      expect({ held: await held(), mark: await mark() }).toEqual({ held: 1_000, mark: "1000" });
    } finally {
      client.close();
    }
  });

  test("every key that comes into being is told of, once a batch; what changes is not", async () => {
    const told: string[][] = [];
    redis.subscribe(createdChannel(log.lane), {
      onMessage: (message) => told.push(JSON.parse(message) as string[]),
      onGap: () => undefined,
    });
    const store = cleanStore();
    await store.resume(null);
    await settles(async () => {
      await redis.script("return redis.call('PUBLISH', KEYS[1], '[]')", [createdChannel(log.lane)], []);
      expect(told.length).toBeGreaterThan(0);
    });
    told.length = 0;
    await store.deliver(delivery(1, 14));
    await store.deliver(delivery(15, 28));
    await store.deliver(delivery(29, 29));
    await redis.script("return redis.call('PUBLISH', KEYS[1], '[\"end\"]')", [createdChannel(log.lane)], []);
    await settles(() => expect(told.at(-1)).toEqual(["end"]));
    const users = Array.from({ length: USERS }, (_, user) => activityKey(log.lane, String(user === 0 ? LARGE_USER : user)));
    const sessions = Array.from({ length: USERS }, (_, user) => sessionKey(log.lane, `s${user}`));
    expect(
      told
        .slice(0, -1)
        .filter(({ length }) => length > 0)
        .map((keys) => keys.toSorted()),
    ).toEqual([[...users, ...sessions].toSorted()]);
  });

  test("written once in a while, not once an event: one call and one write a key for all that came meanwhile", async () => {
    await log.clean(
      Array.from({ length: 50 }, () => 20),
      { end: "row" },
    );
    const before = await writes();
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    // 1,000 rows; 14 keys and the mark.
    expect((await writes()) - before).toBe(15);
    await expectActivityAfter(1_000);
  });
});

/** Commands that set a hash since the server began. */
async function writes(): Promise<number> {
  const found = /cmdstat_hset:calls=(\d+)/.exec((await redis.script("return redis.call('INFO', 'commandstats')", [], [])) as string);
  return Number(found?.[1] ?? 0);
}

describe("a Redis server that goes and comes", () => {
  test("a sink that starts while it is down waits, and serves as soon as it is there", async () => {
    await log.clean([15], { end: "row" });
    const port = server.port;
    await server.stop();
    const client = new Redis(server.address);
    const sink = log.run("clean", log.group("sink-redis"), cleanStore(client));
    try {
      await expect(client.get("x")).rejects.toMatchObject({ code: "REDIS_UNAVAILABLE" });
      server = await startRedis({ dir: folder, port });
      await settles(() => expectActivityAfter(15, client), { limitMs: 20_000 });
      process.kill(server.pid, "SIGKILL");
      await server.exited;
      await log.clean([15], { end: "row" });
      server = await startRedis({ dir: folder, port });
      await settles(() => expectActivityAfter(30, client), { limitMs: 20_000 });
    } finally {
      await sink.stop();
      client.close();
    }
  });

  test("kill -9 of the sinks behind the script: the replay applies nothing twice and nothing old", async () => {
    for (let cut = 0; cut < 3; cut++) await log.clean([20], { end: "row" });
    // Nothing listens there: one store that is down does not keep the other waiting.
    const clickhouse = "http://127.0.0.1:1";
    const config = { lane: log.lane, partitions: 1, kafka: inject("stack").kafka, clickhouse, redis: server.address };
    const doomed = new SinksProcess(config, "after-lua:kill:1");
    expect((await doomed.exit).signal, doomed.log).toBe("SIGKILL");
    expect((await log.committed("clean", log.group("sink-redis"))).offset).toBe(-1);
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    await expectActivityAfter(60);
    expect(await mark()).toBe("60");
  });
});
