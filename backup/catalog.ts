/** What lies in a place for backups: whole ones, by their manifests, and what attempts that died have left. */
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import { isTemporary } from "./folder-location.ts";
import type { BackupLocation } from "./location.ts";
import { type Manifest, MANIFEST_FILE, parseManifest, RUNNING_FILE, startOf } from "./manifest.ts";
import { chainOf } from "./retention.ts";

/** Of another machine's attempt nobody here knows whether it lives. */
const ABANDONED_AFTER_MS = 86_400_000;

interface Runner {
  readonly host: string;
  readonly pid: number;
  /** Tells a process from a later one of the same number. */
  readonly started: string;
}

export interface Catalog {
  /** Oldest first. */
  readonly backups: readonly Manifest[];
  /** Names that have a manifest which cannot be read, and why. */
  readonly unreadable: ReadonlyMap<string, string>;
  /** Names without a manifest. */
  readonly unfinished: readonly string[];
}

export async function readCatalog(location: BackupLocation): Promise<Catalog> {
  const names = new Map<string, boolean>();
  for (const { key } of await location.list("")) {
    const [name = "", file] = key.split("/");
    if (startOf(name) === null || file === undefined) continue;
    names.set(name, (names.get(name) ?? false) || key === `${name}/${MANIFEST_FILE}`);
  }
  const backups: Manifest[] = [];
  const unreadable = new Map<string, string>();
  const unfinished: string[] = [];
  for (const [name, isWhole] of [...names].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    if (!isWhole) {
      unfinished.push(name);
      continue;
    }
    try {
      const bytes = await location.read(`${name}/${MANIFEST_FILE}`);
      // Retention of another run took it between the two looks.
      if (bytes !== null) backups.push(parseManifest(bytes, `${name}/${MANIFEST_FILE}`));
    } catch (thrown) {
      if (!(thrown instanceof OperatingError) || thrown.code !== "BACKUP_DAMAGED") throw thrown;
      unreadable.set(name, toError(thrown).message);
    }
  }
  return { backups, unreadable, unfinished };
}

/** The newest without a name. @throws OperatingError BACKUP_NOT_FOUND */
export function findChain({ backups, unreadable }: Catalog, location: BackupLocation, name?: string): Manifest[] {
  const wanted = name ?? backups.at(-1)?.name;
  const problem = wanted === undefined ? undefined : unreadable.get(wanted);
  const chain = wanted === undefined ? null : chainOf(backups, wanted);
  if (chain !== null) return chain;
  const isThere = backups.some((backup) => backup.name === wanted);
  throw new OperatingError(
    problem ??
      (wanted === undefined
        ? `there is no backup in ${location.address}`
        : isThere
          ? `backup ${wanted} is a difference to one that is gone or damaged`
          : `there is no backup ${wanted} in ${location.address}`),
    { code: "BACKUP_NOT_FOUND", hint: "weir backup ls" },
  );
}

/** Marks the name as taken by this process. */
export async function markRunning(location: BackupLocation, name: string): Promise<void> {
  const runner: Runner = { host: hostname(), pid: process.pid, started: startedAt(process.pid) ?? "" };
  await location.createOnce(`${name}/${RUNNING_FILE}`, Buffer.from(JSON.stringify(runner)));
}

/** Removes what attempts left that died. Returns their names. @throws OperatingError BACKUP_RUNNING when one is alive. */
export async function sweepUnfinished(location: BackupLocation, unfinished: readonly string[], nowMs: number): Promise<string[]> {
  for (const name of unfinished) {
    const bytes = await location.read(`${name}/${RUNNING_FILE}`);
    const runner = bytes === null ? null : (JSON.parse(Buffer.from(bytes).toString()) as Runner);
    const isHere = runner !== null && runner.host === hostname();
    const lives = isHere ? startedAt(runner.pid) === runner.started : nowMs - (startOf(name) ?? 0) < ABANDONED_AFTER_MS;
    if (!lives) continue;
    throw new OperatingError(
      `backup ${name} is being made by ${runner === null ? "somebody" : `process ${runner.pid} of ${runner.host}`}`,
      {
        code: "BACKUP_RUNNING",
        hint: "wait until it has ended; of another machine it counts as dead after a day",
      },
    );
  }
  for (const name of unfinished) await removeBackup(location, name);
  return [...unfinished];
}

/** The manifest first: killed in the middle, the rest is an unfinished backup, which the next run takes away. */
export async function removeBackup(location: BackupLocation, name: string): Promise<void> {
  await location.remove(`${name}/${MANIFEST_FILE}`);
  for (const { key } of await location.list(`${name}/`)) await location.remove(key);
}

/** Parts that no manifest names; temporary files of a folder included. */
export function strays(keys: readonly string[], { name, parts }: Manifest): string[] {
  const known = new Set(parts.map(({ key }) => key));
  return keys.filter(
    (key) => !known.has(key) && key !== `${name}/${MANIFEST_FILE}` && key !== `${name}/${RUNNING_FILE}` && !isTemporary(key),
  );
}

/** Clock ticks since boot (proc(5), field 22); null = no such process. */
function startedAt(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    return null;
  }
}
