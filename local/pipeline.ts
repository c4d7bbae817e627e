/** The whole pipeline of one data folder: its servers, what they must hold, and its services, each a supervised process of its own. */
import { join } from "node:path";
import type { Config } from "#shared/config/config.ts";
import { say, seconds, step, within } from "./console.ts";
import { startNodeService } from "./node-service.ts";
import { prepareClickhouse, prepareKafka, preparePostgres, prepareRules } from "./preparation.ts";
import { serverPart } from "./server-part.ts";
import { SERVER_NAMES } from "./services/servers.ts";
import { freePorts, isPortFree } from "./services/port.ts";
import { removeLocalState, writeLocalState, writePipelineStatus } from "./state.ts";
import { type RunningPart, Supervisor } from "./supervisor.ts";

const USUAL_PORTS = { kafka: 9092, clickhouse: 8123, postgres: 5432, redis: 6379 } as const;
const USUAL_STATUS_PORT = 8088;
const PREPARATION_LIMIT_MS = 30_000;
const SERVICE_START_LIMIT_MS = 30_000;
const SERVICE_STOP_LIMIT_MS = 8_000;

export interface PipelineOptions {
  readonly config: Config;
  /** Configuration keys that were given: the servers at these addresses are used, not started. */
  readonly given: ReadonlySet<string>;
  readonly dataDir: string;
  readonly kept: boolean;
  readonly ports: "auto" | "fixed";
}

interface ServiceSpec {
  readonly name: string;
  readonly entry: string;
  readonly args?: readonly string[];
  readonly endsByItself?: boolean;
}

const SERVICES: readonly ServiceSpec[] = [
  { name: "validator", entry: "local/lambda-twin/main.ts" },
  { name: "sinks", entry: "sinks/main.ts" },
  { name: "status", entry: "dashboard/server/main.ts" },
];

/** Each under its own name, so that one that is started again takes its partitions over at once. */
function processorsOf(config: Config): readonly { readonly spec: ServiceSpec; readonly config: Config }[] {
  return Array.from({ length: config.processors }, (_, i) => {
    const name = i === 0 ? "processor" : `processor-${i + 1}`;
    const metricsPort = config.metricsPort === 0 ? 0 : config.metricsPort + i;
    return { spec: { name, entry: "processor/main.ts" }, config: { ...config, processorInstance: name, metricsPort } };
  });
}

export class Pipeline {
  readonly #options: PipelineOptions;
  readonly #supervisor: Supervisor;
  readonly #startedAtMs = Date.now();
  #config: Config;
  #statusUrl = "";
  #stopped = false;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#config = { ...options.config, dataDir: options.dataDir };
    this.#supervisor = new Supervisor({
      onChange: () => this.#writeStatus(),
      onEnd: (name, end) => say(`  ! ${name} ended (${end}): starting it again`),
      onReturn: (name, restarts, tookMs) => say(`  ✓ ${name} is back after ${seconds(tookMs)} (restart ${restarts})`),
    });
  }

  /** With the addresses of what runs. */
  get config(): Config {
    return this.#config;
  }

  get statusUrl(): string {
    return this.#statusUrl;
  }

  /** Servers, topics, tables, rules, services. Rejects with the first cause; {@link stop} cleans up whatever had come up. */
  async start(): Promise<void> {
    await Promise.all(SERVER_NAMES.map((name) => this.#startServer(name)));
    await Promise.all([
      prepare("topics", prepareKafka(this.#config)),
      prepare("tables", prepareClickhouse(this.#config)),
      prepare("metadata", preparePostgres(this.#config)),
    ]);
    await prepare("rules", prepareRules(this.#config));
    this.#writeState();
    const statusPort = await this.#statusPort();
    const config = { ...this.#config, statusPort };
    await Promise.all([
      ...processorsOf(config).map((each) => this.#startService(each.spec, each.config)),
      ...SERVICES.map((spec) => this.#startService(spec, config)),
    ]);
    this.#writeState();
  }

  async startGenerator(args: readonly string[]): Promise<void> {
    await this.#startService({ name: "generator", entry: "loadgen/main.ts", args, endsByItself: true }, this.#config);
  }

  async stopGenerator(): Promise<void> {
    await this.#supervisor.stop("generator");
  }

  /** Stops everything, in the order in which nothing waits for what has gone. Safe at any time, also during {@link start}. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    await this.#supervisor.stop("generator");
    await this.#supervisor.stopAll("service");
    await this.#supervisor.stopAll("server");
    this.#stopped = true;
    removeLocalState(this.#options.dataDir);
  }

  async #startServer(name: (typeof SERVER_NAMES)[number]): Promise<void> {
    const { dataDir, ports, given } = this.#options;
    if (given.has(name)) {
      this.#supervisor.addExternal(name, this.#config[name]);
      say(`  ✓ ${name.padEnd(12)}${this.#config[name]} (running already)`);
      return;
    }
    const part = serverPart({ name, dataDir, usualPort: USUAL_PORTS[name], ports });
    const server = await step(
      name,
      () => this.#supervisor.start(part),
      (running) => running.address ?? "",
    );
    this.#config = { ...this.#config, [name]: server.address };
  }

  async #startService({ name, entry, args = [], endsByItself = false }: ServiceSpec, config: Config): Promise<void> {
    const logFile = join(this.#options.dataDir, "logs", `${name}.log`);
    const limits = { limitMs: SERVICE_START_LIMIT_MS, stopLimitMs: SERVICE_STOP_LIMIT_MS };
    const start = (signal: AbortSignal): Promise<RunningPart> =>
      startNodeService({ name, entry, args, config, logFile, signal, ...limits });
    const running = await step(
      name,
      () => this.#supervisor.start({ name, kind: "service", endsByItself, start }),
      (part) => part.address ?? `pid ${part.pid}`,
    );
    if (name === "status") this.#statusUrl = running.address ?? "";
  }

  /** Chosen here, so that a restarted status page has the address that people have open. */
  async #statusPort(): Promise<number> {
    const { ports, given } = this.#options;
    if (given.has("statusPort")) return this.#config.statusPort;
    return ports === "fixed" || (await isPortFree(USUAL_STATUS_PORT)) ? USUAL_STATUS_PORT : (await freePorts(1))[0]!;
  }

  #writeState(): void {
    const { lane, generation, historical, partitions, rulesUrl, kafka, clickhouse, clickhouseDatabase, postgres, redis } = this.#config;
    const { dataDir } = this.#options;
    writeLocalState(dataDir, {
      pid: process.pid,
      statusUrl: this.#statusUrl,
      dataDir,
      lane,
      generation,
      historical,
      partitions,
      rulesUrl,
      kafka,
      clickhouse,
      clickhouseDatabase,
      postgres,
      redis,
    });
  }

  #writeStatus(): void {
    if (this.#stopped) return;
    const { dataDir, kept } = this.#options;
    try {
      writePipelineStatus(dataDir, { pid: process.pid, startedAtMs: this.#startedAtMs, dataDir, kept, parts: this.#supervisor.status() });
    } catch {
      // A full disk or a folder taken away under our feet must not keep a killed part from coming back.
    }
  }
}

async function prepare(name: string, work: Promise<string>): Promise<void> {
  await step(
    name,
    () => within(PREPARATION_LIMIT_MS, name, work),
    (done) => done,
  );
}
