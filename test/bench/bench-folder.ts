/** Where a bench's servers keep their data: gone when the process ends, also by Ctrl-C or by the report's time limit. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export function makeBenchFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), "weir-bench-"));
  // The database's server runs as another user when this process is root.
  chmodSync(dir, 0o755);
  process.once("exit", () => rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  // The servers' watchers see the end of this process, whatever ends it; only the folder needs a hand.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  return dir;
}
