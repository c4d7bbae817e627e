/** What happens between a started pipeline and its end: until Ctrl-C, for a while, or for one recorded data set. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { runFlights } from "#loadgen/flights.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { environmentOf, processFlags } from "#shared/config/config.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { say, seconds, step } from "./console.ts";
import type { DataFolder } from "./data-folder.ts";
import { countRows, type InFlight, readInFlight } from "./ledger-watch.ts";
import type { StartOptions } from "./options.ts";
import type { Pipeline } from "./pipeline.ts";
import { ROOT } from "./services/parts.ts";

const POLL_INTERVAL_MS = 100;
const FIRST_EVENT_LIMIT_MS = 60_000;
const DRAIN_LIMIT_MS = 120_000;

export interface Run {
  readonly pipeline: Pipeline;
  readonly options: StartOptions;
  readonly folder: DataFolder;
  /** `performance.now()` at the process's start. */
  readonly startedAt: number;
  readonly stop: AbortSignal;
}

export async function runUntilStopped(run: Run): Promise<never> {
  await startLoad(run);
  await new Promise<never>(() => {});
  throw new Error("unreachable");
}

/** @returns the exit code of `weir verify`. */
export async function runForAWhile(run: Run): Promise<number> {
  await startLoad(run);
  await pause(run.options.forMs, undefined, { signal: run.stop });
  await run.pipeline.stopGenerator();
  return settle(run);
}

/** Sends the recorded flights, waits until they are folded and closes their windows. @returns the exit code of `weir verify`. */
export async function runRecorded(run: Run): Promise<number> {
  const { config } = run.pipeline;
  banner(run, undefined);
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-flights" });
  try {
    await step(
      "flights",
      () => runFlights({ kafka, config, stop: run.stop }),
      (sent) => `${sent} events`,
    );
  } finally {
    await kafka.close();
  }
  return settle(run);
}

async function startLoad(run: Run): Promise<void> {
  const { pipeline, options } = run;
  if (options.seed === "none") return banner(run, undefined);
  const before = await countRows(pipeline.config);
  await pipeline.startGenerator(["--rate", String(options.rate)]);
  banner(run, await firstEvent(run, before));
}

/** Milliseconds from the process's start until ClickHouse shows an event of this run; undefined when none came. */
async function firstEvent({ pipeline, startedAt, stop }: Run, before: number): Promise<number | undefined> {
  const deadline = performance.now() + FIRST_EVENT_LIMIT_MS;
  while (performance.now() < deadline) {
    // A server that is just being restarted answers the next time.
    if ((await countRows(pipeline.config).catch(() => before)) > before) return performance.now() - startedAt;
    await pause(POLL_INTERVAL_MS, undefined, { signal: stop });
  }
  return undefined;
}

function banner({ pipeline, options, folder }: Run, firstEventMs: number | undefined): void {
  const { config, statusUrl } = pipeline;
  const first = firstEventMs === undefined ? "no event in ClickHouse yet" : `first event in ClickHouse after ${seconds(firstEventMs)}`;
  const load = options.seed === "live" ? `${options.rate} events/s` : options.seed === "none" ? "no load" : "recorded flights";
  const lines = [
    `weir runs: lane ${config.lane}, ${config.partitions} partitions, ${load}; ${options.seed === "live" ? first : "waiting for events"}`,
    `  Status      ${statusUrl}`,
    `  Kafka       ${config.kafka}`,
    `  ClickHouse  ${config.clickhouse}  database ${config.clickhouseDatabase}`,
    `  PostgreSQL  ${config.postgres}`,
    `  Redis       ${config.redis}`,
    `  Data        ${folder.dir} (${folder.kept ? "kept" : "deleted at the end"})`,
    ...(options.headless
      ? []
      : [
          `  Next        npm run weir -- verify${folder.kept && options.isUsualFolder ? "" : ` --data-dir ${folder.dir}`}    recounts every event`,
          "  Stop        Ctrl-C",
        ]),
  ];
  say(`\n${lines.join("\n")}\n`);
}

/** Waits until nothing is in flight, then recounts. */
async function settle(run: Run): Promise<number> {
  await step(
    "drain",
    () => drained(run),
    (counted) => `${counted.raw} events, 0 in flight`,
  );
  return weir(run, ["verify"]);
}

/** @throws OperatingError code DRAIN_TIMEOUT. */
async function drained({ pipeline, stop }: Run): Promise<InFlight> {
  const { config } = pipeline;
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-starter" });
  try {
    const deadline = performance.now() + DRAIN_LIMIT_MS;
    let last: InFlight | undefined;
    let trouble = "";
    while (performance.now() < deadline) {
      try {
        last = await readInFlight(kafka, config);
        if (last.unprocessed === 0 && last.unwritten === 0) return last;
      } catch (thrown) {
        trouble = String(thrown);
      }
      await pause(POLL_INTERVAL_MS, undefined, { signal: stop });
    }
    const where = last === undefined ? trouble : `${last.unprocessed} events not processed, ${last.unwritten} not in ClickHouse`;
    throw new OperatingError(`not drained after ${seconds(DRAIN_LIMIT_MS)}: ${where}`, {
      code: "DRAIN_TIMEOUT",
      hint: "see the logs in the data folder",
    });
  } finally {
    await kafka.close();
  }
}

/** Runs a command of the CLI against this pipeline, with our own stdout. @returns its exit code. */
async function weir({ pipeline, stop }: Run, args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, ["--disable-warning=TimeoutNegativeWarning", join(ROOT, "cli/main.ts"), ...args], {
    cwd: ROOT,
    env: { ...environmentOf(pipeline.config), WEIR_LOG_LEVEL: processFlags.logLevel, TZ: "UTC" },
    stdio: ["ignore", "inherit", "inherit"],
    signal: stop,
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => resolve(code ?? 1));
  });
}
