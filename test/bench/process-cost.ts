/** CPU time and memory of other processes, from Linux's /proc. */
import { readFileSync } from "node:fs";

/** USER_HZ, which the kernel fixes at 100 for everything it shows to programs. */
const TICKS_PER_SECOND = 100;

/** Of all its threads, user and system, in steps of 10 ms. Throws when the process is gone. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name in parentheses may hold anything; utime and stime are fields 14 and 15 (proc_pid_stat(5)).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** With the processes that it started and that still run. */
export function familyCpuSeconds(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    const pids = children === "" ? [] : children.split(" ").map(Number);
    return pids.reduce((sum, child) => sum + familyCpuSeconds(child), cpuSeconds(pid));
  } catch {
    return 0;
  }
}

/** The most that was ever resident, MiB. */
export function peakMemoryMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Math.round(Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1_024);
}
