/**
 * A custom resource's side of the talk with CloudFormation (CloudFormation user guide, "Custom resource request and response"). Whatever happens, an
 * answer goes out while there is time: without one a stack waits for an hour, and then again while it rolls back.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { describeError, OperatingError, toError } from "#shared/kernel/errors.ts";

/** Kept for the answer itself. */
const ANSWER_MS = 5_000;
const TRIES = 5;
const RETRY_FROM_MS = 100;
/** The whole answer may have 4,096 bytes. */
const REASON_CHARACTERS_MAX = 1_000;

const request = z.object({
  RequestType: z.enum(["Create", "Update", "Delete"]),
  ResponseURL: z.url(),
  StackId: z.string(),
  RequestId: z.string(),
  LogicalResourceId: z.string(),
  ResourceProperties: z.record(z.string(), z.unknown()),
  OldResourceProperties: z.record(z.string(), z.unknown()).optional(),
});

export interface ResourceChange {
  readonly type: "Create" | "Update" | "Delete";
  readonly properties: unknown;
  /** As it was before an update. */
  readonly before: unknown;
}

export interface CustomResource {
  /** The same for ever: CloudFormation deletes a resource whose id has changed. */
  readonly physicalId: string;
  /** Idempotent: CloudFormation repeats requests, and deletes what could not be made. The strings become attributes. */
  apply(change: ResourceChange): Promise<Readonly<Record<string, string>>>;
  /** @param text never holds the answer's address, which whoever has may write to. */
  log(level: "info" | "error", text: string): void;
}

/** @throws what kept the answer from going out, for Lambda to repeat the request. */
export async function answerCloudformation(event: unknown, remainingMs: number, resource: CustomResource): Promise<void> {
  const { RequestType, ResponseURL, ResourceProperties, OldResourceProperties, ...ids } = request.parse(event);
  const envelope = { ...ids, PhysicalResourceId: resource.physicalId };
  let answer: object;
  try {
    const change = { type: RequestType, properties: ResourceProperties, before: OldResourceProperties };
    const data = await within(remainingMs - ANSWER_MS, resource.apply(change));
    resource.log("info", `${RequestType}: ${JSON.stringify(data)}`);
    answer = { Status: "SUCCESS", ...envelope, Data: data };
  } catch (thrown) {
    const reason = describeError(thrown);
    resource.log("error", `${RequestType}: ${reason}`);
    answer = { Status: "FAILED", ...envelope, Reason: reason.slice(0, REASON_CHARACTERS_MAX) };
  }
  await send(ResponseURL, JSON.stringify(answer));
}

async function within<T>(limitMs: number, work: Promise<T>): Promise<T> {
  const ended = new AbortController();
  const limit = sleep(Math.max(0, limitMs), undefined, { signal: ended.signal }).then(() => {
    throw new OperatingError(`not done within ${Math.round(limitMs / 1_000)} s`, {
      code: "CUSTOM_RESOURCE_TIMEOUT",
      hint: "see in the function's log what it waited for, then deploy again: it goes on where it was",
    });
  });
  limit.catch(() => undefined);
  try {
    return await Promise.race([work, limit]);
  } finally {
    ended.abort();
  }
}

async function send(url: string, body: string): Promise<void> {
  let failure: unknown;
  for (let attempt = 0; attempt < TRIES; attempt++) {
    if (attempt > 0) await sleep(RETRY_FROM_MS * 2 ** attempt);
    try {
      // The address is signed without a content type.
      const response = await fetch(url, { method: "PUT", body: Buffer.from(body), headers: { "content-type": "" } });
      if (response.ok) return;
      failure = new Error(`status ${response.status}`);
    } catch (thrown) {
      failure = thrown;
    }
  }
  throw new OperatingError(`CloudFormation did not take the answer: ${toError(failure).message}`, { code: "CUSTOM_RESOURCE_ANSWER" });
}
