/**
 * The whole pipeline on this machine, as `npm start` runs it. First as many events as fast as they can be sent, timed until the last clean one is in
 * ClickHouse; then a paced run, timing each event from its hand-over to the producer until a read_committed fetch of events.clean returns it.
 *
 * The load generator and the reader run in the bench's own process, on the same cores as broker, validator, processor, sinks and databases. Not
 * measured: a network, replication, more machines. There is no reference case: nobody else's pipeline does the same.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { countRows } from "#local/ledger-watch.ts";
import { startChild } from "#local/services/child-process.ts";
import { ROOT } from "#local/services/parts.ts";
import { awaitReady } from "#local/services/readiness.ts";
import { readLocalState, readPipelineStatus } from "#local/state.ts";
import { createGenerator, DEFAULT_SHARES, type EventKind, type Generator } from "#loadgen/generator.ts";
import { Pacer } from "#loadgen/pacer.ts";
import { RecordSender } from "#loadgen/sender.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { makeBenchFolder } from "./bench-folder.ts";
import { CleanWatch } from "./clean-watch.ts";
import { readProgress, sumCounts } from "./committed-progress.ts";
import { familyCpuSeconds } from "./process-cost.ts";

const START_LIMIT_MS = 120_000;
const SETTLE_LIMIT_MS = 90_000;
const POLL_INTERVAL_MS = 20;
/** As the load generator sends. */
const TICK_MS = 4;
const BURST = 1_000;
const USERS = 100_000;
const PACED_RATE = 2_000;
const PACED_SECONDS = 20;
/** Of the paced run, not counted: the pipeline goes from idle to its pace. */
const SETTLING_SECONDS = 2;

export interface PipelineResult {
  readonly name: "pipeline";
  readonly events: number;
  /** First send to last clean event in ClickHouse. */
  readonly events_per_second: number;
  /** First send to the processor's last commit. */
  readonly committed_events_per_second: number;
  readonly paced_events_per_second: number;
  readonly latency_ms_p50: number;
  readonly latency_ms_p99: number;
  readonly latency_ms_max: number;
  readonly latency_samples: number;
  /** Of both runs together: sent = clean + dead-lettered + duplicate + late, bad ones and repeats are the generator's, ClickHouse holds the clean ones. */
  readonly exact: boolean;
  /** By part, with the processes that it started. */
  readonly fast_run_cpu_seconds: Readonly<Record<string, number>>;
}

class Load {
  readonly kinds: Record<EventKind, number> = { normal: 0, late: 0, duplicate: 0, poison: 0, futureClock: 0 };
  total = 0;
  readonly #generator: Generator = createGenerator({ seed: "bench", users: USERS, distribution: "zipf", shares: DEFAULT_SHARES });
  readonly #sender: RecordSender;
  readonly #partitions: number;

  constructor(kafka: Kafka, topic: string, partitions: number) {
    this.#partitions = partitions;
    this.#sender = new RecordSender({ kafka, topic, partitions, lingerMs: TICK_MS });
  }

  get retries(): number {
    return this.#sender.counts.retries;
  }

  /** `onNew` sees the bytes of each event that has to become a clean one. */
  send(count: number, onNew?: (value: Uint8Array) => void): void {
    const timestampMs = Date.now();
    for (let i = 0; i < count; i++) {
      const { kind, key, value } = this.#generator.next(timestampMs);
      this.kinds[kind]++;
      if (kind === "normal") onNew?.(value);
      this.#sender.add(partitionOf(key, this.#partitions), { key, value, timestampMs });
    }
    this.total += count;
  }

  room(): Promise<void> {
    return this.#sender.room();
  }

  flush(): Promise<void> {
    return this.#sender.flush();
  }
}

interface Settled {
  readonly committedMs: number;
  readonly writtenMs: number;
  readonly exact: boolean;
}

/** Waits until every event sent is committed and every clean one is in ClickHouse. */
async function settle(kafka: Kafka, config: Config, load: Load): Promise<Settled> {
  const deadline = performance.now() + SETTLE_LIMIT_MS;
  let committedMs: number | undefined;
  for (;;) {
    const counts = sumCounts(await readProgress(kafka, config, config.partitions));
    if (counts.raw >= load.total) {
      committedMs ??= performance.now();
      const rows = await countRows(config);
      if (rows >= counts.clean) {
        const { poison, futureClock, duplicate } = load.kinds;
        const balanced = counts.raw === load.total && rows === counts.clean;
        const kept = counts.deadLettered === poison + futureClock && counts.duplicate === duplicate;
        const whole = counts.raw === counts.clean + counts.deadLettered + counts.duplicate + counts.late;
        return { committedMs, writtenMs: performance.now(), exact: balanced && kept && whole && load.retries === 0 };
      }
    }
    if (performance.now() > deadline)
      throw new Error(`not settled after ${SETTLE_LIMIT_MS / 1_000} s: ${counts.raw} of ${load.total} events processed`);
    await pause(POLL_INTERVAL_MS);
  }
}

