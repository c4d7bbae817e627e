/**
 * How much of each part a rate needs, and how full an environment's parts are at it. Pure arithmetic over AWS's quotas and docs/BENCHMARKS.md; what is
 * assumed rather than measured is said beside its constant. Nothing here knows a price.
 */
import { type Environment, expressQuota } from "./environment.ts";

export interface Load {
  readonly eventsPerS: number;
  /** Of one event as its producer writes it, uncompressed. */
  readonly eventBytes: number;
}

/** Above the rate: what is caught up after a stall, and uneven partitions. */
const HEADROOM = 1.2;

/** Of one poller; a unit is billed per 20 MB/s (AWS Lambda guide, "Kafka event poller scaling modes"). */
const POLLER_MB_PER_S = 5;
const BATCHES_PER_POLLER = 5;
/** Of the five that a poller may have in flight, four find a partition of their own. */
const PARTITIONS_PER_POLLER = 4;
/** Assumed of a full batch of 2,000: with Kafka's acknowledgement, on one core. */
export const INVOCATION_MS = 50;

/** Assumed of snappy on JSON. */
const RAW_COMPRESSION = 2;
/** docs/BENCHMARKS.md, block, 1,000 rows: 201 bytes for an event of 337; blocks lie in Kafka as they are. */
const BLOCK_BYTES_PER_EVENT_BYTE = 201 / 337;

/** docs/BENCHMARKS.md, processor, by the clock and cold: what one worker reads again after a failure. */
const REPLAY_EVENTS_PER_S = 260_191;
const SNAPSHOT_EVERY_S = 60;
/** A dead task is missed within 10 of the 15 seconds that recovery may take. */
const REPLAY_WITHIN_S = 5;
/** docs/BENCHMARKS.md, processor: with Kafka and commit, CPU of the process. */
const WORKER_EVENTS_PER_S = 329_577;

/** processor/state/id-table.ts: a row of 24 bytes and its share of the index, for ten minutes of log time. */
const BYTES_PER_ID = 40;
const ID_HORIZON_S = 600;
/** The rest is windows and users, Kafka's buffers and a snapshot under way. */
const ID_SHARE_OF_MEMORY = 0.5;

/** Assumed: ten to one against the producer's bytes, as ClickHouse stores typed columns with ZSTD. */
const CLICKHOUSE_COMPRESSION = 10;
/** Merges write a row about this often beside its insert; assumed. */
const CLICKHOUSE_WRITES = 5;
/** The TTL of the tables, sinks/clickhouse/migrations. */
const CLICKHOUSE_DAYS = 90;
const S_PER_DAY = 86_400;

export interface Traffic {
  /** As Lambda receives and bills it. */
  readonly rawMbPerS: number;
  /** Into brokers, before replication: raw, valid, clean. */
  readonly kafkaInMbPerS: number;
  /** Raw once, valid once, clean for ClickHouse and Redis. */
  readonly kafkaOutMbPerS: number;
  readonly compressedRawMbPerS: number;
  readonly clickhouseMbPerS: number;
}

export function trafficOf({ eventsPerS, eventBytes }: Load): Traffic {
  const rawMbPerS = (eventsPerS * eventBytes) / 1e6;
  const compressedRawMbPerS = rawMbPerS / RAW_COMPRESSION;
  const blocksMbPerS = rawMbPerS * BLOCK_BYTES_PER_EVENT_BYTE;
  return {
    rawMbPerS,
    compressedRawMbPerS,
    kafkaInMbPerS: compressedRawMbPerS + 2 * blocksMbPerS,
    kafkaOutMbPerS: compressedRawMbPerS + 3 * blocksMbPerS,
    clickhouseMbPerS: rawMbPerS / CLICKHOUSE_COMPRESSION,
  };
}

export interface Need {
  readonly pollers: number;
  readonly partitions: number;
  readonly provisionedConcurrency: number;
  readonly reservedConcurrency: number;
  /** Of the environment's broker type. */
  readonly brokers: number;
  readonly tasks: number;
  readonly clickhouseGibPerReplica: number;
}

