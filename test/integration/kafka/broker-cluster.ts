/** Three brokers on one machine, each also a controller, with every client behind a proxy; any one of them may be killed. */
import { randomBytes } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { kafkaClassPath, part } from "#local/services/parts.ts";
import { freePorts, LOOPBACK } from "#local/services/port.ts";
import { exchange, launch, type RunningServer } from "#local/services/running-server.ts";
import { kafkaJs } from "#shared/clients/kafka/kafkajs-client.ts";
import { settles } from "#test/support/process.ts";
import { BrokerProxy } from "./broker-proxy.ts";

const BROKERS = 3;
const SERVICES = join(import.meta.dirname, "../../../local/services/kafka");
/** ApiVersions v0, correlation id 1, no client id. */
const API_VERSIONS = Buffer.from("0000000a0012000000000001ffff", "hex");

const REPLICATED = [
  "offsets.topic.replication.factor=3",
  "transaction.state.log.replication.factor=3",
  "transaction.state.log.min.isr=2",
  "default.replication.factor=3",
  "min.insync.replicas=2",
  // A dead broker is noticed after a second: the tests kill many.
  "broker.session.timeout.ms=1000",
  "broker.heartbeat.interval.ms=200",
  "controller.quorum.election.timeout.ms=500",
  "controller.quorum.fetch.timeout.ms=1000",
  "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
  "inter.broker.listener.name=INTERNAL",
];

interface Ports {
  readonly client: number;
  readonly internal: number;
  readonly controller: number;
}

interface Node {
  readonly id: number;
  readonly ports: Ports;
  readonly proxy: BrokerProxy;
  server: RunningServer | null;
}

export class BrokerCluster {
  readonly #dir: string;
  readonly #nodes: Node[];

  private constructor(dir: string, nodes: Node[]) {
    this.#dir = dir;
    this.#nodes = nodes;
  }

  static async start(): Promise<BrokerCluster> {
    const dir = await mkdtemp(join(tmpdir(), "weir-test-cluster-"));
    const ports = await freePorts(BROKERS * 4);
    const nodes = Array.from({ length: BROKERS }, (_, i): Node => {
      const [client, internal, controller, front] = ports.slice(i * 4, i * 4 + 4) as [number, number, number, number];
      return { id: i + 1, ports: { client, internal, controller }, proxy: new BrokerProxy(client, front), server: null };
    });
    const cluster = new BrokerCluster(dir, nodes);
    await Promise.all(nodes.map((node) => cluster.#format(node)));
    await Promise.all(nodes.map((node) => cluster.#start(node)));
    return cluster;
  }

  get addresses(): string[] {
    return this.#nodes.map(({ proxy }) => `${LOOPBACK}:${proxy.port}`);
  }

  proxyOf(address: string): BrokerProxy {
    return this.#nodeAt(address).proxy;
  }

  /** kill -9 of the broker at this address, as clients know it. */
  async kill(address: string): Promise<void> {
    const node = this.#nodeAt(address);
    const { server } = node;
    node.server = null;
    process.kill(server!.pid, "SIGKILL");
    await Promise.all([server!.exited, node.proxy.close()]);
  }

  /** Starts what was killed, and waits until every replica of every topic is in sync again. */
  async heal(): Promise<void> {
    await Promise.all(this.#nodes.filter(({ server }) => server === null).map((node) => this.#start(node)));
    const admin = kafkaJs(this.addresses, "weir-test-cluster").admin();
    await admin.connect();
    try {
      await settles(
        async () => {
          const { topics } = await admin.fetchTopicMetadata();
          const lagging = topics.flatMap(({ name, partitions }) =>
            partitions
              .filter(({ isr, replicas, leader }) => leader < 0 || isr.length < replicas.length)
              .map(({ partitionId }) => `${name}/${partitionId}`),
          );
          expect(lagging).toEqual([]);
        },
        { limitMs: 40_000, intervalMs: 100 },
      );
    } finally {
      await admin.disconnect();
    }
  }

  async stop(): Promise<void> {
    // Nothing of it is needed any more, and an orderly stop of three takes its time.
    for (const { server } of this.#nodes) if (server !== null) process.kill(server.pid, "SIGKILL");
    await Promise.all(this.#nodes.flatMap(({ server }) => (server === null ? [] : [server.exited])));
    await Promise.all(this.#nodes.map(({ proxy }) => proxy.close()));
    await rm(this.#dir, { recursive: true, force: true });
  }

  #nodeAt(address: string): Node {
    const node = this.#nodes.find(({ proxy }) => address === `${LOOPBACK}:${proxy.port}`);
    if (node === undefined) throw new Error(`no broker at ${address}`);
    return node;
  }

  #folder(node: Node): string {
    return join(this.#dir, `node-${node.id}`);
  }

  async #format(node: Node): Promise<void> {
    const folder = this.#folder(node);
    const log = join(folder, "log");
    await cp(part("kafka/formatted"), log, { recursive: true });
    const meta = await readFile(join(log, "meta.properties"), "utf8");
    const directoryId = randomBytes(16).toString("base64url");
    const own = meta.replace(/^node\.id=.*$/m, `node.id=${node.id}`).replace(/^directory\.id=.*$/m, `directory.id=${directoryId}`);
    await writeFile(join(log, "meta.properties"), own);
    const voters = this.#nodes.map(({ id, ports }) => `${id}@${LOOPBACK}:${ports.controller}`).join(",");
    const { client, internal, controller } = node.ports;
    const listeners = (clientPort: number): string => `PLAINTEXT://${LOOPBACK}:${clientPort},INTERNAL://${LOOPBACK}:${internal}`;
    const lines = [
      await readFile(join(SERVICES, "broker.properties"), "utf8"),
      ...REPLICATED,
      `node.id=${node.id}`,
      `log.dirs=${log}`,
      `controller.quorum.voters=${voters}`,
      `listeners=${listeners(client)},CONTROLLER://${LOOPBACK}:${controller}`,
      `advertised.listeners=${listeners(node.proxy.port)}`,
    ];
    await writeFile(join(folder, "server.properties"), `${lines.join("\n")}\n`);
  }

  async #start(node: Node): Promise<void> {
    const folder = this.#folder(node);
    let isStarted = false;
    node.server = await launch(
      "kafka",
      { dir: folder, limitMs: 60_000 },
      {
        port: node.ports.client,
        address: `${LOOPBACK}:${node.proxy.port}`,
        child: { command: part("bin/java"), args: javaArgs(join(folder, "server.properties")), cwd: folder, environment: { LC_ALL: "C" } },
        onStdoutLine: (line) => {
          isStarted ||= line.includes("Kafka Server started");
        },
        probe: async () => {
          if (!isStarted) throw new Error("the broker has not said that it started");
          await exchange(node.ports.client, API_VERSIONS, { want: 10 });
        },
        stop: (child) => child.stop({ limitMs: 5_000 }),
      },
    );
    await node.proxy.open();
  }
}

function javaArgs(properties: string): string[] {
  return [
    "-Xmx384m",
    "-Xms96m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    `-XX:SharedArchiveFile=${join(part("kafka"), "classes.jsa")}`,
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    `-Dlog4j2.configurationFile=file:${join(SERVICES, "log4j2.xml")}`,
    "-cp",
    kafkaClassPath(),
    "kafka.Kafka",
    properties,
  ];
}
