/**
 * A bucket for large objects that are written once: what snapshots need and {@link ObjectStore}'s small ones do not. An object above
 * SINGLE_PUT_BYTES_MAX goes up in parts, several at a time, and comes into being with the last request or not at all; reading goes by ranges of
 * one version. Conditional writes: docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html; parts: .../mpuoverview.html.
 *
 * I1 A key that exists is never written: `If-None-Match: *` stands on the request that makes the object, in one piece or in parts.
 * I2 Every body carries a CRC32 that S3 checks before it answers (the SDK's default), and the parts' checksums are named again when they are joined.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  paginateListObjectsV2,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { setTimeout as sleep } from "node:timers/promises";
import { toError, UnavailableError } from "../../kernel/errors.ts";
import type { StoredObject } from "./object-store.ts";

/** One request takes up to 5 GB; beyond this, parts are faster and a broken connection costs one part. */
const SINGLE_PUT_BYTES_MAX = 100_000_000;
/** S3 takes 10,000 parts of 5 MiB at least: 160 GiB fit. */
const PART_BYTES = 16 << 20;
const IN_FLIGHT_MAX = 4;
const PAGE_KEYS = 1_000;
/** 503 SlowDown, 500, a reset connection: the SDK waits between tries, longer each time, up to 20 s. */
const REQUEST_TRIES = 6;
/** Of one part or range, on a slow line. */
const REQUEST_TIMEOUT_MS = 60_000;
const CONFLICT_TRIES = 5;
const CONFLICT_PAUSE_MS = 100;

/** Smaller and fewer only in tests. */
export interface S3BucketOptions {
  readonly singlePutBytesMax?: number;
  readonly partBytes?: number;
  /** Keys per answer of a listing, 1,000 at most. */
  readonly pageKeys?: number;
  readonly requestTries?: number;
}

/** @throws UnavailableError SNAPSHOTS_UNAVAILABLE, from every method, when the bucket does not answer or refuses. */
export class S3Bucket {
  /** For messages. */
  readonly address: string;
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #singlePutBytesMax: number;
  readonly #partBytes: number;
  readonly #pageKeys: number;