/** What `environment`, with its sizes of machines, needs to carry `load`. */
export function needOf(environment: Environment, load: Load): Need {
  const traffic = trafficOf(load);
  const pollers = Math.ceil((traffic.rawMbPerS * HEADROOM) / POLLER_MB_PER_S);
  const quota = expressQuota(environment);
  const byTraffic =
    quota === undefined ? 3 : Math.ceil(Math.max(traffic.kafkaInMbPerS / quota.in, traffic.kafkaOutMbPerS / quota.out) * HEADROOM);
  const { workers, memoryMib } = environment.processor;
  const replay = (SNAPSHOT_EVERY_S * load.eventsPerS) / (REPLAY_WITHIN_S * REPLAY_EVENTS_PER_S * workers);
  const steady = (load.eventsPerS * HEADROOM) / (WORKER_EVENTS_PER_S * workers);
  const memory = idBytes(load) / (memoryMib * 2 ** 20 * ID_SHARE_OF_MEMORY);
  return {
    pollers,
    partitions: Math.ceil((pollers * PARTITIONS_PER_POLLER) / 8) * 8,
    provisionedConcurrency: environment.isDurable ? pollers : 0,
    reservedConcurrency: pollers * BATCHES_PER_POLLER,
    // A third in each zone.
    brokers: Math.max(3, Math.ceil(byTraffic / 3) * 3),
    tasks: Math.ceil(Math.max(replay, steady, memory)),
    clickhouseGibPerReplica: Math.ceil((traffic.clickhouseMbPerS * 1e6 * S_PER_DAY * CLICKHOUSE_DAYS) / 2 ** 30),
  };
}

export interface Limit {
  readonly name: string;
  /** Of what the part can do; above 1 it cannot. */
  readonly use: number;
  readonly what: string;
}

/** Fullest first: the first one binds. */
export function limitsOf(environment: Environment, load: Load): Limit[] {
  const { validator, processor, clickhouse, kafka, partitions } = environment;
  const traffic = trafficOf(load);
  const need = needOf(environment, load);
  const limits: Limit[] = [];
  const add = (name: string, wanted: number, has: number, what: string): void => void limits.push({ name, use: wanted / has, what });

  add("pollers", traffic.rawMbPerS, validator.pollers * POLLER_MB_PER_S, "MB/s through the event source mapping");
  const inFlight = Math.min(validator.pollers * BATCHES_PER_POLLER, partitions, validator.reservedConcurrency ?? Infinity);
  add("validators", (load.eventsPerS / validator.batchSize) * (INVOCATION_MS / 1_000), inFlight, "batches in flight");
  const quota = expressQuota(environment);
  if (quota !== undefined) {
    add("kafka in", traffic.kafkaInMbPerS, kafka.brokers * quota.in, "MB/s into all brokers");
    add(
      "kafka in, a zone away",
      traffic.kafkaInMbPerS,
      (kafka.brokers / 3) * 2 * quota.in,
      "the same through two thirds: above 100 % it throttles",
    );
    add("kafka out", traffic.kafkaOutMbPerS, kafka.brokers * quota.out, "MB/s out of all brokers");
  }
  const workers = processor.tasks * processor.workers;
  add("processor CPU", load.eventsPerS, workers * WORKER_EVENTS_PER_S, "events/s on all workers");
  const replayS = (SNAPSHOT_EVERY_S * load.eventsPerS) / (workers * REPLAY_EVENTS_PER_S);
  add("processor recovery", replayS, REPLAY_WITHIN_S, "seconds of replay since the last snapshot");
  add("processor memory", idBytes(load), processor.tasks * processor.memoryMib * 2 ** 20 * ID_SHARE_OF_MEMORY, "ids of ten minutes");
  add("clickhouse disk", need.clickhouseGibPerReplica, clickhouse.volumeGib, `${CLICKHOUSE_DAYS} days of rows on a replica's volume`);
  add("clickhouse writes", traffic.clickhouseMbPerS * CLICKHOUSE_WRITES, clickhouse.volumeMbPerS, "MB/s, merges included");
  return limits.toSorted((a, b) => b.use - a.use);
}

/** What the volume holds at `load`, at most what the tables keep. */
export function clickhouseDays({ clickhouse }: Environment, load: Load): number {
  return Math.min(CLICKHOUSE_DAYS, (clickhouse.volumeGib * 2 ** 30) / (trafficOf(load).clickhouseMbPerS * 1e6 * S_PER_DAY));
}

function idBytes({ eventsPerS }: Load): number {
  return eventsPerS * ID_HORIZON_S * BYTES_PER_ID;
}
