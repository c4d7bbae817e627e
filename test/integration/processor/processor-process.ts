/** The processor as the platform runs it: a process that is started, killed, and asked to leave. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type Config, environmentOf } from "#shared/config/config.ts";

const MAIN = join(import.meta.dirname, "../../../processor/main.ts");

export interface LogLine {
  readonly message: string;
  readonly [field: string]: unknown;
}

export class ProcessorProcess {
  readonly child: ChildProcess;
  /** Resolves with the ready line, or rejects when the process ends before. */
  readonly ready: Promise<void>;
  readonly exit: Promise<{ readonly code: number | null; readonly signal: NodeJS.Signals | null }>;
  readonly log: LogLine[] = [];

  constructor(
    config: Partial<Config>,
    options: {
      readonly failpoint?: string;
      readonly args?: readonly string[];
      readonly environment?: Readonly<Record<string, string>>;
    } = {},
  ) {
    const environment = { ...environmentOf(config), PATH: "/usr/bin:/bin", WEIR_LOG_LEVEL: "debug" };
    const armed = options.failpoint === undefined ? {} : { WEIR_FAILPOINT: options.failpoint };
    this.child = spawn(process.execPath, [MAIN, ...(options.args ?? [])], {
      env: { ...environment, ...options.environment, ...armed },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.exit = new Promise((resolve) => this.child.once("exit", (code, signal) => resolve({ code, signal })));
    this.ready = new Promise((resolve, reject) => {
      this.child.stdout!.once("data", () => resolve());
      this.child.once("exit", (code) => reject(new Error(`ended with ${code} before it was ready:\n${this.text()}`)));
    });
    // Not every test waits for it.
    this.ready.catch(() => undefined);
    let rest = "";
    this.child.stderr!.on("data", (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.log.push(line.startsWith("{") ? (JSON.parse(line) as LogLine) : { message: line });
    });
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** The last lines of its log. */
  text(): string {
    return this.log
      .slice(-20)
      .map((line) => JSON.stringify(line))
      .join("\n");
  }

  /** Planned hand-over; the exit code. */
  async leave(): Promise<number | null> {
    this.child.kill("SIGTERM");
    return (await this.exit).code;
  }

  kill(): void {
    if (!this.hasEnded) this.child.kill("SIGKILL");
  }
}
