/** Where snapshots are: `snapshotUrl` (s3://bucket/prefix) or, without it, the data folder. The S3 client is loaded only where it is needed. */
import { join } from "node:path";
import type { Config } from "#shared/config/config.ts";
import { ConfigError } from "#shared/kernel/errors.ts";
import { openFolderStore } from "./folder-store.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

export interface NamedStore extends SnapshotStore {
  /** For messages: `s3://bucket/prefix/` or the folder. */
  readonly address: string;
}

/** `now` dates what a killed writer left in a folder. Nothing is opened before the first call of a method. */
export function openSnapshotStore({ snapshotUrl, dataDir }: Pick<Config, "snapshotUrl" | "dataDir">, now: () => number): NamedStore {
  if (snapshotUrl === "") {
    const address = join(dataDir, "objects");
    return { ...openFolderStore(address, now), address };
  }
  const [, bucket, prefix = ""] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(snapshotUrl) ?? [];
  if (bucket === undefined) throw new ConfigError([`snapshotUrl: must be s3://bucket/prefix, got ${JSON.stringify(snapshotUrl)}`]);
  let opened: Promise<SnapshotStore> | undefined;
  const store = (): Promise<SnapshotStore> => (opened ??= openBucket(bucket, prefix));
  return {
    address: snapshotUrl,
    list: async (keys) => (await store()).list(keys),
    read: async (key) => (await store()).read(key),
    createOnce: async (key, parts) => (await store()).createOnce(key, parts),
    remove: async (key) => (await store()).remove(key),
  };
}

async function openBucket(bucket: string, prefix: string): Promise<SnapshotStore> {
  const [{ S3Bucket }, { openS3Store }] = await Promise.all([import("#shared/clients/objects/s3-bucket.ts"), import("./s3-store.ts")]);
  return openS3Store(new S3Bucket(bucket, prefix));
}
