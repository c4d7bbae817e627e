/**
 * How long the processor holds an event: 100,000 a second, a block of 1,000 every ten milliseconds, each timed from the moment it was due to be appended
 * to events.valid until a read_committed reader has its rows from events.clean. A block that waits behind a slow one is timed from its own due
 * time, so a stall counts for every block in it. Broker, processor, sender and reader share this machine's cores.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { startKafka } from "#local/services/kafka.ts";
import { parseProgress } from "#processor/checkpoint/progress-text.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { ProcessorProcess } from "../integration/processor/processor-process.ts";
import { makeBenchFolder } from "./bench-folder.ts";
import { BLOCK_ROWS, blockLog } from "./block-log.ts";
import { cpuSeconds } from "./process-cost.ts";

const EVENTS_PER_SECOND = 100_000;
const BLOCK_EVERY_MS = (BLOCK_ROWS * 1_000) / EVENTS_PER_SECOND;
/** Not counted: code is compiled, tables grow. */
const WARM_UP_SHARE = 0.25;
const USERS = 100_000;
const LIMIT_MS = 60_000;
/** One produce request; 2 MB are its limit. */
const BLOCKS_AT_ONCE = 8;
const decoder = new TextDecoder();

export interface LatencyResult {
  readonly name: "latency";
  readonly events: number;
  readonly paced_events_per_second: number;
  /** Due time of a block to its rows with a read_committed reader. */
  readonly latency_ms_p50: number;
  readonly latency_ms_p90: number;
  readonly latency_ms_p99: number;
  readonly latency_ms_max: number;
  readonly samples: number;
  /** From the acknowledgement of the append: without the sender's queue and the broker's write. */
  readonly after_append_ms_p50: number;
  readonly after_append_ms_p99: number;
  readonly processor_cpu_seconds_per_million: number;
  /** Every block came out, once. */
  readonly exact: boolean;
}

interface Times {
  readonly due: Float64Array;
  readonly appended: Float64Array;
  readonly seen: Float64Array;
}

async function send(kafka: Kafka, lane: string, records: readonly OutgoingRecord[], times: Times): Promise<void> {
  const startMs = performance.now() + BLOCK_EVERY_MS;
  for (let i = 0; i < records.length; i++) times.due[i] = startMs + i * BLOCK_EVERY_MS;
  for (let next = 0; next < records.length;) {
    const waitMs = times.due[next]! - performance.now();
    if (waitMs > 0.5) await pause(waitMs);
    // What became due during the append before goes along in one batch, as a validator's block would be larger.
    let to = next + 1;
    while (to < records.length && to - next < BLOCKS_AT_ONCE && times.due[to]! <= performance.now()) to += 1;
    await kafka.produce({ topic: topicName(lane, "valid"), partition: 0 }, records.slice(next, to));
    times.appended.fill(performance.now(), next, to);
    next = to;
  }
}

/** The progress that rides on an epoch's last clean record says up to which source offset its transaction goes. */
async function watch(kafka: Kafka, lane: string, blocks: number, times: Times, stop: AbortSignal): Promise<number> {
  const at = { topic: topicName(lane, "clean"), partition: 0 };
  let offset = 0;
  let seen = 0;
  let rows = 0;
  while (seen < blocks && !stop.aborted) {
    const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", maxWaitMs: 100 });
    const nowMs = performance.now();
    for (const { headers } of answer!.records) {
      const text = (key: string): string | undefined => {
        const header = headers.find(([name]) => name === key);
        return header === undefined ? undefined : decoder.decode(header[1]);
      };
      const progress = parseProgress(text(HEADERS.progress) ?? "");
      if (progress === null) continue;
      rows = progress.counts.clean + progress.counts.duplicate;
      const to = Math.floor((progress.hw + 1) / BLOCK_ROWS);
      times.seen.fill(nowMs, seen, to);
      seen = Math.max(seen, to);
    }
    offset = answer!.nextOffset;
  }
  return rows;
}

async function measure(kafka: Kafka, config: Config, blocks: number): Promise<LatencyResult> {
  const records = [...blockLog({ lane: config.lane, users: USERS, blocks, eventsPerSecond: EVENTS_PER_SECOND })];
  const times: Times = { due: new Float64Array(blocks), appended: new Float64Array(blocks), seen: new Float64Array(blocks) };
  const processor = new ProcessorProcess(config);
  const reader = await openKafka({ brokers: config.kafka.split(","), clientId: "weir-bench-reader" });
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), blocks * BLOCK_EVERY_MS + LIMIT_MS);
  try {
    await processor.ready;
    const cpuFrom = cpuSeconds(processor.child.pid!);
    const [rows] = await Promise.all([watch(reader, config.lane, blocks, times, limit.signal), send(kafka, config.lane, records, times)]);
    if (limit.signal.aborted) throw new Error(`not everything came out in time:\n${processor.text()}`);
    const cpu = cpuSeconds(processor.child.pid!) - cpuFrom;
    const from = Math.floor(blocks * WARM_UP_SHARE);
    const sorted = (start: Float64Array): Float64Array =>
      times.seen
        .map((atMs, i) => atMs - start[i]!)
        .subarray(from)
        .toSorted();
    const [all, after] = [sorted(times.due), sorted(times.appended)];
    const pick = (values: Float64Array, share: number): number =>
      Math.round(values[Math.min(values.length - 1, Math.floor(values.length * share))]! * 10) / 10;
    const spanMs = times.appended[blocks - 1]! - times.due[0]! + BLOCK_EVERY_MS;
    return {
      name: "latency",
      events: blocks * BLOCK_ROWS,
      paced_events_per_second: Math.round((blocks * BLOCK_ROWS * 1_000) / spanMs),
      latency_ms_p50: pick(all, 0.5),
      latency_ms_p90: pick(all, 0.9),
      latency_ms_p99: pick(all, 0.99),
      latency_ms_max: pick(all, 1),
      samples: all.length,
      after_append_ms_p50: pick(after, 0.5),
      after_append_ms_p99: pick(after, 0.99),
      processor_cpu_seconds_per_million: Math.round((cpu * 1e9) / (blocks * BLOCK_ROWS)) / 1_000,
      exact: rows === blocks * BLOCK_ROWS,
    };
  } finally {
    clearTimeout(timer);
    processor.kill();
    await reader.close();
  }
}

export async function run({ events = 2_000_000 }: { events?: number } = {}): Promise<LatencyResult> {
  const dir = makeBenchFolder();
  const server = await startKafka({ dir: join(dir, "kafka") });
  try {
    const config: Config = {
      ...loadConfig({}),
      lane: "bench",
      historical: true,
      partitions: 1,
      processorWorkers: 1,
      dataDir: dir,
      kafka: server.address,
    };
    await createTopics([server.address], topicSpecs(config.lane, 1, { replicationFactor: 1 }));
    const kafka = await openKafka({ brokers: [server.address], clientId: "weir-bench" });
    try {
      return await measure(kafka, config, Math.max(4, Math.round(events / BLOCK_ROWS)));
    } finally {
      await kafka.close();
    }
  } finally {
    await server.stop();
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${JSON.stringify(await run(), null, 2)}\n`);
}
