/**
 * A folder of backups. Create-once is `link(2)` of a synced temporary file (shared/clients/objects does the same); here keys lie at any depth and are
 * removed again.
 */
import { readdir, rmdir, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import { CorruptStateError, toError, UnavailableError } from "#shared/kernel/errors.ts";
import type { BackupLocation, StoredPart } from "./location.ts";

const TEMPORARY = ".tmp-";

export function openFolderLocation(folder: string): BackupLocation {
  const root = resolve(folder);
  const objects = openFolderObjects(root);

  const pathOf = (key: string): string => {
    const path = resolve(root, key);
    if (path.startsWith(root + sep)) return path;
    throw new CorruptStateError(`part ${JSON.stringify(key)} would lie outside of ${root}`, { code: "BACKUP_DAMAGED" });
  };

  return {
    address: root,
    async list(prefix) {
      const below = prefix.includes("/") ? dirname(`${prefix}x`) : "";
      const names = await call(`list ${prefix}`, root, readdir(join(root, below), { recursive: true, withFileTypes: true }));
      const found: StoredPart[] = [];
      for (const entry of names ?? []) {
        if (!entry.isFile()) continue;
        const key = join(entry.parentPath, entry.name).slice(root.length + 1);
        if (!key.startsWith(prefix)) continue;
        const facts = await call(`list ${prefix}`, root, stat(join(root, key)));
        if (facts !== null) found.push({ key, createdAtMs: facts.mtimeMs });
      }
      return found.toSorted((a, b) => (a.key < b.key ? -1 : 1));
    },
    async read(key) {
      const content = await objects.read(key);
      return content === null || content === "unchanged" ? null : content.bytes;
    },
    createOnce: (key, bytes) => objects.createOnce(key, bytes),
    async remove(key) {
      await call(`remove ${key}`, root, unlink(pathOf(key)));
      // The folders that become empty with it, up to the root; somebody may write into one at this moment, which then stays.
      for (let at = dirname(pathOf(key)); at.startsWith(root + sep); at = dirname(at)) {
        const gone = await rmdir(at).then(
          () => true,
          () => false,
        );
        if (!gone) break;
      }
    },
  };
}

/** A file that its writer did not live to name. */
export function isTemporary(key: string): boolean {
  return key.slice(key.lastIndexOf("/") + 1).startsWith(TEMPORARY);
}

/** null: it is not there. */
async function call<T>(what: string, root: string, work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new UnavailableError(`cannot ${what} in ${root}: ${toError(thrown).message}`, {
      code: "BACKUP_UNAVAILABLE",
      hint: "see whether the folder exists, has room and may be written to",
      cause: thrown,
    });
  }
}
