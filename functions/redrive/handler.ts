/**
 * `weir dlq replay` as a function: `{"by": "alice", "reason": ["schema.type"], "since": "24h", "dry-run": true}`. What does not fit into one invocation
 * ends with exit code 130, and the same event goes on with it: each dead letter is sent once.
 */
import { command } from "#cli/dlq.ts";
import { UsageError } from "#cli/command.ts";
import { findStores, type OperationAnswer, type OperationContext, optionsOf, runOperation } from "../operation.ts";

/** Those that choose, change and steer; not those that name other servers or folders. */
const OPTIONS: ReadonlySet<string> = new Set(
  "reason since until user rename delete set key-from target limit again even-rejected dry-run rate by resume abandon".split(" "),
);

export async function handler(event: unknown, context: OperationContext): Promise<OperationAnswer> {
  const options = optionsOf(event, OPTIONS);
  // The function's own name would say nothing to whoever looks back.
  if (!options.some((option) => /^--by=./.test(option))) throw new UsageError("by: say who replays, for the audit log");
  await findStores();
  return runOperation(command, ["replay", ...options], context);
}
