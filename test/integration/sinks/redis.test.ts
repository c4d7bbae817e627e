import { mkdtempSync, rmSync, chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { startRedis } from "#local/services/redis.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import { decodeClean, decodeWindows, encodeClean } from "#shared/events/block.ts";
import { activityKey, activityOf, closedWindowsOf, sessionKey } from "#sinks/redis/hot-values.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import type { SinkStore } from "#sinks/runtime/partition-sink.ts";
import { settles } from "#test/support/process.ts";
import { BASE_MS, cleanColumns, rowOf, USERS } from "#test/support/sink-rows.ts";
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

const markKey = (): string => `weir:mark:${log.lane}:1:clean:0`;

function cleanStore(client = redis): SinkStore {
  return createHotValuesStore({ redis: client, markKey: markKey(), valuesOf: (value) => activityOf(log.lane, decodeClean(value)) });
}

function windowsStore(): SinkStore {
  return createHotValuesStore({
    redis,
    markKey: `weir:mark:${log.lane}:1:windows:0`,
    valuesOf: (value) => closedWindowsOf(log.lane, decodeWindows(value)),
  });
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

/** Of user 1..6, after rows 1 to `rows`. */
function activityAfter(rows: number, user: number): Record<string, string> {
  const row = rowOf(Array.from({ length: USERS }, (_, i) => rows - i).find((oseq) => oseq % USERS === user)!);
  return {
    last_event_time: String(row.eventTimeMs),
    last_event_type: row.eventType!,
    window_events: String(row.oseq),
    session_start: String(BASE_MS),
    session_events: String(row.oseq + 1),
    is_final: "0",
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
    });
    const activityTtl = await redis.ttlSeconds(activityKey(log.lane, "1"));
    expect(activityTtl).toBeGreaterThan(3_500);
    expect(activityTtl).toBeLessThanOrEqual(3_600);
    const sessionTtl = await redis.ttlSeconds(sessionKey(log.lane, session.sessionId!));
    expect(sessionTtl).toBeGreaterThan(1_700);
    expect(sessionTtl).toBeLessThanOrEqual(1_800);
    expect(await redis.get(markKey())).toBe("73");
  });

  test("live names are the plain ones, every other lane has its prefix", () => {
    expect(activityKey("live", "7")).toBe("user:7:activity");
    expect(sessionKey("live", "a")).toBe("session:a");
    expect(activityKey("history", "7")).toBe("history:user:7:activity");
  });

  test("the last closed window stands beside the live values of its user", async () => {
    await log.clean([14], { end: "row" });
    await log.windows(8);
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    await log.drain("windows", log.group("sink-redis"), windowsStore());
    // Window 8 is the second one of user 1.
    expect(await redis.hash(activityKey(log.lane, "1"))).toEqual({
      ...activityAfter(14, 1),
      closed_window_start: String(BASE_MS + 8 * 300_000),
      closed_window_events: "8",
      closed_window_value_sum: "4",
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
    expect(await redis.get(markKey())).toBe("40");
  });

  test("a delivery behind a gap is refused, and nothing of it is applied", async () => {
    const store = cleanStore();
    await store.resume(null);
    await store.deliver(delivery(1, 10));
    await expect(store.deliver(delivery(12, 20))).rejects.toMatchObject({ code: "REDIS_BEHIND" });
    await expectActivityAfter(10);
    expect(await redis.get(markKey())).toBe("10");
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
    expect(await redis.get(markKey())).toBe("7");
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

  test("lost between reading again and the first new row: that row is refused, and the ones before it come back too", async () => {
    const before = cleanStore();
    await before.resume(null);
    await before.deliver(delivery(1, 10));
    const store = cleanStore();
    // Its position is lost, so it begins again, and passes over what the mark covers.
    expect(await store.resume(null)).toBeNull();
    await store.deliver(delivery(1, 10));
    await redis.flush();
    await expect(store.deliver(delivery(11, 13))).rejects.toMatchObject({ code: "REDIS_BEHIND" });
    expect(await redis.keyCount()).toBe(0);
    await store.resume({ offset: 10, oseq: 10 });
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

  test("an old copy of the values and their mark: the rest comes back from the log", async () => {
    await log.clean([20], { end: "row" });
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    // A replica that lacks the newest writes lacks the newest mark with them.
    const stale = cleanStore();
    await redis.flush();
    await stale.resume(null);
    await stale.deliver(delivery(1, 9));
    await log.clean([5], { end: "row" });
    await log.drain("clean", log.group("sink-redis"), cleanStore());
    await expectActivityAfter(25);
  });
});

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
    expect(await redis.get(markKey())).toBe("60");
  });
});
