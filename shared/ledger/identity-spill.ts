/**
 * The event ids of one partition, however many: dealt out by their hash into buckets, each small enough for an {@link IdentityIndex}. Small buckets
 * stay in memory, large ones go to files, so that ids are compared exactly with tens of megabytes. Equal ids are in the same bucket.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** 16 bytes of id, then as doubles the position and the log time. */
export const ENTRY_BYTES = 32;
const BUCKET_ROWS = 500_000;
const BUCKETS_MAX = 512;
/** Before a bucket is written out: with all buckets at their bound, 64 MB. */
const HELD_BYTES = 128 * 1_024;
const ALONE_BYTES = BUCKET_ROWS * ENTRY_BYTES;

export class IdentitySpill {
  readonly #buckets: Bucket[];
  readonly #mask: number;
  #folder: string | undefined;

  /** More rows than expected make the buckets larger, not the result wrong. */
  constructor(expectedRows: number) {
    let count = 1;
    while (count < BUCKETS_MAX && count * BUCKET_ROWS < expectedRows) count *= 2;
    this.#mask = count - 1;
    const heldBytes = count === 1 ? ALONE_BYTES : HELD_BYTES;
    this.#buckets = Array.from({ length: count }, (_, i) => new Bucket(heldBytes, () => join(this.#ownFolder(), `${i}`)));
  }

  get bucketCount(): number {
    return this.#buckets.length;
  }

  /** Where the files are; undefined: all is in memory. */
  get folder(): string | undefined {
    return this.#folder;
  }

  /** `at` counts bytes. `position`: what the caller wants back with the id. */
  add(ids: Uint8Array, at: number, position: number, logTimeMs: number): void {
    let hash = 0x811c9dc5;
    for (let i = 0; i < 16; i++) hash = Math.imul(hash ^ ids[at + i]!, 0x01000193);
    this.#buckets[(hash ^ (hash >>> 15)) & this.#mask]!.add(ids, at, position, logTimeMs);
  }

  /** Bucket by bucket, each as its entries in the order of {@link add}; valid until the next one. */
  *entries(): Generator<Buffer> {
    for (const bucket of this.#buckets) yield bucket.read();
  }

  close(): void {
    for (const bucket of this.#buckets) bucket.close();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
    this.#folder = undefined;
  }

  #ownFolder(): string {
    this.#folder ??= mkdtempSync(join(tmpdir(), "weir-verify-"));
    return this.#folder;
  }
}

class Bucket {
  readonly #heldBytes: number;
  readonly #path: () => string;
  #bytes = Buffer.alloc(32 * ENTRY_BYTES);
  #used = 0;
  #file: number | undefined;

  constructor(heldBytes: number, path: () => string) {
    this.#heldBytes = heldBytes;
    this.#path = path;
  }

  add(ids: Uint8Array, at: number, position: number, logTimeMs: number): void {
    if (this.#used === this.#bytes.length) this.#makeRoom();
    this.#bytes.set(ids.subarray(at, at + 16), this.#used);
    this.#bytes.writeDoubleLE(position, this.#used + 16);
    this.#bytes.writeDoubleLE(logTimeMs, this.#used + 24);
    this.#used += ENTRY_BYTES;
  }

  read(): Buffer {
    const held = this.#bytes.subarray(0, this.#used);
    if (this.#file === undefined) return held;
    return Buffer.concat([readFileSync(this.#path()), held]);
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  #makeRoom(): void {
    if (this.#bytes.length < this.#heldBytes) {
      const grown = Buffer.alloc(Math.min(this.#heldBytes, this.#bytes.length * 4));
      grown.set(this.#bytes);
      this.#bytes = grown;
      return;
    }
    this.#file ??= openSync(this.#path(), "w");
    writeSync(this.#file, this.#bytes, 0, this.#used);
    this.#used = 0;
  }
}
