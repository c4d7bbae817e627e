/**
 * An S3 bucket as object store. `If-None-Match: *` and `If-Match` make the two kinds of writing atomic; S3 answers 412 when the condition does
 * not hold and 409 when another conditional write is under way, which decides nothing (docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
 */
import { type GetObjectCommandOutput, type PutObjectCommandInput, S3Client, S3ServiceException } from "@aws-sdk/client-s3";
import { GetObjectCommand, paginateListObjectsV2, PutObjectCommand } from "@aws-sdk/client-s3";
import { setTimeout as sleep } from "node:timers/promises";
import { toError, UnavailableError } from "../../kernel/errors.ts";
import type { ObjectContent, ObjectStore, StoredObject } from "./object-store.ts";

const CONFLICT_TRIES = 5;
const CONFLICT_PAUSE_MS = 100;
const REQUEST_TIMEOUT_MS = 5_000;

export function openS3Objects(bucket: string, prefix: string): ObjectStore {
  // Region, credentials and an endpoint other than AWS's come from where every AWS tool takes them.
  const client = new S3Client({ maxAttempts: 3, requestHandler: { connectionTimeout: 2_000, requestTimeout: REQUEST_TIMEOUT_MS } });
  return new S3Objects(client, bucket, prefix);
}

class S3Objects implements ObjectStore {
  readonly address: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;

  constructor(client: S3Client, bucket: string, prefix: string) {
    this.#client = client;
    this.#bucket = bucket;
    this.#prefix = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    this.address = `s3://${bucket}/${this.#prefix}`;
  }

  async read(
    key: string,
    { knownEtag, signal }: { readonly knownEtag?: string | undefined; readonly signal?: AbortSignal } = {},
  ): Promise<ObjectContent | "unchanged" | null> {
    let answer: GetObjectCommandOutput;
    try {
      const command = new GetObjectCommand({
        Bucket: this.#bucket,
        Key: this.#prefix + key,
        ...(knownEtag === undefined ? {} : { IfNoneMatch: knownEtag }),
      });
      answer = await this.#client.send(command, signal === undefined ? {} : { abortSignal: signal });
      return { bytes: await answer.Body!.transformToByteArray(), etag: answer.ETag ?? "" };
    } catch (thrown) {
      const status = statusOf(thrown);
      if (status === 304) return "unchanged";
      if (status === 404 && (thrown as Error).name !== "NoSuchBucket") return null;
      throw this.#failed(`read ${key}`, thrown);
    }
  }

  async createOnce(key: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    return (await this.#put(key, bytes, { IfNoneMatch: "*" })) ? "created" : "exists";
  }

  async replace(key: string, bytes: Uint8Array, knownEtag: string | null): Promise<"replaced" | "conflict"> {
    return (await this.#put(key, bytes, knownEtag === null ? { IfNoneMatch: "*" } : { IfMatch: knownEtag })) ? "replaced" : "conflict";
  }

  async list(prefix: string): Promise<StoredObject[]> {
    try {
      const objects: StoredObject[] = [];
      for await (const page of paginateListObjectsV2({ client: this.#client }, { Bucket: this.#bucket, Prefix: this.#prefix + prefix })) {
        for (const { Key, LastModified } of page.Contents ?? []) {
          objects.push({ key: Key!.slice(this.#prefix.length), createdAtMs: LastModified?.getTime() ?? 0 });
        }
      }
      return objects;
    } catch (thrown) {
      throw this.#failed(`list ${prefix}`, thrown);
    }
  }

  /** False = the condition does not hold. */
  async #put(key: string, bytes: Uint8Array, condition: Pick<PutObjectCommandInput, "IfMatch" | "IfNoneMatch">): Promise<boolean> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#client.send(new PutObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key, Body: bytes, ...condition }));
        return true;
      } catch (thrown) {
        const status = statusOf(thrown);
        // 404 with If-Match: what was to be replaced is gone.
        if (status === 412 || (status === 404 && condition.IfMatch !== undefined && (thrown as Error).name !== "NoSuchBucket"))
          return false;
        if (status !== 409 || attempt === CONFLICT_TRIES) throw this.#failed(`write ${key}`, thrown);
        await sleep(CONFLICT_PAUSE_MS * attempt);
      }
    }
  }

  #failed(what: string, thrown: unknown): UnavailableError {
    const error = toError(thrown);
    return new UnavailableError(`cannot ${what} in ${this.address}: ${error.name}: ${error.message}`, {
      code: "OBJECTS_UNAVAILABLE",
      hint: "see whether the bucket exists, the network reaches it and this identity may read and write the prefix",
      cause: error,
    });
  }
}

function statusOf(thrown: unknown): number | undefined {
  return thrown instanceof S3ServiceException ? thrown.$metadata.httpStatusCode : undefined;
}
