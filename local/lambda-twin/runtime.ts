/**
 * A Lambda execution environment: the process that loads the function once and runs one invocation at a time. Started by RuntimePool with the
 * module of the handler as its argument and the pipe as file descriptor 3. Its own end, or the end of the pipe, is the end of the invocation.
 */
import { Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { assert } from "#shared/kernel/assert.ts";
import { toError } from "#shared/kernel/errors.ts";
import { armFailpoint } from "#shared/kernel/failpoint.ts";
import { type Answer, type InvocationHead, readFrames, writeFrame } from "./frame.ts";

const PIPE = 3;
const MEMORY_MB = 512;

type Handler = (event: unknown, context: unknown) => unknown;

const modulePath = process.argv[2];
assert(modulePath !== undefined, "the handler's module must be the first argument");
const name = "weir-validator";
const pipe = new Socket({ fd: PIPE, readable: true, writable: true });
// The mapping is gone: what runs now would be an invocation that nobody waits for.
pipe.on("close", () => process.exit(0));
pipe.on("error", () => process.exit(0));
// The starter signals its whole family; the mapping decides when its runtimes go.
for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => undefined);

const loaded = (await import(pathToFileURL(modulePath).href)) as { readonly handler?: Handler };
const { handler } = loaded;
assert(typeof handler === "function", "the module must export a function handler");

let head: InvocationHead | undefined;
readFrames(pipe, (payload) => {
  if (head === undefined) {
    head = JSON.parse(payload.toString()) as InvocationHead;
    return;
  }
  const current = head;
  head = undefined;
  void invoke(current, payload).then((answer) => writeFrame(pipe, JSON.stringify(answer)));
});
writeFrame(pipe, JSON.stringify({ ready: true }));

async function invoke({ requestId, timeoutMs, throwAtOnce, failpoint }: InvocationHead, payload: Buffer): Promise<Answer> {
  const deadlineMs = performance.now() + timeoutMs;
  try {
    if (failpoint !== undefined) armFailpoint(failpoint);
    if (throwAtOnce === true) throw new Error("ordered to throw");
    const event: unknown = JSON.parse(payload.toString());
    await handler!(event, {
      awsRequestId: requestId,
      functionName: name,
      functionVersion: "$LATEST",
      invokedFunctionArn: `arn:aws:lambda:local:000000000000:function:${name}`,
      memoryLimitInMB: String(MEMORY_MB),
      logGroupName: `/aws/lambda/${name}`,
      logStreamName: String(process.pid),
      callbackWaitsForEmptyEventLoop: true,
      getRemainingTimeInMillis: () => Math.max(0, Math.round(deadlineMs - performance.now())),
    });
    return { ok: true };
  } catch (thrown) {
    const error = toError(thrown);
    return { ok: false, name: error.name, message: error.message };
  }
}
