/** Docker's context for the images: just what the Dockerfile copies, so that an image changes when its code does and not with every test. */
import { cpSync, mkdirSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");

export const IMAGE_FILES = [
  "package.json",
  "package-lock.json",
  ".npmrc",
  "shared",
  "processor",
  "sinks",
  "infra/images/bundle.sh",
  "infra/images/start.sh",
] as const;

export function writeImageContext(folder: string): void {
  for (const file of IMAGE_FILES) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(ROOT, file), join(folder, file), { recursive: true });
  }
  cpSync(join(ROOT, "infra/images/Dockerfile"), join(folder, "Dockerfile"));
}
