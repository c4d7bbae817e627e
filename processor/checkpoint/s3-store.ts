/** A bucket as snapshot store. Two owners write identical bytes under one key, so whoever comes second has succeeded as well. */
import type { S3Bucket } from "#shared/clients/objects/s3-bucket.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

export function openS3Store(bucket: S3Bucket): SnapshotStore {
  return {
    list: (prefix) => bucket.list(prefix),
    read: (key) => bucket.read(key),
    createOnce: (key, parts) => bucket.createOnce(key, joined(parts)),
    remove: (key) => bucket.remove(key),
  };
}

/** A snapshot's parts are a few bytes of head and one large body: the copy costs less than a request for each. */
function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
