/** The thread that seals snapshots: checksums, SHA-256 and zstd of a state that lies in shared memory (snapshot-sealer.ts is its other side). */
import { createHash } from "node:crypto";
import { parentPort } from "node:worker_threads";
import { constants, zstdCompressSync } from "node:zlib";
import { assert } from "#shared/kernel/assert.ts";
import { toError } from "#shared/kernel/errors.ts";
import { sealSnapshotFile } from "../state/snapshot-file.ts";
import { sealSnapshot, type SnapshotCodec } from "./snapshot-codec.ts";
import type { FromSealer, ToSealer } from "./snapshot-sealer.ts";

const PAGE_BYTES = 4_096;

const sha256 = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest();

/** The very sums of zstdCodec, without a copy and without leaving the thread. */
const codec: Pick<SnapshotCodec, "compress" | "sha256"> = {
  compress: (bytes) =>
    Promise.resolve(zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 1, [constants.ZSTD_c_checksumFlag]: 1 } })),
  sha256: (parts) => Promise.resolve(sha256(Buffer.concat(parts.map(sha256))).toString("hex")),
};

async function answer(message: ToSealer): Promise<FromSealer> {
  try {
    if (message.kind === "touch") {
      const bytes = new Uint8Array(message.room);
      for (let at = 0; at < bytes.length; at += PAGE_BYTES) bytes[at] = 0;
      return { id: message.id, sealed: null, error: null };
    }
    const state = new Uint8Array(message.room, 0, message.sizeBytes);
    sealSnapshotFile(state);
    return { id: message.id, sealed: await sealSnapshot(codec, message.header, state), error: null };
  } catch (thrown) {
    return { id: message.id, sealed: null, error: toError(thrown).message };
  }
}

const port = parentPort;
assert(port !== null, "the sealer is a worker thread");
port.on("message", (message: ToSealer) => {
  void answer(message).then((said) => {
    // Handed over, not copied.
    const own = (said.sealed?.parts ?? []).filter((part) => part.length > PAGE_BYTES && part.length === part.buffer.byteLength);
    port.postMessage(
      said,
      own.map(({ buffer }) => buffer as ArrayBuffer),
    );
  });
});
