/**
 * The compiled kernel. It is built by local/setup.sh (build.ts beside this file) into the data folder, under the hash of its sources, so that a
 * stale one is never loaded; a bundle carries it inside (functions/bundle.ts).
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { OperatingError } from "#shared/kernel/errors.ts";

export interface KernelExports {
  readonly memory: WebAssembly.Memory;
  start(): void;
  putKey(node: number, name: number, nameBytes: number): number;
  setChild(field: number, node: number): void;
  putName(table: number, mask: number, name: number, nameBytes: number, index: number): void;
  /** 0 no, 1 yes, 2 the staged columns are full. */
  accept(start: number, end: number, key: number, keyBytes: number, timestampMs: number, sourceOffset: number): number;
}

/** Base64; replaced by the bundler, which leaves no file beside the code. */
declare const WEIR_KERNEL: string | undefined;

export const ASSEMBLY = new URL("assembly/", import.meta.url);

/** Where the kernel of these sources is built to. */
export function kernelPath(): string {
  const hash = createHash("sha256");
  for (const file of readdirSync(ASSEMBLY).sort()) hash.update(file).update(readFileSync(new URL(file, ASSEMBLY)));
  return fileURLToPath(new URL(`../../../.weir/parts/validator-kernel-${hash.digest("hex").slice(0, 16)}.wasm`, import.meta.url));
}

let module: WebAssembly.Module | undefined;

export function createKernel(): KernelExports {
  module ??= new WebAssembly.Module(new Uint8Array(kernelBytes()));
  return new WebAssembly.Instance(module).exports as unknown as KernelExports;
}

function kernelBytes(): Buffer {
  if (typeof WEIR_KERNEL === "string") return Buffer.from(WEIR_KERNEL, "base64");
  const path = kernelPath();
  try {
    return readFileSync(path);
  } catch (thrown) {
    throw new OperatingError(`the validator's kernel is not built: ${path} is missing`, {
      code: "KERNEL_MISSING",
      hint: "sh local/setup.sh",
      cause: thrown,
    });
  }
}
