/** One block into ClickHouse, exactly once: the same token and bytes until the server has said yes. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { UnknownOutcomeError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";

let attempts = 0;
/** Inserts whose end nobody has seen, as query ids by token. Each partition has at most one. */
const doubtful = new Map<string, string>();

/**
 * One attempt. After an answer that does not say whether the insert ran, the next attempt with the token first waits until that query is
 * gone, so that it meets either a finished block (and is a no-op) or none. That also holds when the server could not be asked in between.
 */
export async function insertBlock(client: Clickhouse, table: string, token: string, bytes: Uint8Array): Promise<void> {
  const before = doubtful.get(token);
  if (before !== undefined) await client.waitUntilGone(before);
  doubtful.delete(token);
  const queryId = `${token}#${process.pid}-${++attempts}`;
  failpoint("before-insert");
  try {
    await client.insertArrow({ table, bytes, token, queryId });
    loseAnswer();
  } catch (thrown) {
    if (thrown instanceof UnknownOutcomeError) doubtful.set(token, queryId);
    throw thrown;
  }
  failpoint("after-insert");
}

/** Inert unless the failpoint is armed: then the insert has happened and its answer has not come. */
function loseAnswer(): void {
  try {
    failpoint("insert-no-answer");
  } catch (thrown) {
    throw new UnknownOutcomeError("the answer to an insert was lost", { code: "CLICKHOUSE_UNCLEAR", cause: thrown });
  }
}
