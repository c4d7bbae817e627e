import { resolve } from "node:path";
import type { Config } from "#shared/config/config.ts";
import { ConfigError } from "#shared/kernel/errors.ts";
import { openFolderLocation } from "./folder-location.ts";
import type { BackupLocation } from "./location.ts";

/** The S3 client is loaded only where it is needed. */
export async function openLocation({ backupUrl, dataDir }: Pick<Config, "backupUrl" | "dataDir">): Promise<BackupLocation> {
  if (!backupUrl.startsWith("s3://")) return openFolderLocation(backupUrl === "" ? `${resolve(dataDir)}-backups` : resolve(backupUrl));
  const [, bucket, prefix = ""] = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:\/(.*))?$/.exec(backupUrl) ?? [];
  if (bucket === undefined) throw new ConfigError([`backupUrl: must be a folder or s3://bucket/prefix, got ${JSON.stringify(backupUrl)}`]);
  const { S3Bucket } = await import("#shared/clients/objects/s3-bucket.ts");
  return new S3Bucket(bucket, prefix);
}
