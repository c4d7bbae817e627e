/** A service of the pipeline as a process of its own: `node <entry>`, ready when its first line on stdout says so (shared/telemetry/service.ts). */
import { join } from "node:path";
import { type Config, environmentOf, processFlags } from "#shared/config/config.ts";
import { startChild } from "./services/child-process.ts";
import { ROOT } from "./services/parts.ts";
import { LOOPBACK } from "./services/port.ts";
import { awaitReady } from "./services/readiness.ts";
import type { RunningPart } from "./supervisor.ts";

export interface NodeServiceOptions {
  readonly name: string;
  /** Below the repository. */
  readonly entry: string;
  readonly args?: readonly string[];
  readonly config: Config;
  readonly logFile: string;
  /** From spawn to ready. */
  readonly limitMs: number;
  /** From SIGTERM to SIGKILL: time to drain. */
  readonly stopLimitMs: number;
  readonly signal: AbortSignal;
}

/** What a service says when it is up: `ready` and what else it wants to say, such as its `url`. */
export type ReadyFacts = Readonly<Record<string, unknown>>;

/** @throws UnavailableError with the last lines of its log. */
export async function startNodeService(options: NodeServiceOptions): Promise<RunningPart & { readonly facts: ReadyFacts }> {
  options.signal.throwIfAborted();
  const child = await startChild({
    name: options.name,
    command: process.execPath,
    args: ["--disable-warning=TimeoutNegativeWarning", join(ROOT, options.entry), ...(options.args ?? [])],
    cwd: ROOT,
    environment: {
      ...environmentOf(options.config),
      WEIR_PARENT_PIPE: "1",
      WEIR_LOG_LEVEL: processFlags.logLevel,
      PATH: join(ROOT, "node_modules/.bin"),
      TZ: "UTC",
    },
    logFile: options.logFile,
    stdin: true,
    graceS: 3,
  });
  let facts: ReadyFacts | undefined;
  let trouble: string | null = null;
  let tell = (_trouble: string | null): void => undefined;
  child.onStdoutLine((line) => {
    const said = parseSaid(line);
    if (said["ready"] === true) facts ??= said;
    const { trouble: text } = said;
    if (text === null || typeof text === "string") tell((trouble = text));
  });
  await awaitReady(child, {
    limitMs: options.limitMs,
    signal: options.signal,
    probe: () => {
      if (facts === undefined) throw new Error("it has not said that it is ready");
    },
  });
  return {
    pid: child.pid,
    exited: child.exited,
    stop: () => child.stop({ limitMs: options.stopLimitMs }),
    onTrouble(listener) {
      tell = listener;
      if (trouble !== null) listener(trouble);
    },
    facts: facts ?? {},
    ...addressOf(facts ?? {}),
  };
}

function addressOf(facts: ReadyFacts): { address?: string } {
  if (typeof facts["url"] === "string") return { address: facts["url"] };
  return typeof facts["port"] === "number" ? { address: `http://${LOOPBACK}:${facts["port"]}` } : {};
}

/** Nothing for a line that is not said to us. */
function parseSaid(line: string): Readonly<Record<string, unknown>> {
  try {
    const content: unknown = JSON.parse(line);
    return typeof content === "object" && content !== null ? { ...content } : {};
  } catch {
    return {};
  }
}
