/** The read path on real servers: what it answers with both stores, with one of them, and to callers who may not see everything. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { startRedis } from "#local/services/redis.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { RedisGroups } from "#shared/clients/redis/groups.ts";
import { encodeClean } from "#shared/events/block.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { ALL_SOURCES } from "#shared/read/access.ts";
import { activityKey, createdChannel, eventKey, markKey } from "#shared/read/hot-keys.ts";
import { Reader, type ReaderConfig, type ReaderOptions } from "#shared/read/reader.ts";
import { createEventsStore } from "#sinks/clickhouse/events-store.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";
import { ActivityBatch } from "#sinks/redis/activity-batch.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import { settles } from "#test/support/process.ts";
import { cleanColumns, rowOf, type SinkRow } from "#test/support/sink-rows.ts";
import { uniqueLane } from "#test/support/stack.ts";

const DATABASE = "weir_test_read_path";
const PARTITIONS = 4;
/** Begins a 5-minute window. */
const START_MS = Math.floor(Date.now() / 300_000) * 300_000 - 600_000;
const WEB = { sources: new Set(["web"]) };

/** Counts the requests that it passes on, and can hold them back or refuse them. */
class Door {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  queries = 0;
  isOpen = true;
  /** Until it is called: nothing goes through. */
  #held: (() => void)[] | null = null;

  constructor(target: URL) {
    this.#server = createServer((socket) => {
      if (!this.isOpen) return void socket.destroy();
      const behind = connect(Number(target.port), target.hostname);
      for (const [from, to] of [
        [socket, behind],
        [behind, socket],
      ] as const) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => to.destroy());
      }
      socket.on("data", (chunk: Buffer) => {
        this.queries += chunk.toString("latin1").split("POST /").length - 1;
        const pass = (): void => void behind.write(chunk);
        if (this.#held === null) pass();
        else this.#held.push(pass);
      });
      behind.pipe(socket);
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`;
  }

  hold(): void {
    this.#held = [];
  }

  letThrough(): void {
    const held = this.#held ?? [];
    this.#held = null;
    for (const pass of held) pass();
  }

  shut(): void {
    this.isOpen = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  close(): void {
    this.shut();
    this.#server.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), "weir-read-"));
let servers: RunningServer[];
let clickhouse: Clickhouse;
let groups: RedisGroups;
let lane: string;
let doors: Door[] = [];
let readers: Reader[] = [];
const oseq = new Map<number, number>();

beforeAll(async () => {
  chmodSync(folder, 0o755);
  servers = await Promise.all(["a", "b"].map((name) => startRedis({ dir: join(folder, name) })));
  clickhouse = new Clickhouse({ url: inject("stack").clickhouse, user: "default", password: "" });
  await migrateClickhouse(clickhouse, DATABASE, { replicated: false });
});

afterAll(async () => {
  await clickhouse.command(`DROP DATABASE ${DATABASE}`);
  await clickhouse.close();
  await Promise.all(servers.map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
});

beforeEach(() => {
  lane = uniqueLane();
  oseq.clear();
  groups = new RedisGroups(servers.map(({ address }) => address).join(","));
});

afterEach(async () => {
  for (const reader of readers) await reader.close();
  for (const door of doors) door.close();
  groups.close();
  readers = [];
  doors = [];
});

interface Opened {
  readonly reader: Reader;
  readonly clickhouseDoor: Door;
  readonly redisDoors: readonly Door[];
}

async function open(options: ReaderOptions = {}, config: Partial<ReaderConfig> = {}): Promise<Opened> {
  const clickhouseDoor = new Door(new URL(inject("stack").clickhouse));
  const redisDoors = servers.map(({ address }) => new Door(new URL(address)));
  doors.push(clickhouseDoor, ...redisDoors);
  const redis = (await Promise.all(redisDoors.map(async (door) => `redis://${await door.listen()}`))).join(",");
  const base = {
    lane,
    generation: 1,
    partitions: PARTITIONS,
    clickhouseUser: "default",
    clickhousePassword: "",
    clickhouseDatabase: DATABASE,
  };
  const reader = new Reader({ ...base, redis, clickhouse: `http://${await clickhouseDoor.listen()}`, ...config }, options);
  readers.push(reader);
  // Before it listens it holds nothing for absent.
  await settles(async () => {
    for (const group of groups.all) {
      await group.connect();
      const [, listeners] = (await group.script("return redis.call('PUBSUB', 'NUMSUB', KEYS[1])", [createdChannel(lane)], [])) as [
        string,
        number,
      ];
      expect(listeners).toBe(1);
    }
  });
  return { reader, clickhouseDoor, redisDoors };
}