async function sendFast(load: Load, events: number): Promise<void> {
  while (load.total < events) {
    load.send(Math.min(BURST, events - load.total));
    await load.room();
    // Lets the socket have its turn.
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await load.flush();
}

async function sendPaced(load: Load, watch: CleanWatch): Promise<number> {
  const startMs = performance.now();
  const total = PACED_RATE * PACED_SECONDS;
  const pacer = new Pacer({ ratePerSecond: PACED_RATE, startMs });
  for (let sent = 0; sent < total;) {
    const now = performance.now();
    const due = pacer.take(now, total - sent);
    const counted = now - startMs > SETTLING_SECONDS * 1_000;
    load.send(due, counted ? (value) => watch.sent(value, performance.now()) : undefined);
    sent += due;
    await pause(TICK_MS);
  }
  await load.flush();
  return (total * 1_000) / (performance.now() - startMs);
}

function cpuByPart(dataDir: string): Map<string, number> {
  const parts = readPipelineStatus(dataDir)?.parts ?? [];
  return new Map(parts.flatMap(({ name, pid }) => (pid === null ? [] : [[name, familyCpuSeconds(pid)] as const])));
}

async function measure(config: Config, events: number): Promise<PipelineResult> {
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-bench" });
  try {
    const load = new Load(kafka, topicName(config.lane, "raw"), config.partitions);
    const cpuBefore = cpuByPart(config.dataDir);
    const ownCpu = process.cpuUsage();
    const startMs = performance.now();
    await sendFast(load, events);
    const fast = await settle(kafka, config, load);
    const own = process.cpuUsage(ownCpu);
    const cpuAfter = cpuByPart(config.dataDir);
    const watch = await CleanWatch.open(config);
    const pacedPerSecond = await sendPaced(load, watch);
    const paced = await settle(kafka, config, load);
    const latencies = await watch.close(SETTLE_LIMIT_MS);
    const at = (share: number): number =>
      Math.round(latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))]! * 10) / 10;
    const spent = [...cpuAfter].map(([name, seconds]) => [name, Math.round((seconds - (cpuBefore.get(name) ?? 0)) * 100) / 100] as const);
    return {
      name: "pipeline",
      events,
      events_per_second: Math.round((events * 1_000) / (fast.writtenMs - startMs)),
      committed_events_per_second: Math.round((events * 1_000) / (fast.committedMs - startMs)),
      paced_events_per_second: Math.round(pacedPerSecond),
      latency_ms_p50: at(0.5),
      latency_ms_p99: at(0.99),
      latency_ms_max: at(1),
      latency_samples: latencies.length,
      exact: fast.exact && paced.exact,
      fast_run_cpu_seconds: { ...Object.fromEntries(spent), load: Math.round((own.user + own.system) / 10_000) / 100 },
    };
  } finally {
    await kafka.close();
  }
}

export async function run({ events = 200_000 }: { events?: number } = {}): Promise<PipelineResult> {
  const dir = makeBenchFolder();
  const starter = await startChild({
    name: "weir",
    command: process.execPath,
    args: ["--disable-warning=TimeoutNegativeWarning", join(ROOT, "local/up.ts"), "--seed", "none", "--data-dir", dir],
    cwd: ROOT,
    environment: { PATH: "/usr/bin:/bin", TZ: "UTC" },
    logFile: join(dir, "starter.log"),
  });
  try {
    const stateOf = (): NonNullable<ReturnType<typeof readLocalState>> => {
      const state = readLocalState(dir);
      if (state === undefined || state.statusUrl === "") throw new Error("the pipeline does not run yet");
      return state;
    };
    await awaitReady(starter, { limitMs: START_LIMIT_MS, signal: undefined, probe: () => void stateOf() });
    const { pid: _pid, statusUrl: _url, ...addresses } = stateOf();
    return await measure({ ...loadConfig({}), ...addresses }, events);
  } finally {
    await starter.stop({ limitMs: 30_000 });
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${JSON.stringify(await run(), null, 2)}\n`);
}
