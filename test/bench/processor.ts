/**
 * The real processor catches up on a topic of blocks that are there already: one partition on a real broker, exactly-once commits, as a process of
 * its own whose CPU time is read from outside. The first half of the events warms up (tables grow, code is compiled), the second is measured.
 * Beside it, over the same events as JSON text on the same broker: object-processor.ts. Both must close the same windows.
 *
 * Where the readings cannot be exact they round against us: what was folded but not yet committed at the half is not counted as measured.
 * Not measured: the broker's own CPU, the validator, the sinks, more than one partition, expiry (no event grows ten minutes old in log time); a
 * snapshot falls into the run only if it takes a minute.
 */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { startNodeService } from "#local/node-service.ts";
import { startKafka } from "#local/services/kafka.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { decodeClean, decodeWindows, encodeBlock } from "#shared/events/block.ts";
import type { EventColumns } from "#shared/events/columns.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { makeBenchFolder } from "./bench-folder.ts";
import { readProgress } from "./committed-progress.ts";
import { EventStream } from "./fold-events.ts";
import { WindowDigest } from "./object-fold.ts";
import type { ObjectProcessorResult } from "./object-processor.ts";
import { cpuSeconds, peakMemoryMib } from "./process-cost.ts";

const BLOCK_ROWS = 1_000;
const POLL_INTERVAL_MS = 10;
const CATCH_UP_LIMIT_MS = 120_000;
const encoder = new TextEncoder();

export interface ProcessorResult {
  readonly name: "processor";
  readonly events: number;
  /** CPU time of the whole process, all threads, over the measured half. */
  readonly ns_per_event: number;
  readonly events_per_core_second: number;
  readonly engine_cpu_seconds_per_million: number;
  readonly reference_ns_per_event: number;
  /** Over all events, from ready on: with the growth of the tables and with cold code. */
  readonly cold_ns_per_event: number;
  /** By the clock, over all events: what the machine left us. */
  readonly events_per_second: number;
  readonly rss_mb: number;
  readonly reference_rss_mb: number;
  /** Committed counts, the rows of each output topic and the closed windows are what went in. */
  readonly exact: boolean;
}

interface Filled {
  readonly duplicates: number;
}

interface CatchUp {
  readonly nsPerEvent: number;
  readonly coldNsPerEvent: number;
  readonly eventsPerSecond: number;
  readonly peakMib: number;
  readonly progress: Progress;
}

async function fill(kafka: Kafka, lane: string, events: number, users: number): Promise<Filled> {
  const raw = { topic: topicName(lane, "raw"), partition: 0 };
  const valid = { topic: topicName(lane, "valid"), partition: 0 };
  const stream = new EventStream(users, events, BLOCK_ROWS);
  let duplicates = 0;
  let inFlight: Promise<unknown> = Promise.resolve();
  for (const columns of stream.blocks()) {
    const firstSourceOffset = columns.sourceOffset[0]!;
    const lastSourceOffset = firstSourceOffset + columns.rows - 1;
    const meta = { generation: 1, topic: raw.topic, partition: 0, firstSourceOffset, lastSourceOffset, rulesVersion: 1 };
    const value = encodeBlock(columns, meta);
    const headers = { kind: "block", generation: 1, firstSourceOffset, lastSourceOffset, count: columns.rows, rulesVersion: 1 } as const;
    const named = Object.entries(headers).map(
      ([name, content]) => [HEADERS[name as keyof typeof headers], encoder.encode(String(content))] as const,
    );
    const timestampMs = Date.now();
    const texts = stream.texts(columns).map((text) => ({ key: null, value: encoder.encode(text), timestampMs }));
    await inFlight;
    inFlight = Promise.all([kafka.produce(valid, [{ key: null, value, headers: named }]), kafka.produce(raw, texts)]);
    duplicates += countRepeats(columns);
  }
  await inFlight;
  return { duplicates };
}

/** The stream repeats an event only right behind itself. */
function countRepeats({ rows, eventId }: EventColumns): number {
  const ids = Buffer.from(eventId.buffer, eventId.byteOffset, eventId.byteLength);
  let repeats = 0;
  for (let row = 1; row < rows; row++) if (ids.compare(ids, row * 16 - 16, row * 16, row * 16, row * 16 + 16) === 0) repeats++;
  return repeats;
}

