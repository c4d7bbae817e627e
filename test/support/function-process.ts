/**
 * A function in a process of its own, as Lambda runs it: another folder, no node_modules within reach, nothing in the environment but what is given.
 * Everything that it writes is kept, for tests of what must not be in there.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** Plain JavaScript, since it runs outside of the repository. The clock of `performance` starts with the process. */
const RUNNER = `
const { handler } = await import(process.argv[2]);
process.send({ loadedMs: performance.now() });
process.on("message", async ({ event, remainingMs }) => {
  const parsed = JSON.parse(event);
  const endMs = performance.now() + remainingMs;
  const context = { awsRequestId: "request-1", functionName: "weir-validator", getRemainingTimeInMillis: () => endMs - performance.now() };
  const answer = await handler(parsed, context).then((returned) => ({ ok: true, returned }), (error) => ({ ok: false, name: error.name, message: error.message, code: error.code }));
  process.send({ ...answer, endedMs: performance.now() });
});
`;

export interface Outcome {
  readonly ok: boolean;
  readonly name?: string;
  readonly message?: string;
  readonly code?: string;
  readonly returned?: unknown;
  /** Since the start of the process. */
  readonly endedMs: number;
}

export class FunctionProcess {
  readonly #child: ChildProcess;
  #output = "";
  #loadedMs = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout!, child.stderr!]) stream.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
  }

  /** `folder` takes the runner; `entry` exports the handler. */
  static async start(folder: string, entry: string, environment: Readonly<Record<string, string>>): Promise<FunctionProcess> {
    const runner = join(folder, "runner.mjs");
    writeFileSync(runner, RUNNER);
    const child = fork(runner, [entry], { cwd: folder, env: { ...environment }, stdio: ["ignore", "pipe", "pipe", "ipc"], execArgv: [] });
    const started = new FunctionProcess(child);
    const answer = await started.#answer<{ loadedMs: number }>();
    started.#loadedMs = answer.loadedMs;
    return started;
  }

  /** stdout and stderr so far. */
  get output(): string {
    return this.#output;
  }

  /** From the start of the process until the function could be invoked. */
  get loadedMs(): number {
    return this.#loadedMs;
  }

  async invoke(event: string, remainingMs = 30_000): Promise<Outcome> {
    this.#child.send({ event, remainingMs });
    return this.#answer<Outcome>();
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
  }

  async #answer<T>(): Promise<T> {
    const ended = new AbortController();
    const exit = once(this.#child, "exit", { signal: ended.signal }).then(() => {
      throw new Error(`the function's process ended:\n${this.#output}`);
    });
    exit.catch(() => undefined);
    try {
      const [answer] = (await Promise.race([once(this.#child, "message", { signal: ended.signal }), exit])) as [T];
      return answer;
    } finally {
      ended.abort();
    }
  }
}
