/**
 * Hot values in a real Redis, paced at 20,000 events/s over four partitions, as the processor commits them: a record per partition and 20 ms.
 *
 *   event      what everyone does: HSET and EXPIRE of user and session for each event, pipelined a record at a time
 *   record     the sink's own script, called for each record: nothing gathered
 *   gathered   the sink as it runs: what came in 250 ms is one call
 *
 * Then everything is lost at once (FLUSHALL) and read again as fast as it goes. Not measured: Kafka, a network, a replica, an append-only file's fsync on
 * a slow disk. The sink's own CPU is this process's; making the records is not in it.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Redis as IoRedis } from "ioredis";
import { startRedis } from "#local/services/redis.ts";
import { createRandom } from "#loadgen/random.ts";
import { createUserChoice, type Distribution } from "#loadgen/user-choice.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import { decodeClean, encodeClean } from "#shared/events/block.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { activityKey, createdChannel, markKey, sessionKey } from "#shared/read/hot-keys.ts";
import { ActivityBatch } from "#sinks/redis/activity-batch.ts";
import { userIdAt } from "#sinks/redis/hot-batch.ts";
import { createHotValuesStore } from "#sinks/redis/hot-values-store.ts";
import type { OutputRecord } from "#sinks/runtime/output-record.ts";
import type { SinkStore } from "#sinks/runtime/partition-sink.ts";
import { cleanColumns, rowOf } from "#test/support/sink-rows.ts";
import { makeBenchFolder } from "./bench-folder.ts";
import { cpuSeconds } from "./process-cost.ts";

const RATE = 20_000;
const SECONDS = 3;
const PARTITIONS = 4;
const EPOCH_MS = 20;
const GATHER_MS = 250;
const LANE = "bench";

interface LoadCase {
  readonly users: number;
  readonly distribution: Distribution;
}

/** `npm start` sends the first. The second is the worst case: hardly anyone comes twice within a quarter of a second. */
const LOADS: readonly LoadCase[] = [
  { users: 10_000, distribution: "zipf" },
  { users: 100_000, distribution: "uniform" },
];

/** By epoch, then by partition. */
type Log = readonly (readonly OutputRecord[])[];

function makeLog({ users, distribution }: LoadCase): Log {
  const choose = createUserChoice(distribution, users, createRandom("bench-redis"));
  const oseq = Array.from({ length: PARTITIONS }, () => 1);
  const startMs = Date.now();
  const ranks = new Map<number, number>();
  return Array.from({ length: (SECONDS * 1_000) / EPOCH_MS }, (_, epoch) => {
    const rows = Array.from({ length: PARTITIONS }, () => [] as { user: number; rank: number }[]);
    for (let i = 0; i < (RATE * EPOCH_MS) / 1_000; i++) {
      const user = choose();
      const rank = (ranks.get(user) ?? 0) + 1;
      ranks.set(user, rank);
      rows[partitionOf(Buffer.from(String(user)), PARTITIONS)]!.push({ user, rank });
    }
    return rows.map((own, partition) => {
      const eventTimeMs = startMs + epoch * EPOCH_MS;
      const columns = cleanColumns(own.map(({ user }) => ({ ...rowOf(1), userId: user, eventTimeMs, sessionId: `session-of-${user}` })));
      for (const [row, { rank }] of own.entries()) columns.windowEvents[row] = columns.sessionEvents[row] = rank;
      const first = oseq[partition]!;
      oseq[partition] = first + own.length;
      const value = encodeClean(columns);
      const place = { oseq: first, count: own.length, cut: 1, endsCut: false };
      return Object.assign({ offset: epoch, timestampMs: startMs, key: null, value, headers: [], generation: 1 }, place);
    });
  });
}

interface CaseResult {
  readonly load: string;
  readonly way: string;
  readonly writes_per_event: number;
  readonly calls_per_second: number;
  readonly redis_cpu_percent: number;
  readonly redis_ns_per_event: number;
  readonly sink_ns_per_event: number;
  readonly events_per_second: number;
}

