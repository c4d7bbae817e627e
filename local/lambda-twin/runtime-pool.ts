/**
 * A fixed number of runtime processes, each running one invocation at a time, as Lambda does. A runtime that dies or runs out of time is
 * killed and started anew; its invocation fails.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { Duplex } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Logger } from "#shared/telemetry/logger.ts";
import { assert } from "#shared/kernel/assert.ts";
import { describeError, UnavailableError } from "#shared/kernel/errors.ts";
import type { InvocationOrder } from "./invocation.ts";
import { type Answer, type InvocationHead, readFrames, writeFrame } from "./frame.ts";

export interface RuntimePoolOptions {
  /** Absolute path of the module that exports `handler`. */
  readonly handlerPath: string;
  readonly size: number;
  /** Of one invocation. */
  readonly timeoutMs: number;
  /** Of loading the function. Default 30,000. */
  readonly startTimeoutMs?: number;
  /** The whole environment of the runtimes. Default: that of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly log: Logger;
}

interface Runtime {
  readonly child: ChildProcess;
  readonly pipe: Duplex;
  /** Settles the invocation in flight. */
  settle: ((answer: Answer) => void) | undefined;
  dead: boolean;
}

const RUNTIME = fileURLToPath(new URL("runtime.ts", import.meta.url));

export class RuntimePool {
  readonly #options: RuntimePoolOptions & { readonly startTimeoutMs: number };
  readonly #idle: Runtime[] = [];
  readonly #alive = new Set<Runtime>();
  readonly #queue: PromiseWithResolvers<Runtime>[] = [];
  #closed = false;

  constructor(options: RuntimePoolOptions) {
    this.#options = { startTimeoutMs: 30_000, ...options };
  }

  /** Every runtime has loaded the function. Throws UnavailableError when one cannot. */
  async start(): Promise<void> {
    await Promise.all(Array.from({ length: this.#options.size }, async () => this.#offer(await this.#open())));
  }

  get processIds(): readonly number[] {
    return Array.from(this.#alive, ({ child }) => child.pid ?? -1);
  }

  /** Waits for a free runtime. Rejects when the function threw, ran longer than the time limit or its process ended. */
  async invoke(event: string, order: InvocationOrder = {}): Promise<void> {
    assert(!this.#closed, "a closed pool must not be called");
    const runtime = this.#idle.pop() ?? (await this.#nextIdle());
    const { timeoutMs } = this.#options;
    const head: InvocationHead = { requestId: randomUUID(), timeoutMs, ...order };
    let timer: NodeJS.Timeout | undefined;
    const answer = await new Promise<Answer>((resolve) => {
      runtime.settle = resolve;
      if (runtime.dead) resolve({ ok: false, name: "Runtime.ExitError", message: "the runtime ended before the invocation" });
      timer = setTimeout(() => {
        resolve({ ok: false, name: "Sandbox.Timedout", message: `the function ran longer than ${timeoutMs} ms` });
        runtime.dead = true;
        runtime.child.kill("SIGKILL");
      }, timeoutMs);
      writeFrame(runtime.pipe, JSON.stringify(head));
      writeFrame(runtime.pipe, event);
    });
    clearTimeout(timer);
    runtime.settle = undefined;
    if (!runtime.dead) this.#offer(runtime);
    if (!answer.ok) throw new Error(`${answer.name}: ${answer.message}`);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#queue.splice(0)) waiting.reject(new Error("no runtime came free before the end"));
    await Promise.all(
      Array.from(this.#alive, async ({ child }) => {
        const exited = new Promise((resolve) => child.once("exit", resolve));
        child.kill("SIGKILL");
        await exited;
      }),
    );
  }

  #offer(runtime: Runtime): void {
    const waiting = this.#queue.shift();
    if (waiting === undefined) this.#idle.push(runtime);
    else waiting.resolve(runtime);
  }

  #nextIdle(): Promise<Runtime> {
    const waiting = Promise.withResolvers<Runtime>();
    this.#queue.push(waiting);
    return waiting.promise;
  }

  async #open(): Promise<Runtime> {
    const { handlerPath, startTimeoutMs, environment, log } = this.#options;
    const child = spawn(process.execPath, [RUNTIME, handlerPath], {
      stdio: ["ignore", 2, 2, "pipe"],
      ...(environment === undefined ? {} : { env: environment }),
    });
    const pipe = child.stdio[3] as Duplex;
    const runtime: Runtime = { child, pipe, settle: undefined, dead: false };
    this.#alive.add(runtime);
    pipe.on("error", () => undefined);
    const ready = Promise.withResolvers<void>();
    const timer = setTimeout(() => child.kill("SIGKILL"), startTimeoutMs);
    let loaded = false;
    readFrames(pipe, (payload) => {
      if (loaded) {
        runtime.settle?.(JSON.parse(payload.toString()) as Answer);
        return;
      }
      loaded = true;
      clearTimeout(timer);
      ready.resolve();
    });
    child.once("error", (error) => ready.reject(error));
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      runtime.dead = true;
      this.#alive.delete(runtime);
      const why = `the runtime ended with ${signal ?? `exit code ${code}`}`;
      runtime.settle?.({ ok: false, name: "Runtime.ExitError", message: why });
      if (!loaded) {
        ready.reject(
          new UnavailableError(`the function could not be loaded: ${why}`, {
            code: "FUNCTION_NOT_LOADED",
            hint: `see the log of ${handlerPath}`,
          }),
        );
        return;
      }
      const i = this.#idle.indexOf(runtime);
      if (i >= 0) this.#idle.splice(i, 1);
      if (this.#closed) return;
      log.warn("runtime ended, starting another", { cause: why, child: child.pid });
      void this.#replace();
    });
    await ready.promise;
    return runtime;
  }

  async #replace(): Promise<void> {
    for (let attempt = 0; !this.#closed; attempt++) {
      try {
        this.#offer(await this.#open());
        return;
      } catch (thrown) {
        if (this.#closed) return;
        this.#options.log.error("runtime does not start, trying again", { error: describeError(thrown), attempt });
        await sleep(Math.min(5_000, 200 * 2 ** Math.min(attempt, 10)));
      }
    }
  }
}
