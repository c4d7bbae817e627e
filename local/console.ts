/** What the starter says: one line per part, then the banner. To stderr, so that stdout carries only what a script may want: the ledger. */
import { describeError, UnavailableError } from "#shared/kernel/errors.ts";

export function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

export function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

/** Runs one step of the start and says how it went. */
export async function step<T>(name: string, run: () => Promise<T>, describe: (result: T) => string = () => ""): Promise<T> {
  const startedAt = performance.now();
  const result = await run();
  say(`  ✓ ${name.padEnd(12)}${describe(result).padEnd(44)}${seconds(performance.now() - startedAt).padStart(7)}`);
  return result;
}

/** Rejects when the work takes longer; the work itself cannot be called off and is left to itself. @throws UnavailableError */
export async function within<T>(limitMs: number, name: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const error = new UnavailableError(`${name} took longer than ${seconds(limitMs)}`, {
      code: "LOCAL_START_FAILED",
      hint: "see the logs in the data folder",
    });
    timer = setTimeout(() => reject(error), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function sayFailure(thrown: unknown): void {
  const [first = "", ...rest] = describeError(thrown).split("\n");
  say([`  ✗ ${first}`, ...rest.map((line) => `  ${line}`)].join("\n"));
}