function row(userId: number, secondsFromStart: number, more: Partial<SinkRow> = {}): SinkRow {
  const base = rowOf(1);
  const eventTimeMs = START_MS + secondsFromStart * 1_000;
  return { ...base, userId, eventTimeMs, eventId: Math.floor(Math.random() * 2 ** 48), sessionId: `s-${userId}`, source: "web", ...more };
}

/** One output record of the user's partition, of all his rows. */
function recordOf(rows: readonly SinkRow[], timestampMs = Date.now()): OutputRecord {
  const partition = partitionOf(Buffer.from(String(rows[0]!.userId)), PARTITIONS);
  const first = (oseq.get(partition) ?? 0) + 1;
  oseq.set(partition, first + rows.length - 1);
  const columns = cleanColumns(rows.map((each) => each));
  for (let i = 0; i < rows.length; i++) {
    columns.windowEvents[i] = i + 1;
    columns.sessionEvents[i] = i + 1;
    columns.sessionStartMs[i] = rows[0]!.eventTimeMs!;
  }
  const record = { offset: first, timestampMs, key: null, value: encodeClean(columns), headers: [], generation: 1 };
  return { ...record, oseq: first, count: rows.length, cut: first, endsCut: true };
}

function partitionOfRecord(rows: readonly SinkRow[]): number {
  return partitionOf(Buffer.from(String(rows[0]!.userId)), PARTITIONS);
}

async function intoRedis(rows: readonly SinkRow[], record: OutputRecord): Promise<void> {
  const partition = partitionOfRecord(rows);
  const key = markKey({ lane, generation: 1 }, "clean", partition);
  const redis = groups.of(partition);
  const batch = (): ActivityBatch => new ActivityBatch(lane);
  const store = createHotValuesStore({ redis, markKey: key, generation: 1, createdChannel: createdChannel(lane), batch });
  await store.resume(null);
  await store.deliver([record]);
}

async function intoClickhouse(rows: readonly SinkRow[], record: OutputRecord): Promise<void> {
  const from = { lane, generation: 1, partition: partitionOfRecord(rows) };
  const store = createEventsStore(clickhouse, `${DATABASE}.events`, `${lane}.events.clean`, from);
  await store.resume(null);
  await store.deliver([record]);
}

async function closeWindow(userId: number, kind: string, startMs: number, lastMs: number, events: number): Promise<void> {
  await clickhouse.command(
    `INSERT INTO ${DATABASE}.windows SELECT {kind:String}, {user:UInt64}, fromUnixTimestamp64Milli({start:Int64}), fromUnixTimestamp64Milli({last:Int64}),
     {events:UInt32}, {events:UInt32}, 7.5, 1, 2, fromUnixTimestamp64Milli({start:Int64}), fromUnixTimestamp64Milli({last:Int64}), {lane:String}, 1, 0, 1`,
    { kind, user: userId, start: startMs, last: lastMs, events, lane },
  );
}

