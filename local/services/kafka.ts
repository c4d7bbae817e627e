/** Apache Kafka 4.3, one KRaft node that is broker and controller. A new data folder is a copy of the formatted one that setup made. */
import { existsSync } from "node:fs";
import { cp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startChild } from "./child-process.ts";
import { kafkaClassPath, part } from "./parts.ts";
import { freePorts, LOOPBACK } from "./port.ts";
import { awaitReady } from "./readiness.ts";
import { claimPort, ensureDir, exchange, launch, type RunningServer, type ServerOptions } from "./running-server.ts";

const HERE = join(import.meta.dirname, "kafka");
const FENCING_LIMIT_MS = 60_000;
const NOTHING_TO_FENCE_AFTER_MS = 5_000;

/** ApiVersions v0, correlation id 1, no client id. */
const API_VERSIONS = Buffer.from("0000000a0012000000000001ffff", "hex");

export async function startKafka(options: ServerOptions): Promise<RunningServer> {
  const dir = await ensureDir(options.dir);
  const port = await claimPort("Kafka", options.port);
  const [controllerPort = 0] = await freePorts(1);
  const logDir = join(dir, "log");
  if (!existsSync(join(logDir, "meta.properties"))) await copyWhole(part("kafka/formatted"), logDir);
  const controller = `CONTROLLER://${LOOPBACK}:${controllerPort}`;
  const common = [`log.dirs=${logDir}`, `controller.quorum.voters=1@${LOOPBACK}:${controllerPort}`];
  if (endedUnclean(logDir)) await fenceDeadBroker(dir, [...common, `listeners=${controller}`], options);

  const client = `PLAINTEXT://${LOOPBACK}:${port}`;
  const properties = await writeProperties(dir, "server.properties", [
    ...common,
    `listeners=${client},${controller}`,
    `advertised.listeners=${client}`,
  ]);
  let started = false;
  return launch("kafka", options, {
    port,
    address: `${LOOPBACK}:${port}`,
    child: { command: part("bin/java"), args: javaArgs(properties), cwd: dir, environment: { LC_ALL: "C" } },
    onStdoutLine: (line) => {
      started ||= line.includes("Kafka Server started");
    },
    probe: async () => {
      if (!started) throw new Error("the broker has not said that it started");
      await exchange(port, API_VERSIONS, { want: 10 });
    },
    stop: (child) => child.stop({ limitMs: 10_000 }),
  });
}

/** Beside its place and renamed: a killed copy must not look whole. */
async function copyWhole(from: string, to: string): Promise<void> {
  const unfinished = `${to}.unfinished`;
  await rm(unfinished, { recursive: true, force: true });
  await cp(from, unfinished, { recursive: true });
  await rename(unfinished, to);
}

function endedUnclean(logDir: string): boolean {
  return existsSync(join(logDir, "__cluster_metadata-0")) && !existsSync(join(logDir, ".kafka_cleanshutdown"));
}

/**
 * Lets the controller alone declare the killed broker dead, before a new one starts.
 *
 * Otherwise the new broker first leads its partitions by the old registration, and loses them when that times out. A transaction that was
 * decided but had no markers yet is lost in that moment: the coordinator takes a partition without a leader for a deleted one, skips its
 * marker ("Couldn't find leader endpoint for partitions ... likely deleted already") and writes the transaction off as complete. Its
 * records stay invisible for ever, and the last stable offset with them. Seen with Kafka 4.3.1 after about one in ten double kills. A
 * cluster is safe as long as any other replica takes over the lead.
 */
async function fenceDeadBroker(dir: string, roleProperties: readonly string[], options: ServerOptions): Promise<void> {
  const lines = ["process.roles=controller", "broker.session.timeout.ms=200", "broker.heartbeat.interval.ms=100", ...roleProperties];
  const properties = await writeProperties(dir, "controller.properties", lines);
  options.signal?.throwIfAborted();
  const child = await startChild({
    name: "kafka",
    command: part("bin/java"),
    args: javaArgs(properties, ["-Dweir.controller.level=INFO"]),
    cwd: dir,
    environment: { LC_ALL: "C" },
    // A line per partition and change: apart from the broker's own log.
    logFile: join(dir, "fencing.log"),
  });
  let activeAtMs: number | undefined;
  let fenced = false;
  child.onStdoutLine((line) => {
    if (line.includes("Performing controller activation")) activeAtMs = performance.now();
    fenced ||= line.includes("handleBrokerFenced");
  });
  await awaitReady(child, {
    limitMs: options.limitMs ?? FENCING_LIMIT_MS,
    signal: options.signal,
    probe: () => {
      // A broker that was killed before it was let in has nothing to be fenced for.
      const isNothingToFence = activeAtMs !== undefined && performance.now() - activeAtMs > NOTHING_TO_FENCE_AFTER_MS;
      if (!fenced && !isNothingToFence) throw new Error("the controller has not fenced the broker that was killed");
    },
  });
  await child.stop({ limitMs: 5_000 });
}

async function writeProperties(dir: string, file: string, lines: readonly string[]): Promise<string> {
  const path = join(dir, file);
  // The last of two lines with one key counts.
  await writeFile(path, `${await readFile(join(HERE, "broker.properties"), "utf8")}\n${lines.join("\n")}\n`);
  return path;
}

function javaArgs(properties: string, more: readonly string[] = []): string[] {
  return [
    "-Xmx512m",
    "-Xms128m",
    "-XX:+UseSerialGC",
    `-XX:SharedArchiveFile=${join(part("kafka"), "classes.jsa")}`,
    // Without an archive, or with one of another Java, it only starts slower: not worth a line.
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    `-Dlog4j2.configurationFile=file:${join(HERE, "log4j2.xml")}`,
    ...more,
    "-cp",
    kafkaClassPath(),
    "kafka.Kafka",
    properties,
  ];
}
