/**
 * The life of one partition's task (docs/specs/commit-protocol.md). Pure: what happened goes in, where the task stands comes out.
 *
 *             producer-ready      resolved-replay        restored
 *   fencing ---------------> reading ---------> restoring -------> replaying
 *      ^                     | ^  |  ^ snapshot-bad |                |  |
 *      | backed-off          | |  |  +--------------+   hash-differs |  | replayed
 *      |                     | +--|----------------------------------+  |
 *   backing-off <-- lost -- (any of these)   resolved-fresh             v    epoch-sent
 *                            |    +-----------------------------> running <---------> committing
 *          resolved-refuse   |                                          |   committed   |
 *                            v                                     stop |               | stop
 *                         refused      fenced    failed                 +--> draining <-+
 *                                    (from any)  (from any)                     | handed-over
 *                                                                               v
 *                                                                            stopped
 */
import { assert } from "#shared/kernel/assert.ts";

export const TASK_STATES = [
  "fencing",
  "reading",
  "restoring",
  "replaying",
  "running",
  "committing",
  "draining",
  "backing-off",
  "stopped",
  "refused",
  "fenced",
  "failed",
] as const;

export type TaskState = (typeof TASK_STATES)[number];

export const TASK_EVENTS = [
  /** InitProducerId answered: every older owner is fenced, its open transaction aborted. */
  "producer-ready",
  "resolved-fresh",
  "resolved-replay",
  "resolved-refuse",
  "restored",
  /** The chosen snapshot is gone, damaged or of a form this code cannot read. */
  "snapshot-bad",
  /** Replay reached the committed offset and the committed progress. */
  "replayed",
  /** Replay reached the committed offset and another progress. */
  "hash-differs",
  "epoch-sent",
  "committed",
  /** The process is to leave. */
  "stop",
  /** Everything applied is committed and a snapshot lies at the committed offset. */
  "handed-over",
  /** A call failed or its outcome is unknown: only recovery may decide. */
  "lost",
  "backed-off",
  /** A newer owner exists. */
  "fenced-out",
  /** A bug, or an error that recovery did not cure. */
  "broke",
] as const;

export type TaskEvent = (typeof TASK_EVENTS)[number];

/** `impossible` = reaching it is a bug of the runtime: InvariantError. */
export type Outcome = TaskState | "impossible";

const IMPOSSIBLE: Record<TaskEvent, Outcome> = {
  "producer-ready": "impossible",
  "resolved-fresh": "impossible",
  "resolved-replay": "impossible",
  "resolved-refuse": "impossible",
  restored: "impossible",
  "snapshot-bad": "impossible",
  replayed: "impossible",
  "hash-differs": "impossible",
  "epoch-sent": "impossible",
  committed: "impossible",
  stop: "impossible",
  "handed-over": "impossible",
  lost: "impossible",
  "backed-off": "impossible",
  "fenced-out": "impossible",
  broke: "impossible",
};

/** What may happen at any time to a task that lives. */
const ALIVE = { ...IMPOSSIBLE, lost: "backing-off", "fenced-out": "fenced", broke: "failed" } as const satisfies Record<TaskEvent, Outcome>;

/** No `Partial`: a state or an event without a row does not compile. */
export const TRANSITIONS: Record<TaskState, Record<TaskEvent, Outcome>> = {
  fencing: { ...ALIVE, stop: "stopped", "producer-ready": "reading" },
  reading: { ...ALIVE, stop: "stopped", "resolved-fresh": "running", "resolved-replay": "restoring", "resolved-refuse": "refused" },
  restoring: { ...ALIVE, stop: "stopped", restored: "replaying", "snapshot-bad": "reading" },
  replaying: { ...ALIVE, stop: "stopped", replayed: "running", "hash-differs": "reading" },
  running: { ...ALIVE, stop: "draining", "epoch-sent": "committing" },
  committing: { ...ALIVE, stop: "draining", committed: "running" },
  draining: { ...ALIVE, stop: "draining", "epoch-sent": "draining", committed: "draining", "handed-over": "stopped" },
  "backing-off": { ...IMPOSSIBLE, stop: "stopped", "backed-off": "fencing" },
  stopped: { ...IMPOSSIBLE, stop: "stopped" },
  refused: { ...IMPOSSIBLE, stop: "refused" },
  fenced: { ...IMPOSSIBLE, stop: "fenced" },
  failed: { ...IMPOSSIBLE, stop: "failed" },
};

export function nextState(state: TaskState, event: TaskEvent): TaskState {
  const outcome = TRANSITIONS[state][event];
  assert(outcome !== "impossible", `task ${state}: ${event} cannot happen`);
  return outcome;
}
