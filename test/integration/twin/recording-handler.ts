/**
 * A function for tests of the twin: appends each invocation as a line to the file that the record's first header names, and does what the first
 * record's value says: nothing, throw, hang, exit, or die at the failpoint.
 */
import { appendFileSync } from "node:fs";
import { failpoint } from "#shared/kernel/failpoint.ts";

interface Event {
  readonly records: Readonly<
    Record<string, readonly { readonly offset: number; readonly value?: string; readonly headers: readonly Record<string, number[]>[] }[]>
  >;
}

interface Context {
  readonly awsRequestId: string;
  getRemainingTimeInMillis(): number;
}

/** Only the first life of a process hangs or exits, so that a redelivery gets through. */
export async function handler(event: Event, context: Context): Promise<void> {
  const [partition, records] = Object.entries(event.records)[0]!;
  const file = Buffer.from(records[0]!.headers[0]!["log"]!).toString();
  const orders = new Set(
    Object.values(event.records)
      .flat()
      .map(({ value }) => Buffer.from(value ?? "", "base64").toString()),
  );
  appendFileSync(
    file,
    `${JSON.stringify({
      pid: process.pid,
      requestId: context.awsRequestId,
      remainingMs: context.getRemainingTimeInMillis(),
      partition,
      offsets: Object.fromEntries(Object.entries(event.records).map(([name, list]) => [name, list.map(({ offset }) => offset)])),
    })}\n`,
  );
  failpoint("validator-after-produce");
  const { first } = counted(file);
  if (orders.has("throw once") && first("throw")) throw new TypeError("no broker");
  if (orders.has("exit once") && first("exit")) process.exit(9);
  if (orders.has("hang once") && first("hang")) await new Promise(() => {});
}

function counted(file: string): { first: (what: string) => boolean } {
  return {
    first: (what) => {
      try {
        appendFileSync(`${file}.${what}`, "", { flag: "ax" });
        return true;
      } catch {
        return false;
      }
    },
  };
}
