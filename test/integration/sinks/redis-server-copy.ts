/** A Redis of a test's own that can go back in time: its data file is kept and put back, as when a replica that lags is promoted. */
import { chmodSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { part } from "#local/services/parts.ts";
import { type Child, startChild } from "#local/services/child-process.ts";
import { freePorts } from "#local/services/port.ts";
import { awaitReady } from "#local/services/readiness.ts";
import { exchange } from "#local/services/running-server.ts";

export class CopyableRedis {
  readonly port: number;
  readonly #folder: string;
  #child: Child | undefined;

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
  }

  static async start(): Promise<CopyableRedis> {
    const folder = mkdtempSync(join(tmpdir(), "weir-redis-copy-"));
    chmodSync(folder, 0o755);
    const redis = new CopyableRedis(folder, (await freePorts(1))[0]!);
    await redis.#launch();
    return redis;
  }

  get address(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async #launch(): Promise<void> {
    const { port } = this;
    // No append-only file: at its start the server has what the data file holds, and nothing else.
    const settings = { port, bind: "127.0.0.1", dir: this.#folder, appendonly: "no", save: "" };
    const args = Object.entries(settings).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const logFile = join(this.#folder, "server.log");
    const child = await startChild({ name: "redis", command: part("bin/redis-server"), args, cwd: this.#folder, environment: {}, logFile });
    this.#child = child;
    const probe = async (): Promise<void> => {
      const answer = await exchange(port, "PING\r\n", { want: 5 });
      if (!answer.toString("latin1").startsWith("+PONG")) throw new Error(answer.toString("latin1").trim());
    };
    await awaitReady(child, { limitMs: 20_000, signal: undefined, probe });
  }

  /** Keeps a copy of everything as it is now. */
  async keep(): Promise<void> {
    const answer = await exchange(this.port, "SAVE\r\n", { want: 5 });
    if (!answer.toString("latin1").startsWith("+OK")) throw new Error(answer.toString("latin1"));
    copyFileSync(join(this.#folder, "dump.rdb"), join(this.#folder, "kept.rdb"));
  }

  /** kill -9, and back with the copy. */
  async goBack(): Promise<void> {
    await this.#child!.stop({ signal: "SIGKILL" });
    copyFileSync(join(this.#folder, "kept.rdb"), join(this.#folder, "dump.rdb"));
    await this.#launch();
  }

  /** kill -9, and back with nothing. */
  async comeBackEmpty(): Promise<void> {
    await this.#child!.stop({ signal: "SIGKILL" });
    rmSync(join(this.#folder, "dump.rdb"), { force: true });
    await this.#launch();
  }

  async stop(): Promise<void> {
    await this.#child?.stop({ signal: "SIGKILL" });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
