/** One block into ClickHouse, exactly once: the same token and bytes until the server has said yes. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { UnknownOutcomeError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";

let attempts = 0;

/**
 * One attempt. After an answer that does not say whether the insert ran, it waits until that query is gone, so that the next attempt with the
 * token meets either a finished block (and is a no-op) or none; then it throws what it got.
 */
export async function insertBlock(client: Clickhouse, table: string, token: string, bytes: Uint8Array): Promise<void> {
  const queryId = `${token}#${process.pid}-${++attempts}`;
  failpoint("before-insert");
  try {
    await client.insertArrow({ table, bytes, token, queryId });
    failpoint("insert-no-answer");
  } catch (thrown) {
    if (thrown instanceof UnknownOutcomeError) await client.waitUntilGone(queryId);
    throw thrown;
  }
  failpoint("after-insert");
}
