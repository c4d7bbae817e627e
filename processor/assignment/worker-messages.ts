/** What main thread and workers say to each other. Errors cross as facts: a structured clone of one is no longer of its class. */
import type { TaskEnd } from "#shared/assignment/partition-owner.ts";
import { FencedError, OperatingError, toError, UnavailableError } from "#shared/kernel/errors.ts";

export type ToWorker =
  | { readonly kind: "start"; readonly partition: number }
  | { readonly kind: "stop"; readonly partition: number }
  | { readonly kind: "confirmed"; readonly question: number; readonly isOurs: boolean; readonly error: ErrorFacts | null }
  | { readonly kind: "close" };

export type FromWorker =
  | { readonly kind: "running"; readonly partition: number }
  | { readonly kind: "ended"; readonly partition: number; readonly end: EndFacts }
  | { readonly kind: "confirm"; readonly question: number; readonly partition: number };

export interface ErrorFacts {
  readonly kind: "fenced" | "unavailable" | "operating" | "bug";
  readonly message: string;
  readonly code: string;
  readonly hint: string | undefined;
  readonly stack: string | undefined;
}

type EndFacts = Extract<TaskEnd, { kind: "stopped" | "refused" }> | { readonly kind: "fenced" | "failed"; readonly facts: ErrorFacts };

export function endFacts(end: TaskEnd): EndFacts {
  return end.kind === "fenced" || end.kind === "failed" ? { kind: end.kind, facts: errorFacts(end.error) } : end;
}

export function taskEnd(end: EndFacts): TaskEnd {
  return "facts" in end ? { kind: end.kind, error: errorOf(end.facts) } : end;
}

export function errorFacts(thrown: unknown): ErrorFacts {
  const error = toError(thrown);
  const { message, stack } = error;
  if (!(error instanceof OperatingError)) return { kind: "bug", message, code: "", hint: undefined, stack };
  const kind = error instanceof FencedError ? "fenced" : error instanceof UnavailableError ? "unavailable" : "operating";
  return { kind, message, code: error.code, hint: error.hint, stack };
}

export function errorOf({ kind, message, code, hint, stack }: ErrorFacts): Error {
  const options = { code, hint };
  const error =
    kind === "bug"
      ? new Error(message)
      : kind === "fenced"
        ? new FencedError(message, options)
        : kind === "unavailable"
          ? new UnavailableError(message, options)
          : new OperatingError(message, options);
  if (stack !== undefined) error.stack = stack;
  return error;
}