async function catchUp(kafka: Kafka, config: Config, events: number): Promise<CatchUp> {
  const logFile = join(config.dataDir, "processor.log");
  const processor = await startNodeService({
    name: "processor",
    entry: "processor/main.ts",
    config,
    logFile,
    limitMs: 30_000,
    stopLimitMs: 10_000,
    signal: AbortSignal.timeout(CATCH_UP_LIMIT_MS),
  });
  const spentS = (): number => {
    try {
      return cpuSeconds(processor.pid);
    } catch {
      throw new Error(`the processor ended:\n${lastLines(logFile)}`);
    }
  };
  try {
    const from = { cpuS: spentS(), ms: performance.now() };
    let half: { readonly cpuS: number; readonly done: number } | undefined;
    /** Events from here on are measured: whatever was in flight at the half is committed. */
    let counted: number | undefined;
    for (;;) {
      if (performance.now() - from.ms > CATCH_UP_LIMIT_MS)
        throw new Error(`the processor has not caught up in ${CATCH_UP_LIMIT_MS / 1_000} s:\n${lastLines(logFile)}`);
      const cpuS = spentS();
      const [progress] = await readProgress(kafka, config, 1);
      const done = (progress?.hw ?? -1) + 1;
      if (half !== undefined && done > half.done) counted ??= done;
      if (done >= events / 2) half ??= { cpuS, done };
      if (progress !== undefined && done === events) {
        const end = { cpuS: spentS(), ms: performance.now() };
        if (half === undefined || counted === undefined || counted === events)
          throw new Error(`${events} events are too few to measure: more with --events N`);
        return {
          nsPerEvent: ((end.cpuS - half.cpuS) * 1e9) / (events - counted),
          coldNsPerEvent: ((end.cpuS - from.cpuS) * 1e9) / events,
          eventsPerSecond: (events * 1_000) / (end.ms - from.ms),
          peakMib: peakMemoryMib(processor.pid),
          progress,
        };
      }
      await pause(POLL_INTERVAL_MS);
    }
  } finally {
    await processor.stop();
  }
}

function lastLines(file: string): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-5).join("\n");
}

interface Outputs {
  readonly cleanRows: number;
  readonly ordered: boolean;
  readonly others: number;
  readonly windows: string;
}

/** By the reader that is not our own. */
async function readOutputs(kafka: Kafka, broker: string, lane: string): Promise<Outputs> {
  let cleanRows = 0;
  let last = -1;
  let ordered = true;
  await readCommitted([broker], topicName(lane, "clean"), ({ value }) => {
    if (value === null) return;
    const { rows, sourceOffset } = decodeClean(value);
    cleanRows += rows;
    for (let row = 0; row < rows; row++) {
      ordered &&= sourceOffset[row]! > last;
      last = sourceOffset[row]!;
    }
  });
  const digest = new WindowDigest();
  await readCommitted([broker], topicName(lane, "windows"), ({ value }) => {
    if (value !== null) digest.addColumns(decodeWindows(value));
  });
  let others = 0;
  for (const role of ["dlq", "late"] as const)
    others += await kafka.listOffset({ topic: topicName(lane, role), partition: 0 }, "latest", "read_committed");
  return { cleanRows, ordered, others, windows: digest.text() };
}

async function runReference(broker: string, topic: string, events: number, outOfOrdernessMs: number): Promise<ObjectProcessorResult> {
  const program = join(import.meta.dirname, "object-processor.ts");
  const args = [program, broker, topic, String(events), String(outOfOrdernessMs)];
  const { stdout } = await promisify(execFile)(process.execPath, ["--max-old-space-size=4096", ...args], { timeout: CATCH_UP_LIMIT_MS });
  return JSON.parse(stdout) as ObjectProcessorResult;
}

export async function run({ events = 1_000_000, users = 1_000_000 }: { events?: number; users?: number } = {}): Promise<ProcessorResult> {
  const whole = Math.max(1, Math.round(events / BLOCK_ROWS)) * BLOCK_ROWS;
  const dir = makeBenchFolder();
  const server = await startKafka({ dir: join(dir, "kafka") });
  try {
    const lane = "bench";
    // Historical: no idle tick closes windows that the reference leaves open.
    const config = { ...loadConfig({}), lane, historical: true, partitions: 1, dataDir: dir, kafka: server.address };
    await createTopics([server.address], topicSpecs(lane, 1, { replicationFactor: 1 }));
    const kafka = await openKafka({ brokers: [server.address], clientId: "weir-bench" });
    try {
      const { duplicates } = await fill(kafka, lane, whole, users);
      const engine = await catchUp(kafka, config, whole);
      const reference = await runReference(server.address, topicName(lane, "raw"), whole, config.outOfOrdernessMs);
      const outputs = await readOutputs(kafka, server.address, lane);
      const { counts } = engine.progress;
      const exact =
        counts.raw === whole &&
        counts.clean === whole - duplicates &&
        counts.duplicate === duplicates &&
        counts.deadLettered + counts.late + counts.redelivered === 0 &&
        outputs.cleanRows === counts.clean &&
        outputs.ordered &&
        outputs.others === 0 &&
        outputs.windows === reference.digest;
      return {
        name: "processor",
        events: whole,
        ns_per_event: Math.round(engine.nsPerEvent),
        events_per_core_second: Math.round(1e9 / engine.nsPerEvent),
        engine_cpu_seconds_per_million: Math.round(engine.nsPerEvent) / 1_000,
        reference_ns_per_event: reference.cpu_ns_per_event,
        cold_ns_per_event: Math.round(engine.coldNsPerEvent),
        events_per_second: Math.round(engine.eventsPerSecond),
        rss_mb: engine.peakMib,
        reference_rss_mb: reference.peak_memory_mib,
        exact,
      };
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
