/** What both stand-ins for an object store do to files: for snapshots, and for all other objects. */
import { open } from "node:fs/promises";

/** The name is durable only when the folder is. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** null when the call fails with this code: the outcome that the caller expects. */
export async function unless<T>(code: string, call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === code) return null;
    throw thrown;
  }
}
