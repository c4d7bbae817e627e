/** `weir rules publish` as a function: `{}`. From the newest release in PostgreSQL to its object, the pointer and a control record in each partition. */
import { command } from "#cli/rules.ts";
import { findStores, type OperationAnswer, type OperationContext, optionsOf, runOperation } from "../operation.ts";

export async function handler(event: unknown, context: OperationContext): Promise<OperationAnswer> {
  const options = optionsOf(event, new Set());
  await findStores();
  return runOperation(command, ["publish", ...options], context);
}