  /** Region, credentials and an endpoint other than AWS's come from where every AWS tool takes them. */
  constructor(bucket: string, prefix: string, options: S3BucketOptions = {}) {
    this.#client = new S3Client({
      maxAttempts: options.requestTries ?? REQUEST_TRIES,
      requestHandler: { connectionTimeout: 2_000, requestTimeout: REQUEST_TIMEOUT_MS },
    });
    this.#bucket = bucket;
    this.#prefix = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    this.#singlePutBytesMax = options.singlePutBytesMax ?? SINGLE_PUT_BYTES_MAX;
    this.#partBytes = options.partBytes ?? PART_BYTES;
    this.#pageKeys = options.pageKeys ?? PAGE_KEYS;
    this.address = `s3://${bucket}/${this.#prefix}`;
  }

  /** In order of their keys, whatever their number. */
  async list(prefix: string): Promise<StoredObject[]> {
    return this.#call(`list ${prefix}`, async () => {
      const objects: StoredObject[] = [];
      for await (const page of paginateListObjectsV2(
        { client: this.#client, pageSize: this.#pageKeys },
        { Bucket: this.#bucket, Prefix: this.#prefix + prefix },
      )) {
        for (const { Key, LastModified } of page.Contents ?? []) {
          objects.push({ key: Key!.slice(this.#prefix.length), createdAtMs: LastModified?.getTime() ?? 0 });
        }
      }
      return objects;
    });
  }

  /** null = there is none. All ranges are of the version that the first one came from. */
  async read(key: string): Promise<Uint8Array | null> {
    return this.#call(`read ${key}`, async () => {
      const first = await this.#readRange(key, 0, null);
      if (first === null) return null;
      if (first.bytes.length >= first.totalBytes) return first.bytes;
      const whole = new Uint8Array(first.totalBytes);
      whole.set(first.bytes);
      const rest = starts(first.bytes.length, first.totalBytes, this.#partBytes);
      await eachOf(rest, async (from) => {
        const range = await this.#readRange(key, from, first.etag);
        if (range === null) throw new Error("it went away while it was read");
        whole.set(range.bytes, from);
      });
      return whole;
    });
  }

  /** "exists" = somebody wrote this key before, with whatever content. */
  async createOnce(key: string, bytes: Uint8Array): Promise<"created" | "exists"> {
    return this.#call(`write ${key}`, async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          await (bytes.length > this.#singlePutBytesMax ? this.#putInParts(key, bytes) : this.#putWhole(key, bytes));
          return "created";
        } catch (thrown) {
          const status = statusOf(thrown);
          // Also when the answer to our own first try was lost: the key names the content.
          if (status === 412) return "exists";
          // 409: another conditional write of this key is under way, which decides nothing yet.
          if (status !== 409 || attempt === CONFLICT_TRIES) throw thrown;
          await sleep(CONFLICT_PAUSE_MS * attempt);
        }
      }
    });
  }

  /** Removing what is not there succeeds. */
  async remove(key: string): Promise<void> {
    await this.#call(`remove ${key}`, () => this.#client.send(new DeleteObjectCommand(this.#at(key))));
  }

  #at(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + key };
  }

  async #readRange(
    key: string,
    from: number,
    etag: string | null,
  ): Promise<{ readonly bytes: Uint8Array; readonly totalBytes: number; readonly etag: string } | null> {
    const range = `bytes=${from}-${from + this.#partBytes - 1}`;
    try {
      const answer = await this.#client.send(
        new GetObjectCommand({ ...this.#at(key), Range: range, ...(etag === null ? {} : { IfMatch: etag }) }),
      );
      const bytes = await answer.Body!.transformToByteArray();
      const totalBytes = Number(/\/(\d+)$/.exec(answer.ContentRange ?? "")?.[1] ?? bytes.length);
      return { bytes, totalBytes, etag: answer.ETag ?? "" };
    } catch (thrown) {
      const status = statusOf(thrown);
      if (status === 404 && (thrown as Error).name !== "NoSuchBucket") return null;
      // No range of an empty object can be satisfied.
      if (status === 416 && from === 0) return { bytes: new Uint8Array(), totalBytes: 0, etag: "" };
      throw thrown;
    }
  }

  async #putWhole(key: string, bytes: Uint8Array): Promise<void> {
    await this.#client.send(new PutObjectCommand({ ...this.#at(key), Body: bytes, IfNoneMatch: "*" }));
  }

  async #putInParts(key: string, bytes: Uint8Array): Promise<void> {
    const { UploadId } = await this.#client.send(new CreateMultipartUploadCommand({ ...this.#at(key), ChecksumAlgorithm: "CRC32" }));
    const upload = { ...this.#at(key), UploadId: UploadId! };
    try {
      const from = starts(0, bytes.length, this.#partBytes);
      const parts = await eachOf(from, async (start, i) => {
        const body = bytes.subarray(start, start + this.#partBytes);
        const { ETag, ChecksumCRC32 } = await this.#client.send(
          new UploadPartCommand({ ...upload, PartNumber: i + 1, Body: body, ChecksumAlgorithm: "CRC32" }),
        );
        return { PartNumber: i + 1, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) };
      });
      await this.#client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts: parts }, IfNoneMatch: "*" }));
    } catch (thrown) {
      // Parts of an upload that nobody ends are stored and paid for; those of a killed process are the bucket's life-cycle rule's to remove.
      await this.#client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined);
      throw thrown;
    }
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const error = toError(thrown);
      throw new UnavailableError(`cannot ${what} in ${this.address}: ${error.name}: ${error.message}`, {
        code: "SNAPSHOTS_UNAVAILABLE",
        hint: "see whether the bucket exists, the network reaches it and this identity may read, write, list and delete below the prefix",
        cause: error,
      });
    }
  }
}

function starts(from: number, to: number, step: number): number[] {
  return Array.from({ length: Math.ceil((to - from) / step) }, (_, i) => from + i * step);
}

/** A few at a time; the first failure ends it when those under way have ended. Results in the order of the items. */
async function eachOf<T>(items: readonly number[], work: (item: number, i: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const i = next++;
      try {
        results[i] = await work(items[i]!, i);
      } catch (thrown) {
        failures.push(thrown);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(IN_FLIGHT_MAX, items.length) }, lane));
  if (failures.length > 0) throw toError(failures[0]);
  return results;
}

function statusOf(thrown: unknown): number | undefined {
  return thrown instanceof S3ServiceException ? thrown.$metadata.httpStatusCode : undefined;
}
