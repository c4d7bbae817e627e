/** Waiting for a child to be ready: by condition, never longer than the limit, and not a moment longer than it lives. */
import { setTimeout as pause } from "node:timers/promises";
import { toError, UnavailableError } from "#shared/kernel/errors.ts";
import type { Child } from "./child-process.ts";

const PROBE_INTERVAL_MS = 20;

export interface Readiness {
  readonly limitMs: number;
  /** Ends the wait and kills the child. */
  readonly signal: AbortSignal | undefined;
  /** Throws as long as the child is not ready. */
  readonly probe: () => Promise<void> | void;
}

/** @throws UnavailableError naming child, cause and the last lines of its log; the child is gone then. */
export async function awaitReady(child: Child, { limitMs, signal, probe }: Readiness): Promise<void> {
  const deadline = performance.now() + limitMs;
  let last = "";
  for (;;) {
    if (child.exit !== undefined) {
      await pause(PROBE_INTERVAL_MS); // Its last lines may still be in the pipe.
      throw failed(child, `ended during its start (${child.exit.signal ?? `exit ${child.exit.code}`})`);
    }
    if (signal?.aborted === true || performance.now() > deadline) {
      await child.stop({ signal: "SIGKILL" });
      signal?.throwIfAborted();
      throw failed(child, `was not ready after ${limitMs / 1_000} s${last === "" ? "" : `: ${last}`}`);
    }
    try {
      await probe();
      return;
    } catch (thrown) {
      last = toError(thrown).message;
      await pause(PROBE_INTERVAL_MS);
    }
  }
}

function failed(child: Child, cause: string): UnavailableError {
  const lines = child.lastLines();
  const log = lines.length === 0 ? "its log is empty" : `last lines of its log:\n${lines.map((line) => `    ${line}`).join("\n")}`;
  return new UnavailableError(`${child.name} ${cause}\n  ${log}`, {
    code: "LOCAL_START_FAILED",
    hint: "the whole log is in the data folder's logs",
  });
}
