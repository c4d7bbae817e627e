/** What a started server looks like to the starter and to tests, and the way all of them start: spawn, wait for a condition, give up in time. */
import { mkdir } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describeError, UnavailableError } from "#shared/kernel/errors.ts";
import { type Child, type ChildExit, type ChildOptions, startChild } from "./child-process.ts";
import { awaitReady } from "./readiness.ts";
import { freePorts, isPortFree, LOOPBACK, ownerOfPort } from "./port.ts";

const PORT_TRIES = 20;
const PORT_PAUSE_MS = 100;

export type ServerName = "kafka" | "clickhouse" | "postgres" | "redis";

export interface ServerOptions {
  /** Everything that the server keeps lies below; made when it is not there. */
  readonly dir: string;
  /** Default: a free one. */
  readonly port?: number;
  /** Default `<dir>/server.log`. */
  readonly logFile?: string;
  /** From spawn to ready. */
  readonly limitMs?: number;
  /** Ends a start that is under way: the child is killed and the start rejects. */
  readonly signal?: AbortSignal;
}

export interface RunningServer {
  readonly name: ServerName;
  /** As the configuration wants it: host:port for Kafka, a URL for the others. */
  readonly address: string;
  readonly port: number;
  readonly pid: number;
  readonly exited: Promise<ChildExit>;
  readonly lastLines: () => readonly string[];
  /** In order, then by force. Resolves when the process has gone; calling it again is fine. */
  stop(): Promise<void>;
}

export interface Launch {
  readonly child: Omit<ChildOptions, "name" | "logFile">;
  readonly port: number;
  readonly address: string;
  readonly onStdoutLine?: (line: string) => void;
  /** Throws as long as the server is not ready. */
  readonly probe: (child: Child) => Promise<void>;
  readonly stop: (child: Child) => Promise<unknown>;
}

/** @throws UnavailableError naming server, cause and the last lines of its log. */
export async function launch(
  name: ServerName,
  options: ServerOptions,
  { child: childOptions, port, address, onStdoutLine, probe, stop }: Launch,
): Promise<RunningServer> {
  options.signal?.throwIfAborted();
  const child = await startChild({ name, ...childOptions, logFile: options.logFile ?? join(options.dir, "server.log") });
  if (onStdoutLine !== undefined) child.onStdoutLine(onStdoutLine);
  await awaitReady(child, { limitMs: options.limitMs ?? 60_000, signal: options.signal, probe: () => probe(child) });
  return {
    name,
    address,
    port,
    pid: child.pid,
    exited: child.exited,
    lastLines: child.lastLines,
    stop: async () => {
      if (child.exit === undefined) await stop(child);
    },
  };
}

/** The asked port if nobody else has it, or a free one. @throws UnavailableError naming the owner. */
export async function claimPort(name: string, port: number | undefined): Promise<number> {
  if (port === undefined) return (await freePorts(1))[0]!;
  // What was killed on this port may take a moment to let go of it.
  for (let tries = 0; tries < PORT_TRIES && !(await isPortFree(port)); tries++) await pause(PORT_PAUSE_MS);
  if (!(await isPortFree(port))) {
    const owner = (await ownerOfPort(port)) ?? "another process";
    throw new UnavailableError(`port ${port} for ${name} is used by ${owner}`, {
      code: "LOCAL_PORT_TAKEN",
      hint: "stop it, or start with --ports auto",
    });
  }
  return port;
}

export async function ensureDir(dir: string): Promise<string> {
  try {
    await mkdir(dir, { recursive: true });
  } catch (thrown) {
    throw new UnavailableError(`folder ${dir} cannot be made: ${describeError(thrown)}`, {
      code: "LOCAL_FOLDER",
      hint: "choose another with --data-dir",
    });
  }
  return dir;
}

/** Sends bytes to a loopback port and returns the answer once it has at least `want` bytes. */
export function exchange(
  port: number,
  request: Uint8Array | string,
  { want, timeoutMs = 1_000 }: { want: number; timeoutMs?: number },
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    const socket = connect({ port, host: LOOPBACK });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error("no answer in time")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("connection closed before an answer")));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      sizeBytes += chunk.length;
      if (sizeBytes < want) return;
      resolve(Buffer.concat(chunks));
      socket.destroy();
    });
    socket.write(request);
  });
}
