/** Processes as tests see them, and waiting for a condition. */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";

/** A zombie, dead but not yet waited for by whoever adopted it, does not run. */
export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    return false;
  }
}

export interface Patience {
  readonly limitMs?: number;
  readonly intervalMs?: number;
  /** True = it will never hold: give up now. */
  readonly unless?: () => boolean;
}

/** Repeats the assertion until it holds; fails with its own failure when it does not in time. */
export async function settles<T>(
  assertion: () => T | Promise<T>,
  { limitMs = 10_000, intervalMs = 50, unless = () => false }: Patience = {},
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const isLast = unless() || performance.now() > deadline;
    try {
      return await assertion();
    } catch (thrown) {
      if (isLast) throw thrown;
      await pause(intervalMs);
    }
  }
}
