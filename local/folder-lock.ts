/**
 * One pipeline per data folder. The lock is an abstract Unix socket named after the folder's inode: the kernel gives it to one process and
 * takes it back when that process ends, however it ends, so that no lock is ever stale. The file beside it only says who holds it.
 */
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { toError, UnavailableError } from "#shared/kernel/errors.ts";

export const HOLDER_FILE = "holder.pid";

export interface FolderLock {
  release(): Promise<void>;
}

/** Makes the folder. @throws UnavailableError naming the pid that holds it. */
export async function lockFolder(dir: string): Promise<FolderLock> {
  try {
    mkdirSync(dir, { recursive: true });
  } catch (thrown) {
    throw new UnavailableError(`data folder ${dir} cannot be made: ${toError(thrown).message}`, {
      code: "LOCAL_FOLDER",
      hint: "choose another with --data-dir",
    });
  }
  const { dev, ino } = statSync(dir, { bigint: true });
  const holder = join(dir, HOLDER_FILE);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (thrown: NodeJS.ErrnoException) => {
      if (thrown.code !== "EADDRINUSE") return reject(thrown);
      const pid = readHolder(holder);
      reject(
        new UnavailableError(`data folder ${dir} is in use by pid ${pid}`, {
          code: "LOCAL_FOLDER_IN_USE",
          hint: `stop that one (kill ${pid}), or give this one its own folder with --data-dir`,
        }),
      );
    });
    server.listen({ path: `\0weir-${dev}-${ino}` }, resolve);
  });
  server.unref();
  writeFileSync(holder, `${process.pid}\n`);
  return {
    release: async () => {
      rmSync(holder, { force: true });
      await new Promise((done) => server.close(done));
    },
  };
}

function readHolder(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "unknown";
  }
}
