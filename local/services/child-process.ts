/**
 * A child that cannot outlive its parent, whatever happens to either.
 *
 * The child starts as a shell that forks a watcher and then becomes the program (exec: same pid). The watcher reads a pipe whose other end
 * only the parent holds; when that ends, be it by kill -9 of the parent, the watcher kills the whole process group. The group is the child's
 * own (setsid), so a Ctrl-C on the terminal reaches the parent alone, which then stops its children in order. While the watcher lives, its
 * group number cannot be given to anybody else: the kill can hit no stranger.
 */
import { type ChildProcess, spawn, type StdioOptions } from "node:child_process";
import { createWriteStream, type WriteStream } from "node:fs";
import type { Duplex, Readable } from "node:stream";
import { setTimeout as pause } from "node:timers/promises";
import { UnavailableError } from "#shared/kernel/errors.ts";

/**
 * `$1` = seconds between the parent's end and the kill. The pipe is on descriptor 3, which the program does not inherit. A line on it comes
 * from a living parent after the program's end: kill what is left of the group at once.
 */
const SHELL = `grace=$1; shift; ( exec </dev/null >/dev/null 2>&1; read -r end <&3 || [ "$grace" = 0 ] || sleep "$grace"; kill -s KILL -- -$$ ) & exec "$@" 3<&-`;

const LAST_LINES = 10;
const WATCHER_END_LIMIT_MS = 1_000;

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Appended to; both stdout and stderr go there. */
  readonly logFile: string;
  /** The child gets an open pipe as stdin, closed by {@link Child.closeStdin}. Default: none. */
  readonly stdin?: boolean;
  /** Time between the parent's end and the kill, for children that use the end of stdin to drain. Default 0. */
  readonly graceS?: number;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  /** Undefined while it runs. */
  readonly exit: ChildExit | undefined;
  /** Newest last. */
  readonly lastLines: () => readonly string[];
  onStdoutLine(listener: (line: string) => void): void;
  signal(signal: NodeJS.Signals): void;
  closeStdin(): void;
  /** SIGTERM or the given signal, then SIGKILL for the whole group when the limit has passed. Resolves when it has gone. */
  stop(options?: { readonly signal?: NodeJS.Signals; readonly limitMs?: number }): Promise<ChildExit>;
}

export async function startChild(options: ChildOptions): Promise<Child> {
  const log = createWriteStream(options.logFile, { flags: "a" });
  const stdio: StdioOptions = [options.stdin === true ? "pipe" : "ignore", "pipe", "pipe", "pipe"];
  const child = spawn("/bin/sh", ["-c", SHELL, "sh", String(options.graceS ?? 0), options.command, ...options.args], {
    cwd: options.cwd,
    env: { ...options.environment },
    stdio,
    detached: true,
  });
  await spawned(child, options.name);
  return watch(child, options.name, log);
}

function spawned(child: ChildProcess, name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) =>
      reject(new UnavailableError(`${name} could not be started: ${cause.message}`, { code: "LOCAL_SPAWN", cause })),
    );
  });
}

function watch(child: ChildProcess, name: string, log: WriteStream): Child {
  const pid = child.pid!;
  const lines: string[] = [];
  const listeners: ((line: string) => void)[] = [];
  let exit: ChildExit | undefined;
  const lifeline = child.stdio[3] as Duplex;
  lifeline.on("error", () => {});
  const watcherGone = new Promise<void>((resolve) => lifeline.once("close", resolve));
  lifeline.resume();
  child.stdin?.on("error", () => {});

  const keep = (stream: Readable, onLine?: (line: string) => void): void => {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      log.write(chunk);
      const parts = (rest + chunk).split("\n");
      rest = parts.pop() ?? "";
      for (const line of parts) {
        if (line.trim() === "") continue;
        lines.push(line);
        if (lines.length > LAST_LINES) lines.shift();
        onLine?.(line);
      }
    });
  };
  keep(child.stdout!, (line) => {
    for (const listener of listeners) listener(line);
  });
  keep(child.stderr!);

  const exited = new Promise<ChildExit>((resolve) => {
    child.once("exit", (code, signal) => {
      const facts: ChildExit = { code, signal };
      exit = facts;
      // Sends the watcher, and with it whatever the child left in its group; who waits for the end waits for theirs too.
      lifeline.end("now\n");
      void Promise.race([watcherGone, pause(WATCHER_END_LIMIT_MS)]).then(() => {
        lifeline.destroy();
        resolve(facts);
      });
    });
    child.once("close", () => log.end());
  });

  return {
    name,
    pid,
    exited,
    get exit() {
      return exit;
    },
    lastLines: () => lines,
    onStdoutLine: (listener) => void listeners.push(listener),
    signal: (signal) => void (exit === undefined && child.kill(signal)),
    closeStdin: () => void child.stdin?.end(),
    stop: async ({ signal = "SIGTERM", limitMs = 10_000 } = {}) => {
      if (exit !== undefined) return exit;
      child.kill(signal);
      const timer = setTimeout(() => killGroup(pid), limitMs);
      try {
        return await exited;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}
