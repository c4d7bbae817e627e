/**
 * The operating errors. The class is the recovery action, the fields are the facts; anything else that is thrown is a bug and ends the process.
 * Messages: lower case, no full stop; `hint` is the one command that fixes it.
 */

interface OperatingErrorOptions {
  readonly code: string;
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/** Root of the errors whose cause lies outside the code. `code` is stable and documented in docs/OPERATIONS.md. */
export class OperatingError extends Error {
  readonly code: string;
  readonly hint: string | undefined;

  constructor(message: string, options: OperatingErrorOptions) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.hint = options.hint;
  }
}

/** Try again after a pause; nothing was decided. The adapter retries a bounded number of times, then rethrows. */
export class TransientError extends OperatingError {}

/** A newer owner exists. Stop the task at once, commit nothing. */
export class FencedError extends OperatingError {}

/** Whether the call took effect is unknown. Only recovery (InitProducerId, OffsetFetch, replay) may decide. */
export class UnknownOutcomeError extends OperatingError {}

/** Stored bytes do not have the checksum or the form that they promise. Never guess; use an older copy or refuse. */
export class CorruptStateError extends OperatingError {}

/** A fixed limit of state or memory is reached. Stop; a human raises the limit or finds the cause. */
export class CapacityError extends OperatingError {}

/** A dependency (server, port, program) is not there. `hint` names the command that brings it. */
export class UnavailableError extends OperatingError {}

/** Every problem of a configuration at once. */
export class ConfigError extends OperatingError {
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`configuration has ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${problems.map((p) => `  ${p}`).join("\n")}`, {
      code: "CONFIG_INVALID",
    });
    this.problems = problems;
  }
}

/** Narrows what `catch` gives. */
export function toError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

/** One line for a person: message, then the fix. */
export function describeError(thrown: unknown): string {
  const error = toError(thrown);
  if (error instanceof OperatingError) return error.hint === undefined ? error.message : `${error.message}\n  fix: ${error.hint}`;
  return error.message;
}
