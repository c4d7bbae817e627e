/** The sinks as the platform runs them: a process that dies at a failpoint or is asked to leave. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type Config, environmentOf } from "#shared/config/config.ts";

const MAIN = join(import.meta.dirname, "../../../sinks/main.ts");

export class SinksProcess {
  readonly #child: ChildProcess;
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  #log = "";

  constructor(config: Partial<Config>, failpoint?: string) {
    const armed = failpoint === undefined ? {} : { WEIR_FAILPOINT: failpoint };
    this.#child = spawn(process.execPath, [MAIN], {
      env: { ...environmentOf(config), ...armed, PATH: "/usr/bin:/bin" },
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#child.stderr!.on("data", (chunk: Buffer) => (this.#log += chunk.toString()));
    this.exit = new Promise((resolve) => this.#child.once("exit", (code, signal) => resolve({ code, signal })));
  }

  get log(): string {
    return this.#log.slice(-4_000);
  }

  get hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async leave(): Promise<number | null> {
    this.#child.kill("SIGTERM");
    return (await this.exit).code;
  }

  kill(): void {
    if (!this.hasEnded) this.#child.kill("SIGKILL");
  }
}
