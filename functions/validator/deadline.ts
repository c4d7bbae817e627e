/**
 * The end of an invocation before Lambda's: a function that Lambda cuts off loses its process, its warm connection and the reason; one that ends
 * by itself keeps the first and can name the last.
 */
import { OperatingError } from "#shared/kernel/errors.ts";

/** The part of Lambda's context that is used here (docs.aws.amazon.com/lambda/latest/dg/nodejs-context.html). */
export interface InvocationContext {
  readonly awsRequestId?: string;
  getRemainingTimeInMillis?(): number;
}

/** For the error, the log line and the answer. */
const MARGIN_MS = 500;
const MARGIN_SHARE = 0.1;

export class Deadline {
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #over = Promise.withResolvers<never>();

  /** Without a context there is none. */
  constructor(context: InvocationContext | undefined, brokers: string, onOver: (error: OperatingError) => void) {
    this.#over.promise.catch(() => undefined);
    const remainingMs = context?.getRemainingTimeInMillis?.();
    if (remainingMs === undefined) return;
    const limitMs = Math.max(0, Math.floor(remainingMs - Math.min(MARGIN_MS, remainingMs * MARGIN_SHARE)));
    this.#timer = setTimeout(() => {
      const error = new OperatingError(`no acknowledgement from Kafka at ${brokers} within ${limitMs} ms, the end of the invocation`, {
        code: "VALIDATOR_TIMEOUT",
        hint: "see whether the partition has a leader and enough replicas in sync; against slowness more memory or a smaller batch helps",
      });
      onOver(error);
      this.#over.reject(new OperatingError(`no rules within ${limitMs} ms, the end of the invocation`, { code: "VALIDATOR_TIMEOUT" }));
    }, limitMs);
  }

  /** What else an invocation waits for. */
  within<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#over.promise]);
  }

  clear(): void {
    clearTimeout(this.#timer);
  }
}
