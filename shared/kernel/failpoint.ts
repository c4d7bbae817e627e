/**
 * Named kill points for crash tests. Inert unless armed by `WEIR_FAILPOINT=name:action[:nth]` (see runService); `nth` counts calls, default 1.
 * `kill` ends the process as kill -9 would: no handler, no flush.
 */

export type FailpointName =
  | "before-produce"
  | "mid-produce"
  | "before-commit"
  | "commit-sent-no-answer"
  | "after-commit"
  | "mid-snapshot"
  | "after-snapshot"
  | "validator-after-produce"
  | "before-insert"
  | "insert-no-answer"
  | "after-insert"
  | "after-lua"
  | "replay-after-produce"
  | "replay-before-end"
  | "rules-committed"
  | "rules-object-written"
  | "rules-pointer-written"
  | "rules-control-appended"
  | "enrichment-committed"
  | "enrichment-object-written"
  | "enrichment-control-appended"
  | "backup-before-manifest"
  | "restore-before-positions";

interface Armed {
  readonly name: string;
  readonly action: "kill" | "throw";
  remaining: number;
}

let armed: Armed | undefined;

export function armFailpoint(spec: string): void {
  const [name = "", action = "kill", nth = "1"] = spec.split(":");
  if (action !== "kill" && action !== "throw") throw new Error(`failpoint action must be kill or throw, got ${action}`);
  armed = { name, action, remaining: Number(nth) };
}

export function failpoint(name: FailpointName): void {
  if (armed === undefined || armed.name !== name || --armed.remaining > 0) return;
  const { action } = armed;
  armed = undefined;
  if (action === "throw") throw new Error(`failpoint ${name}`);
  process.kill(process.pid, "SIGKILL");
}
