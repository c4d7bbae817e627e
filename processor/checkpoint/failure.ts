/** What an error does to a task: the class is the recovery action. Pure. */
import { FencedError, OperatingError, TransientError, UnavailableError, UnknownOutcomeError } from "#shared/kernel/errors.ts";
import type { TaskEvent } from "./state.ts";

/** An error that time alone does not cure (corrupt block, full table, missing topic) is tried again this often: the bytes may have been damaged on the way. */
const TRIES_MAX = 5;
const BACK_OFF_MS_MIN = 100;
const BACK_OFF_MS_MAX = 5_000;

export interface FailureFacts {
  /** Failures since the last commit or the start, this one included. */
  readonly failures: number;
  /** Whether this task ever came to run. Before that, a missing broker is the caller's to report. */
  readonly hasRun: boolean;
}

export function failureEvent(error: Error, facts: FailureFacts): Extract<TaskEvent, "lost" | "fenced-out" | "broke"> {
  if (error instanceof FencedError) return "fenced-out";
  if (error instanceof UnavailableError) return facts.hasRun ? "lost" : "broke";
  if (error instanceof TransientError || error instanceof UnknownOutcomeError) return "lost";
  if (error instanceof OperatingError) return facts.failures < TRIES_MAX ? "lost" : "broke";
  return "broke";
}

export function backOffMs(failures: number): number {
  return Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN * 2 ** Math.min(failures - 1, 16));
}
