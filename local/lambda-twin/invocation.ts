/** What passes from the mapping to a runtime beside the event, and what tests may order to go wrong. */

/** What tests order; each order is carried out once, by the next invocation it fits. */
export type Fault =
  /** After its success the batch is delivered a second time. */
  | { readonly kind: "redeliver" }
  /** A batch [a, b) is followed by [a - records, b + records), as far as there are records. */
  | { readonly kind: "overlap"; readonly records: number }
  /** The batch is delivered twice at the same time, to two runtimes. */
  | { readonly kind: "concurrent" }
  /** The function throws before it does anything. */
  | { readonly kind: "throw" }
  /** A failpoint of the function, e.g. `validator-after-produce:kill`. */
  | { readonly kind: "failpoint"; readonly spec: string };

/** For the runtime, beside the event. */
export interface InvocationOrder {
  readonly throwAtOnce?: boolean;
  readonly failpoint?: string;
}

/** Resolves when the function returned; rejects when it threw, ran out of time or died. */
export type Invoke = (event: string, order: InvocationOrder) => Promise<void>;
