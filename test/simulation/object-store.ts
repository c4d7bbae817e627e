/** A simulated object store, and the ways in which stored objects go bad. */
import { createHash } from "node:crypto";
import type { SnapshotCodec } from "#processor/checkpoint/snapshot-codec.ts";
import type { SnapshotStore, StoredObject } from "#processor/checkpoint/snapshot-store.ts";
import type { SimulatedProcess, World } from "./world.ts";

export class SimulatedObjects {
  readonly #world: World;
  readonly #objects = new Map<string, { bytes: Uint8Array; createdAtMs: number }>();

  constructor(world: World) {
    this.#world = world;
  }

  get keys(): string[] {
    return [...this.#objects.keys()].toSorted();
  }

  put(key: string, bytes: Uint8Array): "created" | "exists" {
    if (this.#objects.has(key)) return "exists";
    this.#objects.set(key, { bytes, createdAtMs: this.#world.nowMs });
    return "created";
  }

  damage(key: string, how: "torn" | "flipped" | "gone"): void {
    const object = this.#objects.get(key);
    if (object === undefined) return;
    if (how === "gone") this.#objects.delete(key);
    else if (how === "torn") object.bytes = object.bytes.subarray(0, Math.floor(object.bytes.length * this.#world.random.next()));
    else {
      object.bytes = object.bytes.slice();
      object.bytes[Math.floor(object.bytes.length * this.#world.random.next())]! ^= 1 << this.#world.random.int(0, 7);
    }
  }

  client(process: SimulatedProcess): SnapshotStore {
    const world = this.#world;
    return {
      list: (prefix) =>
        world.request<StoredObject[]>(process, (reply) =>
          reply(
            this.keys.filter((key) => key.startsWith(prefix)).map((key) => ({ key, createdAtMs: this.#objects.get(key)!.createdAtMs })),
          ),
        ),
      read: (key) => world.request<Uint8Array | null>(process, (reply) => reply(this.#objects.get(key)?.bytes ?? null)),
      createOnce: (key, parts) => world.request<"created" | "exists">(process, (reply) => reply(this.put(key, Buffer.concat(parts)))),
      remove: (key) =>
        world.request<void>(process, (reply) => {
          this.#objects.delete(key);
          reply(undefined);
        }),
    };
  }
}

/** On this thread, so that a run stays deterministic; the real one is tested with the real store. */
export const plainCodec: SnapshotCodec = {
  compress: (bytes) => Promise.resolve(bytes),
  decompress: (bytes) => Promise.resolve(bytes),
  sha256(parts) {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return Promise.resolve(hash.digest("hex"));
  },
};
