/**
 * kill -9 of a processor whose partition holds a million users and is a minute of log, at 100,000 events a second, behind its newest snapshot: how long
 * from the kill until the next process commits something new. It has to fence, fetch and unpack the snapshot, fold the minute again, compare the
 * hash, and carry one epoch through.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { startKafka } from "#local/services/kafka.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { ProcessorProcess } from "../integration/processor/processor-process.ts";
import { makeBenchFolder } from "./bench-folder.ts";
import { BLOCK_ROWS, blockLog } from "./block-log.ts";
import { readProgress } from "./committed-progress.ts";
import { cpuSeconds } from "./process-cost.ts";

const EVENTS_PER_SECOND = 100_000;
const LOG_SECONDS = 60;
const CATCH_UP_LIMIT_MS = 120_000;
const POLL_INTERVAL_MS = 5;
/** One produce request. */
const BLOCKS_AT_ONCE = 8;

export interface RecoveryResult {
  readonly name: "recovery";
  readonly users: number;
  /** Behind the snapshot. */
  readonly events: number;
  /** kill -9 to the first new commit. */
  readonly recovery_seconds: number;
  /** Of it: process start until its runtime says that it recovers; what is left is fetch, fold and commit of the new epoch. */
  readonly start_seconds: number;
  readonly replay_seconds: number;
  /** CPU time of the new process, all threads, until then: what is left when others have the cores. */
  readonly recovery_cpu_seconds: number;
  /** Packing and writing of the snapshot, off the fold's thread. */
  readonly snapshot_seconds: number;
  readonly snapshot_state_mb: number;
  readonly snapshot_stored_mb: number;
  /** Unpacking included. */
  readonly replay_events_per_second: number;
  /** Every event counted once, and the recomputed hash is the committed one: recovery refuses otherwise. */
  readonly exact: boolean;
}

interface Line {
  readonly message: string;
  readonly [field: string]: unknown;
}

function lineOf(processor: ProcessorProcess, message: string): Line {
  const line = processor.log.findLast((candidate) => candidate.message === message);
  if (line === undefined) throw new Error(`the processor never said "${message}":\n${processor.text()}`);
  return line;
}

async function append(kafka: Kafka, lane: string, log: Iterator<OutgoingRecord>, blocks: number): Promise<void> {
  for (let sent = 0; sent < blocks;) {
    const batch: OutgoingRecord[] = [];
    while (batch.length < BLOCKS_AT_ONCE && sent + batch.length < blocks) batch.push(log.next().value as OutgoingRecord);
    await kafka.produce({ topic: topicName(lane, "valid"), partition: 0 }, batch);
    sent += batch.length;
  }
}

async function committed(kafka: Kafka, config: Config, events: number, processor: ProcessorProcess): Promise<Progress> {
  const deadline = performance.now() + CATCH_UP_LIMIT_MS;
  for (;;) {
    const [progress] = await readProgress(kafka, config, 1);
    if (progress !== undefined && progress.hw + 1 >= events) return progress;
    if (processor.hasEnded || performance.now() > deadline)
      throw new Error(`${(progress?.hw ?? -1) + 1} of ${events} events committed:\n${processor.text()}`);
    await pause(POLL_INTERVAL_MS);
  }
}

async function measure(kafka: Kafka, config: Config, users: number, events: number): Promise<RecoveryResult> {
  const { lane } = config;
  const [before, behind] = [Math.ceil(users / BLOCK_ROWS), Math.ceil(events / BLOCK_ROWS)];
  const all = before + behind + 1;
  const log = blockLog({ lane, users, blocks: all, eventsPerSecond: EVENTS_PER_SECOND, eachUserOnce: users });
  const running: ProcessorProcess[] = [];
  const start = (): ProcessorProcess => {
    const processor = new ProcessorProcess(config);
    running.push(processor);
    return processor;
  };
  try {
    await append(kafka, lane, log, before);
    const first = start();
    await committed(kafka, config, before * BLOCK_ROWS, first);
    // A planned hand-over leaves a snapshot where it stops.
    if ((await first.leave()) !== 0) throw new Error(`the processor did not hand over:\n${first.text()}`);
    const snapshot = lineOf(first, "snapshot written");
    const second = start();
    await append(kafka, lane, log, behind);
    await committed(kafka, config, (before + behind) * BLOCK_ROWS, second);
    const last = log.next().value as OutgoingRecord;
    const killedMs = performance.now();
    second.kill();
    await second.exit;
    const third = start();
    const [progress] = await Promise.all([
      committed(kafka, config, all * BLOCK_ROWS, third),
      kafka.produce({ topic: topicName(lane, "valid"), partition: 0 }, [last]),
    ]);
    const recoveryMs = performance.now() - killedMs;
    const cpu = cpuSeconds(third.child.pid!);
    const recovered = lineOf(third, "partition recovered");
    const replayMs = Number(recovered["durationMs"]);
    const { counts } = progress;
    const mb = (bytes: unknown): number => Math.round(Number(bytes) / 1e5) / 10;
    const seconds = (ms: number): number => Math.round(ms) / 1_000;
    return {
      name: "recovery",
      users,
      events: behind * BLOCK_ROWS,
      recovery_seconds: seconds(recoveryMs),
      start_seconds: seconds(recoveryMs - replayMs),
      replay_seconds: seconds(replayMs),
      recovery_cpu_seconds: Math.round(cpu * 100) / 100,
      snapshot_seconds: seconds(Number(snapshot["durationMs"])),
      snapshot_state_mb: mb(snapshot["stateBytes"]),
      snapshot_stored_mb: mb(snapshot["storedBytes"]),
      replay_events_per_second: Math.round((behind * BLOCK_ROWS * 1_000) / replayMs),
      exact:
        Number(recovered["replayedRecords"]) === behind &&
        counts.raw === all * BLOCK_ROWS &&
        counts.raw === counts.clean + counts.duplicate &&
        counts.deadLettered + counts.late + counts.redelivered === 0,
    };
  } finally {
    for (const processor of running) processor.kill();
  }
}

export async function run({
  events = EVENTS_PER_SECOND * LOG_SECONDS,
  users = 1_000_000,
}: { events?: number; users?: number } = {}): Promise<RecoveryResult> {
  const dir = makeBenchFolder();
  const server = await startKafka({ dir: join(dir, "kafka") });
  try {
    const config: Config = {
      ...loadConfig({}),
      lane: "bench",
      // No idle tick, no snapshot by the clock: the distance to the snapshot is what we make it.
      historical: true,
      snapshotIntervalMs: 3_600_000,
      partitions: 1,
      processorWorkers: 1,
      // As a supervisor restarts it: under its old name, so that the group does not wait for the dead one's session.
      processorInstance: "bench",
      dataDir: dir,
      kafka: server.address,
    };
    await createTopics([server.address], topicSpecs(config.lane, 1, { replicationFactor: 1 }));
    const kafka = await openKafka({ brokers: [server.address], clientId: "weir-bench" });
    try {
      return await measure(kafka, config, Math.min(users, events), events);
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
