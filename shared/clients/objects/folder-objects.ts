/** A folder as object store. Create-once is `link(2)` of a synced temporary file, which fails when the name is taken; replacing is rename. */
import { createHash, randomBytes } from "node:crypto";
import { link, mkdir, open, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { CorruptStateError, toError, UnavailableError } from "../../kernel/errors.ts";
import { syncFolder, unless } from "./folder-call.ts";
import type { ObjectContent, ObjectStore, StoredObject } from "./object-store.ts";

/** A temporary file older than this belongs to a process that died while writing. */
const ABANDONED_AFTER_MS = 3_600_000;
const TEMPORARY = ".tmp-";

export function openFolderObjects(folder: string): ObjectStore {
  return new FolderObjects(folder);
}

class FolderObjects implements ObjectStore {
  readonly address: string;
  readonly #root: string;

  constructor(folder: string) {
    this.#root = resolve(folder);
    this.address = this.#root;
  }

  async read(key: string, { knownEtag }: { readonly knownEtag?: string | undefined } = {}): Promise<ObjectContent | "unchanged" | null> {
    return this.#call(`read ${key}`, async () => {
      const bytes = await unless("ENOENT", readFile(this.#pathOf(key)));
      if (bytes === null) return null;
      const etag = etagOf(bytes);
      return etag === knownEtag ? "unchanged" : { bytes, etag };
    });
  }

  async createOnce(key: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    return this.#call(`write ${key}`, () =>
      this.#place(key, bytes, async (fresh, path) =>
        (await unless(
          "EEXIST",
          link(fresh, path).then(() => true),
        )) === null
          ? "exists"
          : "created",
      ),
    );
  }

  async replace(key: string, bytes: Uint8Array, knownEtag: string | null): Promise<"replaced" | "conflict"> {
    return this.#call(`write ${key}`, async () => {
      const current = await unless("ENOENT", readFile(this.#pathOf(key)));
      if ((current === null ? null : etagOf(current)) !== knownEtag) return "conflict";
      return this.#place(key, bytes, async (fresh, path) => {
        await rename(fresh, path);
        return "replaced" as const;
      });
    });
  }

  async list(prefix: string): Promise<StoredObject[]> {
    const parent = dirname(`${prefix}x`);
    return this.#call(`list ${prefix}`, async () => {
      const objects: StoredObject[] = [];
      for (const name of (await unless("ENOENT", readdir(this.#pathOf(parent)))) ?? []) {
        const key = parent === "." ? name : `${parent}/${name}`;
        const facts = await unless("ENOENT", stat(this.#pathOf(key)));
        if (facts === null || !facts.isFile()) continue;
        if (!name.startsWith(TEMPORARY)) {
          if (key.startsWith(prefix)) objects.push({ key, createdAtMs: facts.mtimeMs });
        } else if (Date.now() - facts.mtimeMs > ABANDONED_AFTER_MS) await unless("ENOENT", unlink(this.#pathOf(key)));
      }
      return objects.toSorted((a, b) => (a.key < b.key ? -1 : 1));
    });
  }

  /** A pointer may name any key: none leads out of the folder. */
  #pathOf(key: string): string {
    const path = resolve(this.#root, key);
    if (path.startsWith(this.#root + sep)) return path;
    throw new CorruptStateError(`object ${JSON.stringify(key)} would lie outside of ${this.address}`, { code: "OBJECT_KEY" });
  }

  /** Writes a synced file beside the target and has `name` give it the target's name. */
  async #place<T>(key: string, bytes: Uint8Array, name: (fresh: string, path: string) => Promise<T>): Promise<T> {
    const path = this.#pathOf(key);
    const folder = dirname(path);
    await mkdir(folder, { recursive: true });
    const fresh = join(folder, `${TEMPORARY}${randomBytes(8).toString("hex")}`);
    try {
      const file = await open(fresh, "wx");
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      const outcome = await name(fresh, path);
      await syncFolder(folder);
      return outcome;
    } finally {
      await unless("ENOENT", unlink(fresh));
    }
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      if (thrown instanceof CorruptStateError) throw thrown;
      throw new UnavailableError(`cannot ${what} in ${this.address}: ${toError(thrown).message}`, {
        code: "OBJECTS_UNAVAILABLE",
        hint: "see whether the folder exists, has room and may be written to",
        cause: thrown,
      });
    }
  }
}

function etagOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
