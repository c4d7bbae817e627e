/**
 * Compiles the kernel (AssemblyScript) to where kernel-module.ts looks for it; does nothing when it is there already. The compiler is run, not
 * imported: its types would change those of Array and String everywhere.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ASSEMBLY, kernelPath } from "./kernel-module.ts";

const OPTIONS = ["-O3", "--noAssert", "--runtime", "stub", "--enable", "simd", "--use", "abort="];

/** Returns the path. @throws Error with the compiler's messages. */
export function buildKernel(): string {
  const path = kernelPath();
  if (existsSync(path)) return path;
  const folder = dirname(path);
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(folder)) if (/^validator-kernel-.*\.wasm$/.test(file)) rmSync(join(folder, file), { force: true });
  const compiler = fileURLToPath(new URL("../bin/asc.js", import.meta.resolve("assemblyscript/asc")));
  const part = `${path}.${process.pid}.part`;
  execFileSync(process.execPath, [compiler, "index.ts", "--baseDir", fileURLToPath(ASSEMBLY), ...OPTIONS, "--outFile", part], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  renameSync(part, path);
  return path;
}

if (import.meta.main) buildKernel();
