/**
 * The life of a process that the starter (or ECS) runs. Protocol with the starter: the first line on stdout is JSON `{"ready":true,...facts}`,
 * later ones `{"trouble":TEXT}` when something is wrong that does not end it (null: no more); logs are JSON lines on stderr, SIGTERM or the end of stdin means drain and leave, exit 0 after a drain, 1 after a bug, 2 for a bad
 * configuration, 4 when a dependency never came, 5 when a newer owner took over.
 */
import { type Config, loadConfig, processFlags } from "../config/config.ts";
import { armFailpoint } from "../kernel/failpoint.ts";
import { ConfigError, describeError, FencedError, toError, UnavailableError } from "../kernel/errors.ts";
import { createLogger, type Logger } from "./logger.ts";

export interface ServiceContext {
  readonly config: Config;
  readonly log: Logger;
  /** Aborts when the process is to drain and leave. */
  readonly stop: AbortSignal;
  /** Says on stdout that the service works now. Once. */
  readonly ready: (facts?: Readonly<Record<string, string | number>>) => void;
  /** Says on stdout what is wrong while the service works on, and what to do about it; null = nothing any more. */
  readonly trouble: (text: string | null) => void;
}

/** Runs `main` until it returns (after `stop`) or throws. Never returns to the caller: the process exits. */
export async function runService(name: string, main: (context: ServiceContext) => Promise<void>): Promise<never> {
  const log = createLogger({ service: name, pid: process.pid });
  const stopping = new AbortController();
  if (processFlags.failpoint !== undefined) armFailpoint(processFlags.failpoint);
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stopping.abort(new Error(signal)));
  if (processFlags.parentPipe) {
    process.stdin.resume();
    process.stdin.on("end", () => stopping.abort(new Error("parent gone")));
    process.stdin.on("error", () => stopping.abort(new Error("parent gone")));
  }
  try {
    const config = loadConfig();
    await main({
      config,
      log,
      stop: stopping.signal,
      ...spokesman((line) => void process.stdout.write(line)),
    });
    process.exit(0);
  } catch (thrown) {
    const error = toError(thrown);
    log.error("service ended by an error", { error: describeError(error), code: (error as { code?: string }).code, stack: error.stack });
    process.exit(error instanceof ConfigError ? 2 : error instanceof UnavailableError ? 4 : error instanceof FencedError ? 5 : 1);
  }
}

/** What is wrong before the service is ready is said right after: whoever starts it takes the first line for the ready one. */
export function spokesman(write: (line: string) => void): Pick<ServiceContext, "ready" | "trouble"> {
  const say = (content: object): void => write(`${JSON.stringify(content)}\n`);
  let isReady = false;
  let last: string | null = null;
  return {
    ready(facts = {}) {
      say({ ready: true, ...facts });
      isReady = true;
      if (last !== null) say({ trouble: last });
    },
    trouble(text) {
      if (isReady && text !== last) say({ trouble: text });
      last = text;
    },
  };
}
