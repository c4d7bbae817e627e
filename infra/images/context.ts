/** Docker's context for the images: just what the Dockerfile copies, so that an image changes when its code does and not with every test. */
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { ConfigError } from "#shared/kernel/errors.ts";
import { dockerfileFindings } from "../checks/dockerfile.ts";

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
  const dockerfile = join(ROOT, "infra/images/Dockerfile");
  const findings = dockerfileFindings(readFileSync(dockerfile, "utf8"));
  if (findings.length > 0) throw new ConfigError(findings.map(({ line, rule, why }) => `infra/images/Dockerfile:${line}: ${rule}: ${why}`));
  cpSync(dockerfile, join(folder, "Dockerfile"));
}
