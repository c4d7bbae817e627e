/** A small pipeline of a lane of its own: the services as processes on the servers of the test run, and `weir` as a user runs it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { prepareClickhouse, prepareKafka } from "#local/preparation.ts";
import { type Config, environmentOf, loadConfig } from "#shared/config/config.ts";
import { uniqueLane } from "#test/support/stack.ts";
import type { Addresses } from "#local/services/servers.ts";

const ROOT = join(import.meta.dirname, "../../..");
const SERVICES = { twin: "local/lambda-twin/main.ts", processor: "processor/main.ts", sinks: "sinks/main.ts" } as const;
type Service = keyof typeof SERVICES;

export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export class RunningPipeline {
  readonly config: Config;
  readonly #services = new Map<Service, ChildProcess>();
  #log = "";

  constructor(stack: Addresses, changes: Partial<Config> = {}) {
    const dataDir = mkdtempSync(join(tmpdir(), "weir-cli-"));
    this.config = {
      ...loadConfig({}),
      lane: uniqueLane(),
      partitions: 2,
      dataDir,
      kafka: stack.kafka,
      clickhouse: stack.clickhouse,
      redis: stack.redis,
      clickhouseDatabase: "weir_test_cli",
      cutMs: 100,
      idleTickMs: 100,
      validatorBatchSize: 200,
      ...changes,
    };
  }

  /** Topics and tables. */
  async prepare(): Promise<void> {
    await Promise.all([prepareKafka(this.config), prepareClickhouse(this.config)]);
  }

  async start(): Promise<void> {
    await this.prepare();
    await Promise.all((Object.keys(SERVICES) as Service[]).map((name) => this.#startService(name)));
  }

  /** The end of its log, for a failure's message. */
  get log(): string {
    return this.#log.slice(-4_000);
  }

  async kill(name: Service): Promise<void> {
    const child = this.#services.get(name);
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exited;
  }

  async stop(): Promise<void> {
    await Promise.all((Object.keys(SERVICES) as Service[]).map((name) => this.kill(name)));
    rmSync(this.config.dataDir, { recursive: true, force: true });
  }

  /** Runs the command to its end; `input` is its stdin. */
  async weir(
    args: readonly string[],
    options: { readonly input?: string; readonly environment?: Readonly<Record<string, string>> } = {},
  ): Promise<Outcome> {
    const child = this.spawnWeir(args, options.environment);
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
    let out = "";
    let err = "";
    child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
    const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
    return { code, out, err };
  }

  spawnWeir(args: readonly string[], environment: Readonly<Record<string, string>> = {}): ChildProcess {
    return spawn(process.execPath, [join(ROOT, "cli/weir.mjs"), ...args], {
      env: { ...environmentOf(this.config), ...environment },
      stdio: ["pipe", "pipe", "pipe"],
    });
  }

  /** SQL by plain HTTP, as an operator's hand would do it. */
  async sql(statement: string): Promise<string> {
    const url = new URL(this.config.clickhouse);
    url.searchParams.set("database", this.config.clickhouseDatabase);
    const answer = await fetch(url, { method: "POST", body: statement });
    const text = await answer.text();
    if (!answer.ok) throw new Error(text);
    return text.trim();
  }

  async #startService(name: Service): Promise<void> {
    const child = spawn(process.execPath, [join(ROOT, SERVICES[name])], {
      env: environmentOf(this.config),
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#services.set(name, child);
    child.stderr?.on("data", (chunk: Buffer) => (this.#log += chunk.toString()));
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once("data", () => resolve());
      child.once("exit", (code) => reject(new Error(`${name} ended with ${code} before it was ready:\n${this.log}`)));
    });
  }
}
