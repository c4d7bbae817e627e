/** `weir migrate` as a function: `{}` or `{"dry-run": true}`. ClickHouse replica by replica, since each keeps its own record of what it has. */
import { command } from "#cli/migrate.ts";
import { adoptConfig, operationEnvironment } from "#shared/config/operation-environment.ts";
import { findStores, type OperationAnswer, type OperationContext, optionsOf, runOperation } from "../operation.ts";

const OPTIONS: ReadonlySet<string> = new Set(["dry-run", "replicated"]);

export async function handler(event: unknown, context: OperationContext): Promise<OperationAnswer[]> {
  const options = optionsOf(event, OPTIONS);
  await findStores();
  const answers = [await runOperation(command, ["postgres", ...options.filter((option) => option !== "--replicated")], context)];
  const { clickhouseReplicas } = operationEnvironment();
  for (const clickhouse of clickhouseReplicas.length === 0 ? [undefined] : clickhouseReplicas) {
    if (clickhouse !== undefined) adoptConfig({ clickhouse });
    // In the cloud there always are Keepers.
    const replicated = clickhouse !== undefined && !options.includes("--replicated") ? ["--replicated"] : [];
    answers.push(await runOperation(command, ["clickhouse", ...options, ...replicated], context));
  }
  return answers;
}
