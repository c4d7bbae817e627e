/**
 * What a running pipeline leaves in its data folder for others: `addresses.json` (how to reach it; the commands of the CLI read it) and
 * `status.json` (what runs and since when; the status page reads it). Written beside and renamed: a reader never sees half a file.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "#shared/config/config.ts";

const ADDRESSES_FILE = "addresses.json";
const STATUS_FILE = "status.json";

/** The part of the configuration that a stranger needs, and the starter's pid. */
export interface LocalState extends Pick<
  Config,
  | "lane"
  | "generation"
  | "historical"
  | "partitions"
  | "dataDir"
  | "rulesUrl"
  | "kafka"
  | "clickhouse"
  | "clickhouseDatabase"
  | "postgres"
  | "redis"
> {
  readonly pid: number;
  /** The status page; empty while there is none. */
  readonly statusUrl: string;
}

export type PartState = "starting" | "running" | "restarting" | "stopped" | "failed" | "external";

export interface PartStatus {
  readonly name: string;
  readonly kind: "server" | "service";
  readonly state: PartState;
  readonly pid: number | null;
  readonly address: string | null;
  readonly restarts: number;
  /** Epoch milliseconds since when it is in this state. */
  readonly sinceMs: number;
  /** Why it ended last; null = it never did. */
  readonly lastEnd: string | null;
  /** What it says is wrong while it works on, and the fix; null = nothing. */
  readonly trouble: string | null;
}

export interface PipelineStatus {
  readonly pid: number;
  readonly startedAtMs: number;
  readonly dataDir: string;
  readonly kept: boolean;
  readonly parts: readonly PartStatus[];
}

export function writeLocalState(dataDir: string, state: LocalState): void {
  writeWhole(join(dataDir, ADDRESSES_FILE), state);
}

export function writePipelineStatus(dataDir: string, status: PipelineStatus): void {
  writeWhole(join(dataDir, STATUS_FILE), status);
}

/** Undefined when no pipeline runs on this folder, or none that ended in order has left its addresses. */
export function readLocalState(dataDir: string): LocalState | undefined {
  const state = readWhole<LocalState>(join(dataDir, ADDRESSES_FILE));
  return state !== undefined && isAlive(state.pid) ? state : undefined;
}

export function readPipelineStatus(dataDir: string): PipelineStatus | undefined {
  return readWhole<PipelineStatus>(join(dataDir, STATUS_FILE));
}

export function removeLocalState(dataDir: string): void {
  for (const file of [ADDRESSES_FILE, STATUS_FILE]) rmSync(join(dataDir, file), { force: true });
}

function writeWhole(path: string, content: object): void {
  const unfinished = `${path}.unfinished`;
  writeFileSync(unfinished, `${JSON.stringify(content, undefined, 2)}\n`);
  renameSync(unfinished, path);
}

function readWhole<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    // Another user's process is alive as well.
    return (thrown as NodeJS.ErrnoException).code === "EPERM";
  }
}
