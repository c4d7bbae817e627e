/**
 * A command of `weir` as a Lambda function: the event's members are its options, the answer is what it would print with --json. For whoever may invoke
 * the function, instead of a shell inside the network. The same code runs at a desk; nothing is decided here.
 */
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { Logger } from "@aws-lambda-powertools/logger";
import { type Command, EXIT, UsageError } from "#cli/command.ts";
import { readLogin } from "#shared/clients/aws/secret.ts";
import { adoptConfig, operationEnvironment } from "#shared/config/operation-environment.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

/** Before Lambda's own limit: a command that is told to stop ends in order and can be repeated. */
const STOP_EARLY_MS = 30_000;
/** An answer of Lambda may have 6 MB; a person reads less. */
const MESSAGES_CHARACTERS_MAX = 20_000;

export interface OperationContext {
  getRemainingTimeInMillis(): number;
}

export interface OperationAnswer {
  readonly exitCode: number;
  /** Of `--json`. */
  readonly result: unknown;
  readonly messages: string;
}

export const logger = new Logger({ serviceName: "weir-operation" });

/** `{ "reason": ["schema.type"], "dry-run": true, "limit": 10 }` -> `--reason=schema.type --dry-run --limit=10`. @throws UsageError */
export function optionsOf(event: unknown, known: ReadonlySet<string>): string[] {
  if (typeof event !== "object" || event === null || Array.isArray(event)) throw new UsageError("the event must be an object of options");
  return Object.entries(event).flatMap(([name, value]) => {
    if (!known.has(name)) throw new UsageError(`${name}: not an option here, which are ${[...known].join(", ")}`);
    const values: unknown[] = Array.isArray(value) ? value : [value];
    return values.flatMap((each) => {
      if (typeof each === "boolean") return each ? [`--${name}`] : [];
      if (typeof each === "string" || typeof each === "number") return [`--${name}=${each}`];
      throw new UsageError(`${name}: must be text, a number, true or false, or a list of them`);
    });
  });
}

let isTrusted = false;

/** Reads logins again at each invocation: they are rotated. */
export async function findStores(): Promise<void> {
  const { postgresAddress, postgresSecret, clickhouseSecret, clickhouseCa } = operationEnvironment();
  if (clickhouseCa !== undefined && !isTrusted) setDefaultCACertificates([...getCACertificates("default"), clickhouseCa]);
  isTrusted = true;
  if (postgresAddress !== undefined && postgresSecret !== undefined) {
    const { username, password } = await readLogin(postgresSecret);
    adoptConfig({ postgres: `postgres://${encodeURIComponent(username)}:${encodeURIComponent(password)}@${postgresAddress}` });
  }
  if (clickhouseSecret !== undefined) {
    const { username, password } = await readLogin(clickhouseSecret);
    adoptConfig({ clickhouseUser: username, clickhousePassword: password });
  }
}

/** @throws what the command throws, and OperatingError OPERATION_FAILED when it ends with a code of failure. */
export async function runOperation(command: Command, args: readonly string[], context: OperationContext): Promise<OperationAnswer> {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), Math.max(0, context.getRemainingTimeInMillis() - STOP_EARLY_MS));
  let output = "";
  let messages = "";
  try {
    const exitCode = await command.run({
      args: [...args, "--json"],
      out: (text) => void (output += text),
      err: (text) => void (messages = (messages + text).slice(-MESSAGES_CHARACTERS_MAX)),
      outIsTerminal: false,
      errIsTerminal: false,
      input: nothing(),
      stop: stop.signal,
    });
    const answer: OperationAnswer = { exitCode, result: output.trim() === "" ? null : JSON.parse(output), messages };
    logger.info("operation ended", { arguments: [...args], ...answer });
    if (exitCode === EXIT.ok || exitCode === EXIT.interrupted) return answer;
    throw new OperatingError(`the command ended with exit code ${exitCode}: ${output}${messages}`, { code: "OPERATION_FAILED" });
  } finally {
    clearTimeout(timer);
  }
}

async function* nothing(): AsyncGenerator<Uint8Array> {}
