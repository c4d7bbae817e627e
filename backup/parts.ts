/** Bytes into parts and back: every part has its hash in the manifest, and none leaves here unchecked. */
import { createHash } from "node:crypto";
import { mkdir, open, readdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import type { BackupLocation } from "./location.ts";
import type { Part } from "./manifest.ts";

/** Of one stored object: bounds memory, whatever a file's size. */
export const CHUNK_BYTES = 32 << 20;

export class PartWriter {
  readonly parts: Part[] = [];
  bytesWritten = 0;
  readonly #location: BackupLocation;
  readonly #name: string;
  /** By file and content: what the bases hold already. */
  readonly #held: ReadonlyMap<string, Part>;

  constructor(location: BackupLocation, name: string, earlier: readonly Part[] = []) {
    this.#location = location;
    this.#name = name;
    this.#held = new Map(earlier.map((part) => [identity(part), part]));
  }

  async add(file: string, bytes: Uint8Array, at = 0): Promise<void> {
    const part = { file, at, bytes: bytes.length, sha256: sha256Of(bytes) };
    const held = this.#held.get(identity(part));
    if (held !== undefined) {
      this.parts.push({ ...part, key: held.key });
      return;
    }
    const key = `${this.#name}/${file}${at === 0 ? "" : `.from-${at}`}`;
    if ((await this.#location.createOnce(key, bytes)) === "exists") {
      throw new CorruptStateError(`${key} exists in ${this.#location.address}: two backups have one name`, {
        code: "BACKUP_DAMAGED",
        hint: "run it again: it gets a name of its own",
      });
    }
    this.parts.push({ ...part, key });
    this.bytesWritten += bytes.length;
  }

  /** Every file below the folder, as `prefix` and its path. */
  async addFolder(prefix: string, folder: string): Promise<void> {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    for (const path of paths.toSorted()) {
      const handle = await open(path);
      try {
        const { size } = await handle.stat();
        let at = 0;
        do {
          const bytes = Buffer.alloc(Math.min(CHUNK_BYTES, size - at));
          for (let read = 0; read < bytes.length;) {
            const { bytesRead } = await handle.read(bytes, read, bytes.length - read, at + read);
            if (bytesRead === 0) throw new Error(`${path} became shorter while it was read`);
            read += bytesRead;
          }
          await this.add(`${prefix}${path.slice(folder.length + 1)}`, bytes, at);
          at += bytes.length;
        } while (at < size);
      } finally {
        await handle.close();
      }
    }
  }
}

/** @throws CorruptStateError BACKUP_DAMAGED naming the part. */
export async function readPart(location: BackupLocation, part: Part): Promise<Uint8Array> {
  const bytes = await location.read(part.key);
  const problem = partProblem(part, bytes);
  if (bytes !== null && problem === null) return bytes;
  throw new CorruptStateError(`${part.key} in ${location.address} ${problem}`, {
    code: "BACKUP_DAMAGED",
    hint: "weir backup verify names every damaged part; restore an older backup: weir backup ls",
  });
}

/** null = as the manifest says. */
export function partProblem(part: Part, bytes: Uint8Array | null): string | null {
  if (bytes === null) return "is missing";
  if (bytes.length !== part.bytes) return `has ${bytes.length} bytes, not ${part.bytes}`;
  const found = sha256Of(bytes);
  return found === part.sha256 ? null : `has SHA-256 ${found.slice(0, 12)}…, not ${part.sha256.slice(0, 12)}…`;
}

/** Writes the files whose names begin with `prefix` below the folder, checked. */
export async function writeFiles(location: BackupLocation, parts: readonly Part[], prefix: string, folder: string): Promise<void> {
  for (const part of parts) {
    if (!part.file.startsWith(prefix)) continue;
    const path = join(folder, part.file.slice(prefix.length));
    if (!path.startsWith(`${folder}/`)) throw new CorruptStateError(`${part.file} leads out of the folder`, { code: "BACKUP_DAMAGED" });
    await mkdir(dirname(path), { recursive: true });
    const handle = await open(path, part.at === 0 ? "w" : "r+");
    try {
      const bytes = await readPart(location, part);
      for (let written = 0; written < bytes.length;) {
        written += (await handle.write(bytes, written, bytes.length - written, part.at + written)).bytesWritten;
      }
    } finally {
      await handle.close();
    }
  }
}

export function sha256Of(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function identity({ file, at, bytes, sha256 }: Omit<Part, "key">): string {
  return `${file}\n${at}\n${bytes}\n${sha256}`;
}
