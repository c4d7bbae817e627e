/** `npm start` as a test sees it: a process, what it says, and every process that belongs to its data folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type PartStatus, readPipelineStatus } from "#local/state.ts";
import { isRunning, settles } from "./process.ts";

const ROOT = resolve(import.meta.dirname, "../..");

export class Starter {
  readonly #child: ChildProcess;
  readonly dataDir: string;
  readonly exited: Promise<number>;
  #stdout = "";
  #stderr = "";

  constructor(args: readonly string[], dataDir: string, environment: Readonly<Record<string, string>> = {}) {
    this.dataDir = dataDir;
    this.#child = spawn(process.execPath, [join(ROOT, "local/up.ts"), ...args], {
      cwd: ROOT,
      env: { PATH: "/usr/bin:/bin", ...environment },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#child.stdout?.on("data", (chunk: Buffer) => (this.#stdout += chunk.toString()));
    this.#child.stderr?.on("data", (chunk: Buffer) => (this.#stderr += chunk.toString()));
    this.exited = new Promise((done) => this.#child.once("close", (code, signal) => done(code ?? (signal === "SIGKILL" ? 137 : 1))));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get stdout(): string {
    return this.#stdout;
  }

  get stderr(): string {
    return this.#stderr;
  }

  /** Resolves once it has said so; rejects with everything it said when it ends before or takes too long. */
  async says(pattern: RegExp, limitMs = 60_000): Promise<void> {
    await settles(
      () => {
        if (!pattern.test(this.#stderr)) throw new Error(`it has not said ${pattern}, but:\n${this.#stderr}`);
      },
      { limitMs, unless: () => this.#child.exitCode !== null },
    );
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  part(name: string): PartStatus {
    const part = readPipelineStatus(this.dataDir)?.parts.find((candidate) => candidate.name === name);
    if (part === undefined) throw new Error(`status.json does not know ${name}`);
    return part;
  }
}

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "weir-e2e-"));
  chmodSync(folder, 0o755);
  return folder;
}

/** Pids of processes that have the folder in their command line or environment, this one and zombies left out. */
export function processesOf(folder: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
  return pids.map(Number).filter((pid) => isRunning(pid) && ["cmdline", "environ"].some((file) => mentions(pid, file, folder)));
}

function mentions(pid: number, file: string, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1").includes(folder);
  } catch {
    return false;
  }
}
