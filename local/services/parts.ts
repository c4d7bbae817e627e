/** Where local/setup.sh leaves the programs that the servers are started from. */
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { UnavailableError } from "#shared/kernel/errors.ts";

export const ROOT = resolve(import.meta.dirname, "../..");
const PARTS = join(ROOT, ".weir/parts");

/** @throws UnavailableError when setup has not run. */
export function part(path: string): string {
  return existing(join(PARTS, path), path);
}

/** A file of an npm package; its export map, if any, would hide binaries. */
export function packageFile(path: string): string {
  return existing(join(ROOT, "node_modules", path), path);
}

/** In the order in which local/setup.sh lists them: an archive of classes is refused under another class path. */
export function kafkaClassPath(): string {
  const jars = part("kafka/jars");
  const names = readdirSync(jars).filter((name) => name.endsWith(".jar"));
  return names
    .toSorted((a, b) => (a < b ? -1 : 1))
    .map((name) => join(jars, name))
    .join(":");
}

function existing(path: string, name: string): string {
  if (!existsSync(path)) throw new UnavailableError(`${name} is not there`, { code: "LOCAL_PART_MISSING", hint: "sh local/setup.sh" });
  return path;
}