function idOf(found: SinkRow): string {
  const hex = (found.eventId as number).toString(16).padStart(32, "0");
  // The generator of ids puts the number into the last two words.
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

describe("Redis first, ClickHouse on a miss", () => {
  test.each([1, 2, 3, 4, 5])("user %i is found on his partition's group, with the position that the value is as of", async (userId) => {
    const { reader, clickhouseDoor } = await open();
    const rows = [row(userId, 0), row(userId, 5)];
    await intoRedis(rows, recordOf(rows));
    const answer = await reader.user(String(userId), ALL_SOURCES);
    expect(answer).toMatchObject({ from: "redis", isFinal: false, notes: [], asOf: { partition: partitionOfRecord(rows), row: 2 } });
    expect(answer.asOf.ageMs).toBeLessThan(5_000);
    expect(answer.value).toMatchObject({
      lastEventMs: START_MS + 5_000,
      window: { startMs: START_MS, events: 2, isFinal: false },
      session: { startMs: START_MS, events: 2, isFinal: false },
    });
    expect(clickhouseDoor.queries).toBe(0);
    const session = await reader.session(`s-${userId}`, ALL_SOURCES);
    expect(session).toMatchObject({ from: "redis", notes: [], value: { userId: String(userId), events: 2 } });
  });

  test("a user whom Redis has forgotten is the same from ClickHouse", async () => {
    const { reader } = await open();
    const rows = [row(7, 0), row(7, 5)];
    const record = recordOf(rows);
    await intoClickhouse(rows, record);
    const fromTables = await reader.user("7", ALL_SOURCES);
    expect(fromTables).toMatchObject({ from: "clickhouse", notes: [], asOf: { row: 2 } });
    await intoRedis(rows, record);
    const hot = await reader.user("7", ALL_SOURCES);
    expect(hot.from).toBe("redis");
    expect({ ...fromTables.value, window: { ...fromTables.value!.window, valueSum: null } }).toEqual(hot.value);
  });

  test("a window that has closed is final from either, one that is open is counted so far", async () => {
    const { reader } = await open();
    const rows = [row(8, 0), row(8, 10), row(8, 400, { value: 3 })];
    await intoClickhouse(rows, recordOf(rows));
    await closeWindow(8, "tumbling_5m", START_MS, START_MS + 10_000, 2);
    const closed = await reader.window("tumbling_5m", "8", START_MS, ALL_SOURCES);
    expect(closed).toMatchObject({ from: "clickhouse", isFinal: true, value: { events: 2, valueSum: 7.5 } });
    const open5m = await reader.window("tumbling_5m", "8", START_MS + 300_000, ALL_SOURCES);
    expect(open5m).toMatchObject({ from: "clickhouse", isFinal: false, value: { events: 1, valueSum: 3 } });
    const hour = Math.floor(START_MS / 3_600_000) * 3_600_000;
    const counted = rows.filter(({ eventTimeMs }) => eventTimeMs! < hour + 3_600_000).length;
    expect(await reader.window("tumbling_1h", "8", hour, ALL_SOURCES)).toMatchObject({ isFinal: false, value: { events: counted } });
  });

  test("an event is read once from ClickHouse, and from Redis from then on, for a day", async () => {
    const { reader, clickhouseDoor } = await open();
    const rows = [row(9, 0, { value: 2.5 })];
    await intoClickhouse(rows, recordOf(rows));
    const id = idOf(rows[0]!);
    const first = await reader.event(id.toUpperCase(), ALL_SOURCES);
    expect(first).toMatchObject({ from: "clickhouse", isFinal: true, value: { eventId: id, userId: "9", value: 2.5, source: "web" } });
    const { queries } = clickhouseDoor;
    const second = await settles(async () => {
      const answer = await reader.event(id, ALL_SOURCES);
      expect(answer.from).toBe("redis");
      return answer;
    });
    expect(second.value).toEqual(first.value);
    expect(clickhouseDoor.queries).toBeLessThanOrEqual(queries + 1);
    await Promise.all(groups.all.map((redis) => redis.connect()));
    const ttls = await Promise.all(groups.all.map((redis) => redis.ttlSeconds(eventKey(lane, id))));
    expect(Math.max(...ttls)).toBeGreaterThan(86_000);
  });
});

describe("many at once", () => {
  test("a hundred who miss the same key ask ClickHouse once; what is nowhere is not asked for again", async () => {
    const { reader, clickhouseDoor } = await open({ absentMs: 60_000 });
    const id = "00000000-0000-4000-8000-000000000001";
    const answers = await Promise.all(Array.from({ length: 100 }, () => reader.event(id, ALL_SOURCES)));
    expect(answers.every(({ value, from }) => value === null && from === "absent")).toBe(true);
    expect(clickhouseDoor.queries).toBe(1);
    await reader.event(id, ALL_SOURCES);
    expect(clickhouseDoor.queries).toBe(1);
  });

  test("a user who comes into being is there at once, however long he would have counted as absent", async () => {
    const { reader, clickhouseDoor } = await open({ absentMs: 600_000 });
    expect((await reader.user("11", ALL_SOURCES)).value).toBeNull();
    const { queries } = clickhouseDoor;
    expect((await reader.user("11", ALL_SOURCES)).value).toBeNull();
    expect(clickhouseDoor.queries).toBe(queries);
    const rows = [row(11, 0)];
    await intoRedis(rows, recordOf(rows));
    // Gone from Redis again, and in ClickHouse: only the message can say that the key is worth a look.
    await intoClickhouse(rows, recordOf([row(11, 1)]));
    await groups.of(partitionOfRecord(rows)).script("return redis.call('DEL', KEYS[1])", [activityKey(lane, "11")], []);
    await settles(async () => expect((await reader.user("11", ALL_SOURCES)).from).toBe("clickhouse"));
  });

  test("more different misses than there is room for are refused, so that they cannot pile up", async () => {
    const { reader, clickhouseDoor } = await open({ flights: 3 });
    clickhouseDoor.hold();
    const asked = Array.from({ length: 10 }, (_, user) => reader.user(String(1_000 + user), ALL_SOURCES));
    const ends = Promise.allSettled(asked);
    await settles(() => expect(clickhouseDoor.queries).toBe(3));
    clickhouseDoor.letThrough();
    const refused = (await ends).filter((end) => end.status === "rejected").map(({ reason }: { reason: { code?: string } }) => reason.code);
    expect(refused).toEqual(Array.from({ length: 7 }, () => "READ_BUSY"));
  });
});

describe("one store down", () => {
  test("Redis down: ClickHouse answers, with a note", async () => {
    const { reader, redisDoors } = await open();
    const rows = [row(12, 0)];
    await intoClickhouse(rows, recordOf(rows));
    for (const door of redisDoors) door.shut();
    const answer = await reader.user("12", ALL_SOURCES);
    expect(answer).toMatchObject({ from: "clickhouse", value: { lastEventMs: START_MS } });
    expect(answer.notes).toEqual([expect.stringMatching(/^Redis is down: /)]);
    expect(await reader.event(idOf(rows[0]!), ALL_SOURCES)).toMatchObject({ from: "clickhouse", value: { userId: "12" } });
  });

  test("a Redis that hangs costs its time-out once, and then nothing for a while", async () => {
    const { reader, redisDoors } = await open({ redisTimeoutMs: 200, restMs: 60_000 });
    const rows = [row(13, 0)];
    await intoClickhouse(rows, recordOf(rows));
    for (const door of redisDoors) door.hold();
    expect(await reader.user("13", ALL_SOURCES)).toMatchObject({ from: "clickhouse" });
    const fromMs = performance.now();
    for (let i = 0; i < 5; i++) await reader.user("13", ALL_SOURCES);
    // Five time-outs would be a second on their own.
    expect(performance.now() - fromMs).toBeLessThan(1_000);
  });

  test("ClickHouse down: Redis answers, however old its log is, and says how old", async () => {
    const { reader, clickhouseDoor } = await open();
    const rows = [row(14, 0)];
    await intoRedis(rows, recordOf(rows, Date.now() - 60_000));
    clickhouseDoor.shut();
    const answer = await reader.user("14", ALL_SOURCES);
    expect(answer).toMatchObject({ from: "redis", value: { lastEventMs: START_MS } });
    expect(answer.asOf.ageMs).toBeGreaterThanOrEqual(60_000);
    expect(answer.notes).toEqual([
      expect.stringMatching(/^ClickHouse is down: /),
      expect.stringMatching(/^Redis has the log up to 6\d s ago$/),
    ]);
  });

  test("a Redis that is behind gives way to a newer value in ClickHouse, never to an older one", async () => {
    const { reader } = await open();
    const rows = [row(15, 0)];
    const record = recordOf(rows, Date.now() - 60_000);
    await intoRedis(rows, record);
    // ClickHouse has nothing of him yet.
    expect(await reader.user("15", ALL_SOURCES)).toMatchObject({ from: "redis", value: { lastEventMs: START_MS } });
    const later = [row(15, 20)];
    await intoClickhouse(later, recordOf(later));
    expect(await reader.user("15", ALL_SOURCES)).toMatchObject({ from: "clickhouse", value: { lastEventMs: START_MS + 20_000 } });
  });

  test("both down, or ClickHouse down and not in Redis: an error that names what is down, within the time-outs", async () => {
    const { reader, clickhouseDoor, redisDoors } = await open();
    clickhouseDoor.shut();
    await expect(reader.user("16", ALL_SOURCES)).rejects.toMatchObject({ code: "READ_UNAVAILABLE" });
    for (const door of redisDoors) door.shut();
    const refused = await reader.event("00000000-0000-4000-8000-000000000002", ALL_SOURCES).catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({ code: "READ_UNAVAILABLE", message: expect.stringMatching(/Redis is down.*ClickHouse is down/) });
  });
});

describe("a caller of some sources", () => {
  /** Two of web and three of mobile in one window and one session of the processor; the newest is mobile's. */
  async function mixed(userId: number): Promise<SinkRow[]> {
    const rows = [
      row(userId, 0, { value: 1 }),
      row(userId, 20, { source: "mobile", value: 10 }),
      row(userId, 40, { value: 2 }),
      row(userId, 60, { source: "mobile", value: 20 }),
      row(userId, 70, { source: null, value: 40, eventType: "purchase" }),
    ];
    const record = recordOf(rows);
    await intoRedis(rows, record);
    await intoClickhouse(rows, record);
    return rows;
  }

  test("gets windows, sessions and last events of his rows alone", async () => {
    const { reader } = await open();
    await mixed(21);
    expect(await reader.user("21", ALL_SOURCES)).toMatchObject({
      from: "redis",
      value: { lastEventMs: START_MS + 70_000, window: { events: 5 } },
    });
    const answer = await reader.user("21", WEB);
    expect(answer.from).toBe("clickhouse");
    expect(answer.value).toEqual({
      userId: "21",
      lastEventMs: START_MS + 40_000,
      lastEventType: "click",
      window: { kind: "tumbling_5m", userId: "21", startMs: START_MS, events: 2, valueSum: 3, isFinal: false },
      // 40 s apart: to him they are two sessions.
      session: { startMs: START_MS + 40_000, lastEventMs: START_MS + 40_000, events: 1, isFinal: false },
      closedWindow: null,
    });
    expect((await reader.session("s-21", WEB)).value).toMatchObject({ lastEventMs: START_MS + 40_000, events: 1 });
    const all = new Set(["web", "mobile"]);
    expect((await reader.window("tumbling_5m", "21", START_MS, { sources: all })).value).toMatchObject({ events: 4, valueSum: 33 });
  });

  test("a closed window is final for him too, with his rows counted, not everybody's", async () => {
    const { reader } = await open();
    await mixed(22);
    await closeWindow(22, "tumbling_5m", START_MS, START_MS + 70_000, 5);
    await closeWindow(22, "session_30s", START_MS, START_MS + 70_000, 5);
    expect(await reader.window("tumbling_5m", "22", START_MS, WEB)).toMatchObject({ isFinal: true, value: { events: 2, valueSum: 3 } });
    expect((await reader.user("22", WEB)).value).toMatchObject({ closedWindow: { events: 2 }, session: { events: 1, isFinal: true } });
    expect(await reader.window("session_30s", "22", START_MS, WEB)).toMatchObject({ value: { events: 1, valueSum: 1 } });
  });

  test("an event of another source looks exactly like one that does not exist, also where Redis has it", async () => {
    const { reader } = await open({ nowMs: () => START_MS + 600_000, absentMs: 60_000 });
    const rows = await mixed(23);
    const missing = await reader.event("00000000-0000-4000-8000-000000000003", WEB);
    for (const hidden of [rows[1]!, rows[4]!]) {
      expect(await reader.event(idOf(hidden), WEB)).toEqual(missing);
      expect((await reader.event(idOf(hidden), ALL_SOURCES)).value).not.toBeNull();
      expect(await reader.event(idOf(hidden), WEB)).toEqual(missing);
    }
    expect((await reader.event(idOf(rows[0]!), WEB)).value).toMatchObject({ source: "web" });
  });

  test("that he finds nothing does not make it absent for others, nor the other way round", async () => {
    const { reader } = await open({ absentMs: 60_000 });
    const rows = [row(24, 0, { source: "mobile" })];
    await intoClickhouse(rows, recordOf(rows));
    expect((await reader.user("24", WEB)).value).toBeNull();
    expect((await reader.user("24", ALL_SOURCES)).value).not.toBeNull();
    expect((await reader.user("24", { sources: new Set(["mobile"]) })).value).not.toBeNull();
    expect((await reader.user("24", { sources: new Set() })).value).toBeNull();
  });

  test("with ClickHouse down he is refused: what is in Redis counts all sources", async () => {
    const { reader, clickhouseDoor } = await open();
    await mixed(25);
    clickhouseDoor.shut();
    await expect(reader.user("25", WEB)).rejects.toMatchObject({
      code: "READ_UNAVAILABLE",
      message: expect.stringContaining("counts all sources"),
    });
    expect((await reader.user("25", ALL_SOURCES)).value).not.toBeNull();
  });
});