/** Takes the records of some epochs of one partition. */
type Deliver = (partition: number, records: readonly OutputRecord[]) => Promise<unknown>;

interface Server {
  readonly pid: number;
  readonly redis: Redis;
}

async function commandCalls({ redis }: Server, names: readonly string[]): Promise<number> {
  const text = (await redis.script("return redis.call('INFO', 'commandstats')", [], [])) as string;
  return names.reduce((sum, name) => sum + Number(new RegExp(`cmdstat_${name}:calls=(\\d+)`).exec(text)?.[1] ?? 0), 0);
}

/** As the clock says: at each turn what has been committed since the last one. */
async function paced(log: Log, gatherMs: number, deliver: Deliver): Promise<number> {
  const startMs = performance.now();
  for (let from = 0; from < log.length;) {
    const due = Math.min(log.length, Math.floor((performance.now() - startMs) / EPOCH_MS));
    if (due * EPOCH_MS - from * EPOCH_MS >= gatherMs || due === log.length) {
      const epochs = log.slice(from, due);
      await Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => deliver(partition, epochs.map((epoch) => epoch[partition]!)))); // prettier-ignore
      from = due;
    }
    await pause(1);
  }
  return performance.now() - startMs;
}

interface Way {
  readonly name: "event" | "record" | "gathered";
  readonly gatherMs: number;
  /** What comes over the wire; inside a script the same commands count too. */
  readonly commands: readonly string[];
  readonly deliver: Deliver;
}

async function measure(server: Server, load: string, log: Log, { name, gatherMs, commands, deliver }: Way): Promise<CaseResult> {
  const events = eventsOf(log);
  const [writes, calls] = [await commandCalls(server, ["hset"]), await commandCalls(server, commands)];
  const [redisFrom, sinkFrom] = [cpuSeconds(server.pid), process.cpuUsage()];
  const elapsedMs = await paced(log, gatherMs, deliver);
  const redisSeconds = cpuSeconds(server.pid) - redisFrom;
  const sink = process.cpuUsage(sinkFrom);
  return {
    load,
    way: name,
    writes_per_event: rounded(((await commandCalls(server, ["hset"])) - writes) / events, 3),
    calls_per_second: Math.round(((await commandCalls(server, commands)) - calls) / (elapsedMs / 1_000)),
    redis_cpu_percent: rounded((redisSeconds * 100_000) / elapsedMs, 1),
    redis_ns_per_event: Math.round((redisSeconds * 1e9) / events),
    sink_ns_per_event: Math.round(((sink.user + sink.system) * 1e3) / events),
    events_per_second: Math.round((events * 1_000) / elapsedMs),
  };
}

function eventsOf(log: Log): number {
  return log.flat().reduce((sum, { count }) => sum + count, 0);
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}

async function openStores(redis: Redis): Promise<SinkStore[]> {
  const id = { lane: LANE, generation: 1 };
  const rest = { redis, generation: 1, createdChannel: createdChannel(LANE), batch: () => new ActivityBatch(LANE) };
  const stores = Array.from({ length: PARTITIONS }, (_, p) => createHotValuesStore({ ...rest, markKey: markKey(id, "clean", p) }));
  for (const store of stores) await store.resume(null);
  return stores;
}

