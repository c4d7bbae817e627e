import { ConfigError } from "../../kernel/errors.ts";
import type { Config } from "../../config/config.ts";
import { openFolderObjects } from "./folder-objects.ts";
import type { ObjectStore } from "./object-store.ts";

/** Where rules releases are: `rulesUrl` (s3://bucket/prefix) or, without it, the data folder. The S3 client is loaded only where it is needed. */
export async function openRulesObjects({ rulesUrl, dataDir }: Pick<Config, "rulesUrl" | "dataDir">): Promise<ObjectStore> {
  if (rulesUrl === "") return openFolderObjects(dataDir);
  const [, bucket, prefix = ""] = /^s3:\/\/([^/]+)(?:\/(.*))?$/.exec(rulesUrl) ?? [];
  if (bucket === undefined) throw new ConfigError([`rulesUrl: must be s3://bucket/prefix, got ${JSON.stringify(rulesUrl)}`]);
  const { openS3Objects } = await import("./s3-objects.ts");
  return openS3Objects(bucket, prefix);
}
