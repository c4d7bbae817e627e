/** What a number depends on besides the code: without it, no number is worth keeping. */
import { availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_gib: number;
  readonly os: string;
  readonly node: string;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memory_gib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    os: `${type()} ${release().split(".", 2).join(".")}`,
    node: process.version,
  };
}

/** Average number of runnable processes of the last minute. */
export function loadAverage(): number {
  return Math.round(loadavg()[0]! * 100) / 100;
}