/** The reference: two hashes and their times to live for each event. */
function writeEachEvent(client: IoRedis): Deliver {
  return async (_partition, records) => {
    for (const { value } of records) {
      const columns = decodeClean(value!);
      const pipeline = client.pipeline();
      for (let row = 0; row < columns.rows; row++) {
        const time = columns.eventTimeMs[row]!;
        const type = columns.eventType.values[columns.eventType.codes[row]!]!;
        const user = userIdAt(columns.userId, row);
        const { bytes, offsets } = columns.sessionId;
        const session = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8", offsets[row], offsets[row + 1]);
        const fields = { last_event_time: time, last_event_type: type, session_events: columns.sessionEvents[row]!, is_final: 0 };
        const key = activityKey(LANE, user);
        pipeline.hset(key, { ...fields, window_events: columns.windowEvents[row]!, session_id: session }).expire(key, 3_600);
        const named = sessionKey(LANE, session);
        pipeline.hset(named, { ...fields, user_id: user }).expire(named, 1_800);
      }
      await pipeline.exec();
    }
  };
}

/** The newest rank that the log has of each user is what Redis shows. */
async function isExact(redis: Redis, log: Log): Promise<boolean> {
  const newest = new Map<string, number>();
  for (const { value } of log.flat()) {
    const { rows, userId, windowEvents } = decodeClean(value!);
    for (let row = 0; row < rows; row++) newest.set(userIdAt(userId, row), windowEvents[row]!);
  }
  const users = [...newest];
  for (let from = 0; from < users.length; from += 1_000) {
    const ends = users.slice(from, from + 1_000).map(async ([user, rank]) => {
      const { window_events: shown } = await redis.hash(activityKey(LANE, user));
      return Number(shown) === rank;
    });
    if ((await Promise.all(ends)).includes(false)) return false;
  }
  return true;
}

export async function run(): Promise<object> {
  const dir = makeBenchFolder();
  const started = await startRedis({ dir: join(dir, "redis") });
  const server = { pid: started.pid, redis: new Redis(started.address) };
  const client = new IoRedis(started.address);
  const { redis } = server;
  try {
    await redis.connect();
    const cases: CaseResult[] = [];
    let exact = true;
    let rebuiltPerSecond = 0;
    for (const load of LOADS) {
      const log = makeLog(load);
      const name = `${load.users} users, ${load.distribution}`;
      const perEvent = { name: "event", gatherMs: EPOCH_MS, commands: ["hset", "expire"], deliver: writeEachEvent(client) } as const;
      await redis.flush();
      cases.push(await measure(server, name, log, perEvent));
      for (const [way, gatherMs] of [
        ["record", EPOCH_MS],
        ["gathered", GATHER_MS],
      ] as const) {
        await redis.flush();
        const stores = await openStores(redis);
        const eachRecord: Deliver = async (p, records) => {
          for (const record of records) await stores[p]!.deliver([record]);
        };
        const deliver: Deliver = way === "record" ? eachRecord : (p, records) => stores[p]!.deliver(records);
        cases.push(await measure(server, name, log, { name: way, gatherMs, commands: ["evalsha"], deliver }));
        exact &&= await isExact(redis, log);
      }
      await redis.flush();
      const stores = await openStores(redis);
      const fromMs = performance.now();
      await Promise.all(stores.map((store, p) => store.deliver(log.map((epoch) => epoch[p]!))));
      rebuiltPerSecond = Math.round((eventsOf(log) * 1_000) / (performance.now() - fromMs));
      exact &&= await isExact(redis, log);
    }
    const [each, , gathered, worstEach, , worst] = cases;
    return {
      name: "redis",
      writes_per_event: gathered!.writes_per_event,
      reference_writes_per_event: each!.writes_per_event,
      redis_ns_per_event: gathered!.redis_ns_per_event,
      reference_redis_ns_per_event: each!.redis_ns_per_event,
      sink_ns_per_event: gathered!.sink_ns_per_event,
      reference_sink_ns_per_event: each!.sink_ns_per_event,
      worst_redis_ns_per_event: worst!.redis_ns_per_event,
      reference_worst_redis_ns_per_event: worstEach!.redis_ns_per_event,
      worst_rebuilt_events_per_second: rebuiltPerSecond,
      exact,
      cases,
    };
  } finally {
    redis.close();
    client.disconnect();
    await started.stop();
  }
}
