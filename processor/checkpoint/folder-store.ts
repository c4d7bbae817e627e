/**
 * A folder with the semantics of an object store: the local stand-in for S3. Create-once is `link(2)` of a synced temporary file, which fails
 * when the name is taken; rename would replace. Keys are paths below the root.
 */
import { randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, readFile, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder, unless } from "#shared/clients/objects/folder-call.ts";
import type { SnapshotStore, StoredObject } from "./snapshot-store.ts";

/** A temporary file older than this belongs to a process that died while writing. */
const ABANDONED_AFTER_MS = 3_600_000;
const TEMPORARY = ".tmp-";

export function openFolderStore(root: string, now: () => number): SnapshotStore {
  return {
    async list(prefix): Promise<StoredObject[]> {
      const folder = join(root, dirname(`${prefix}x`));
      const objects: StoredObject[] = [];
      for (const name of (await unless("ENOENT", readdir(folder))) ?? []) {
        const key = `${dirname(`${prefix}x`)}/${name}`;
        const path = join(root, key);
        const facts = await unless("ENOENT", stat(path));
        if (facts === null || !facts.isFile()) continue;
        if (!name.startsWith(TEMPORARY)) {
          if (key.startsWith(prefix)) objects.push({ key, createdAtMs: facts.mtimeMs });
        } else if (now() - facts.mtimeMs > ABANDONED_AFTER_MS) await unless("ENOENT", unlink(path));
      }
      return objects.toSorted((a, b) => (a.key < b.key ? -1 : 1));
    },

    read: (key) => unless("ENOENT", readFile(join(root, key))),

    async createOnce(key, parts) {
      const path = join(root, key);
      const folder = dirname(path);
      await mkdir(folder, { recursive: true });
      const temporary = join(folder, `${TEMPORARY}${randomBytes(8).toString("hex")}`);
      try {
        const file = await open(temporary, "wx");
        try {
          // Not writev, which may write less than it was given.
          for (const part of parts) await file.writeFile(part);
          await file.sync();
        } finally {
          await file.close();
        }
        const linking = link(temporary, path).then(() => true);
        if ((await unless("EEXIST", linking)) === null) return "exists";
      } finally {
        await unless("ENOENT", unlink(temporary));
      }
      await syncFolder(folder);
      return "created";
    },

    async remove(key) {
      await unless("ENOENT", unlink(join(root, key)));
    },
  };
}
