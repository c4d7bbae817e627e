/** Where a run keeps everything: the given folder, or one that goes with the run. */
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnavailableError } from "#shared/kernel/errors.ts";
import { type FolderLock, HOLDER_FILE, lockFolder } from "./folder-lock.ts";
import type { StartOptions } from "./options.ts";

export interface DataFolder {
  readonly dir: string;
  readonly kept: boolean;
  release(): Promise<void>;
}

/** @throws UnavailableError when another starter holds the folder. */
export async function openDataFolder(options: StartOptions): Promise<DataFolder> {
  if (options.dataDir === undefined) {
    const dir = mkdtempSync(join(tmpdir(), "weir-"));
    // PostgreSQL runs under another account when we are root.
    chmodSync(dir, 0o755);
    const lock = await lockFolder(dir);
    return { dir, kept: false, release: () => release(lock, dir) };
  }
  const lock = await lockFolder(options.dataDir);
  // A recorded data set is counted from its first event: what an earlier run left in its folder would be counted too.
  if (options.seed === "flights") {
    const earlier = readdirSync(options.dataDir).filter((entry) => entry !== HOLDER_FILE);
    if (earlier.length > 0 && !options.isUsualFolder) {
      await lock.release();
      throw new UnavailableError(`data folder ${options.dataDir} is not empty`, {
        code: "LOCAL_FOLDER_NOT_EMPTY",
        hint: "give --seed flights an empty folder, or none: it then uses .weir/flights anew",
      });
    }
    for (const entry of earlier) rmSync(join(options.dataDir, entry), { recursive: true, force: true });
  }
  return { dir: options.dataDir, kept: true, release: () => release(lock, undefined) };
}

async function release(lock: FolderLock, toDelete: string | undefined): Promise<void> {
  await lock.release();
  if (toDelete !== undefined) rmSync(toDelete, { recursive: true, force: true });
}
