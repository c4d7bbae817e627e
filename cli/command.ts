/** What every command has in common: options, exit codes, output that is data on stdout and everything else on stderr. */
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { nearest } from "#shared/config/config.ts";
import { ConfigError, OperatingError, toError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";

/** Documented in docs/OPERATIONS.md; scripts rely on them. */
export const EXIT = { ok: 0, bug: 1, usage: 2, checkFailed: 3, unavailable: 4, timeout: 5, interrupted: 130 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export interface Command {
  /** One line. */
  readonly summary: string;
  /** Synopsis, options, two examples. */
  readonly help: string;
  run(context: CommandContext): Promise<ExitCode>;
}

export interface CommandContext {
  readonly args: readonly string[];
  /** Data. */
  readonly out: (text: string) => void;
  /** Everything else. */
  readonly err: (text: string) => void;
  /** Whether a person sees stdout, stderr. */
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  readonly input: AsyncIterable<Uint8Array>;
  /** Ctrl-C. */
  readonly stop: AbortSignal;
}

/** What follows the name of a command, each loaded when asked for. */
export type Subcommands = Readonly<Record<string, () => Promise<(context: CommandContext) => ExitCode | Promise<ExitCode>>>>;

/** Runs the one that the first argument names. @throws UsageError */
export async function runSubcommand(command: string, subcommands: Subcommands, context: CommandContext): Promise<ExitCode> {
  const [name, ...args] = context.args;
  const load = name !== undefined && Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (load === undefined) {
    const names = Object.keys(subcommands);
    const problem = name === undefined ? "one of its commands must be named" : `${name}: no such command${nearest(name, names)}`;
    throw new UsageError(`${command}: ${problem}`, `weir ${command} ${names.join("|")}`);
  }
  const run = await load();
  return run({ ...context, args });
}

/** The command line is wrong. */
export class UsageError extends OperatingError {
  constructor(message: string, hint?: string) {
    super(message, { code: "USAGE", hint });
  }
}

/** A wait had its bound and reached it. */
export class TimeoutError extends OperatingError {}

export function exitCodeOf(error: Error): ExitCode {
  if (error.name === "AbortError") return EXIT.interrupted;
  if (error instanceof UsageError || error instanceof ConfigError) return EXIT.usage;
  if (error instanceof TimeoutError) return EXIT.timeout;
  if (error instanceof UnavailableError || error instanceof TransientError) return EXIT.unavailable;
  return error instanceof OperatingError ? EXIT.checkFailed : EXIT.bug;
}

/** Options that every command takes. */
const COMMON = { json: { type: "boolean" }, "data-dir": { type: "string" }, lane: { type: "string" } } as const;

/** @throws UsageError naming the option and the nearest that exists. */
export function parseOptions<T extends ParseArgsOptionsConfig>(args: readonly string[], options: T) {
  const all = { ...COMMON, ...options };
  for (const argument of args) {
    if (argument === "--") break;
    const name = /^--([^=]+)/.exec(argument)?.[1];
    if (name === undefined || name in all) continue;
    const guess = nearest(name, Object.keys(all)).replace("mean ", "mean --");
    throw new UsageError(`--${name}: unknown option${guess}`, "weir COMMAND --help");
  }
  try {
    return parseArgs({ args: [...args], options: all, allowPositionals: true, strict: true });
  } catch (thrown) {
    throw new UsageError(toError(thrown).message.split("\n")[0] ?? "", "weir COMMAND --help");
  }
}

/** `what` is the option's name. @throws UsageError */
export function numberOption(
  what: string,
  text: string | undefined,
  range: { readonly from: number; readonly to: number; readonly whole?: boolean },
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  const fits = text.trim() !== "" && value >= range.from && value <= range.to && (range.whole !== true || Number.isInteger(value));
  if (!fits)
    throw new UsageError(
      `--${what}: must be ${range.whole === true ? "a whole number" : "a number"} from ${range.from} to ${range.to}, got ${JSON.stringify(text)}`,
    );
  return value;
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** `30s`, `5m`. @throws UsageError */
export function durationOption(what: string, text: string | undefined, byDefaultMs: number): number {
  if (text === undefined) return byDefaultMs;
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  if (amount === undefined)
    throw new UsageError(`--${what}: must be a number with a unit, such as 500ms, 30s or 5m, got ${JSON.stringify(text)}`);
  return Number(amount) * UNITS_MS[unit]!;
}

/** Text of unknown origin on a terminal: nothing in it may steer the terminal or turn the line around. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** Columns as wide as their widest cell; numbers to the right. */
export function table(rows: readonly (readonly (string | number)[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => String(row[column] ?? "").length))) ?? [];
  const line = (row: readonly (string | number)[]): string =>
    row
      .map((cell, i) => (typeof cell === "number" ? String(cell).padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  return rows.map((row) => `${line(row)}\n`).join("");
}
