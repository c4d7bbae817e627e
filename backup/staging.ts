/**
 * The one folder that the ClickHouse server writes backups into and reads them from. Who has it has it alone, whatever database it is about, so that
 * everything that lies there before and after is somebody's who died.
 */
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type FolderLock, HOLDER_FILE, lockFolder } from "#local/folder-lock.ts";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { OperatingError, UnavailableError } from "#shared/kernel/errors.ts";

const POLL_MS = 100;
/** Of another backup or restore on this server. */
const WAIT_MS = 3_600_000;

export async function withStaging<T>(client: Clickhouse, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await stagingFolder(client);
  const lock = await waitForLock(folder);
  try {
    await sweep(client, folder);
    return await work(folder);
  } finally {
    await sweep(client, folder).catch(() => undefined);
    await lock.release();
  }
}

/** What the server itself calls the folder of backups. @throws UnavailableError BACKUP_STAGING where it cannot be reached from here. */
export async function stagingFolder(client: Clickhouse): Promise<string> {
  const [disk] = await client.query<{ readonly path: string }>("SELECT path FROM system.disks WHERE name = 'default'");
  const folder = join(disk?.path ?? "", "backups");
  try {
    await stat(disk!.path);
    await mkdir(folder, { recursive: true });
    return folder;
  } catch (thrown) {
    throw new UnavailableError(`ClickHouse keeps its backups in ${folder}, which is not there for this process`, {
      code: "BACKUP_STAGING",
      hint: "run weir backup on the machine of the ClickHouse server, as its user",
      cause: thrown,
    });
  }
}

async function waitForLock(folder: string): Promise<FolderLock> {
  for (const deadline = performance.now() + WAIT_MS; ;) {
    try {
      return await lockFolder(folder);
    } catch (thrown) {
      if (!(thrown instanceof OperatingError) || thrown.code !== "LOCAL_FOLDER_IN_USE") throw thrown;
      if (performance.now() > deadline) {
        throw new OperatingError(`another backup or restore has held ${folder} for an hour`, {
          code: "BACKUP_RUNNING",
          hint: "see what it does; it may be a very large one",
          cause: thrown,
        });
      }
      await sleep(POLL_MS);
    }
  }
}

/** An attempt that died may still run in the server, which goes on without its client. */
async function sweep(client: Clickhouse, folder: string): Promise<void> {
  const isBusy = async (): Promise<boolean> =>
    (await client.query("SELECT 1 FROM system.backups WHERE status IN ('CREATING_BACKUP', 'RESTORING') LIMIT 1")).length > 0;
  while (await isBusy()) await sleep(POLL_MS);
  for (const entry of await readdir(folder)) if (entry !== HOLDER_FILE) await rm(join(folder, entry), { recursive: true, force: true });
}
