/** Apache Kafka 4.3, one KRaft node that is broker and controller. A new data folder is a copy of the formatted one that setup made. */
import { existsSync } from "node:fs";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Child } from "./child-process.ts";
import { kafkaClassPath, part } from "./parts.ts";
import { freePorts, LOOPBACK } from "./port.ts";
import { claimPort, ensureDir, exchange, launch, type RunningServer, type ServerOptions } from "./running-server.ts";

/** ApiVersions v0, correlation id 1, no client id. */
const API_VERSIONS = Buffer.from("0000000a0012000000000001ffff", "hex");

export async function startKafka(options: ServerOptions): Promise<RunningServer> {
  const dir = await ensureDir(options.dir);
  const port = await claimPort("Kafka", options.port);
  const [controllerPort] = await freePorts(1);
  const logDir = join(dir, "log");
  if (!existsSync(join(logDir, "meta.properties"))) await cp(part("kafka/formatted"), logDir, { recursive: true });
  const here = join(import.meta.dirname, "kafka");
  const properties = join(dir, "server.properties");
  await writeFile(
    properties,
    `${await readFile(join(here, "broker.properties"), "utf8")}
log.dirs=${logDir}
listeners=PLAINTEXT://${LOOPBACK}:${port},CONTROLLER://${LOOPBACK}:${controllerPort}
advertised.listeners=PLAINTEXT://${LOOPBACK}:${port}
controller.quorum.voters=1@${LOOPBACK}:${controllerPort}
`,
  );
  let started = false;
  return launch("kafka", options, {
    port,
    address: `${LOOPBACK}:${port}`,
    child: {
      command: part("bin/java"),
      args: [
        "-Xmx512m",
        "-Xms128m",
        "-XX:+UseSerialGC",
        `-XX:SharedArchiveFile=${join(part("kafka"), "classes.jsa")}`,
        // Without an archive, or with one of another Java, it only starts slower: not worth a line.
        "-Xlog:disable",
        "-Xlog:all=error:stderr",
        `-Dlog4j2.configurationFile=file:${join(here, "log4j2.xml")}`,
        "-cp",
        kafkaClassPath(),
        "kafka.Kafka",
        properties,
      ],
      cwd: dir,
      environment: { LC_ALL: "C" },
    },
    probe: async (child: Child) => {
      if (!started) {
        started = child.lastLines().some((line) => line.includes("Kafka Server started"));
        if (!started) throw new Error("the broker has not said that it started");
      }
      await exchange(port, API_VERSIONS, { want: 10 });
    },
    stop: (child) => child.stop({ limitMs: 10_000 }),
  });
}
