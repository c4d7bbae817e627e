/**
 * The traces that a block belongs to. A block carries events of many traces, so it continues none of them but links to them (as OpenTelemetry's
 * conventions for batches say); the links travel in one header of the block, few and in order, so that a repeated batch gives the same bytes.
 */
import { isSampled, readTraceparent } from "#shared/telemetry/trace-context.ts";
import type { InvocationRecord } from "./invocation-event.ts";

/** 56 bytes each. */
export const TRACE_LINKS_MAX = 16;
const HEADER = "traceparent";

export class TraceLinks {
  readonly #links = new Set<string>();

  begin(): void {
    this.#links.clear();
  }

  /** Costs nothing for records without headers. */
  add(headers: NonNullable<InvocationRecord["headers"]>): void {
    if (this.#links.size >= TRACE_LINKS_MAX) return;
    let value: readonly number[] | null | undefined;
    for (const header of headers) {
      const found = header[HEADER];
      if (found === undefined) continue;
      // Two of them contradict each other: the specification wants neither believed.
      if (value !== undefined) return;
      value = found;
    }
    if (value === undefined || value === null) return;
    const traceparent = readTraceparent(value);
    if (traceparent !== null && isSampled(traceparent)) this.#links.add(traceparent);
  }

  /** The value of the block's header; null = no sampled trace. */
  finish(): string | null {
    return this.#links.size === 0 ? null : [...this.#links].join(",");
  }
}
