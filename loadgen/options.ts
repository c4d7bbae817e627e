/** The command line of the load generator. */
import { parseArgs } from "node:util";
import { ConfigError, toError } from "#shared/kernel/errors.ts";
import { DEFAULT_SHARES, type GeneratorOptions } from "./generator.ts";
import { DISTRIBUTIONS } from "./user-choice.ts";

export interface LoadOptions extends GeneratorOptions {
  readonly ratePerSecond: number;
  /** Events to send; Infinity = until stopped. */
  readonly count: number;
}

const OPTIONS = {
  rate: { type: "string", default: "2000" },
  count: { type: "string", default: "Infinity" },
  /** Default: another one each time, logged. */
  seed: { type: "string" },
  users: { type: "string", default: "10000" },
  distribution: { type: "string", default: "zipf" },
  late: { type: "string", default: String(DEFAULT_SHARES.late) },
  duplicate: { type: "string", default: String(DEFAULT_SHARES.duplicate) },
  poison: { type: "string", default: String(DEFAULT_SHARES.poison) },
  "future-clock": { type: "string", default: String(DEFAULT_SHARES.futureClock) },
} as const;

/** @throws ConfigError naming every problem. */
export function parseLoadOptions(args: readonly string[], anySeed: () => string): LoadOptions {
  const problems: string[] = [];
  const values = parse(args);
  const number = (name: Exclude<keyof typeof OPTIONS, "seed" | "distribution">, least: number, most: number): number => {
    const value = Number(values[name]);
    if (!(value >= least && value <= most))
      problems.push(`--${name}: must lie in [${least}, ${most}], got ${JSON.stringify(values[name])}`);
    return value;
  };
  const ratePerSecond = number("rate", 0.001, 1e7);
  const count = number("count", 0, Number.POSITIVE_INFINITY);
  const users = number("users", 1, 2 ** 32);
  if (!Number.isInteger(users)) problems.push(`--users: must be a whole number, got ${values.users}`);
  const shares = {
    late: number("late", 0, 1),
    duplicate: number("duplicate", 0, 1),
    poison: number("poison", 0, 1),
    futureClock: number("future-clock", 0, 1),
  };
  if (shares.late + shares.duplicate + shares.poison + shares.futureClock > 1) problems.push("the shares add up to more than 1");
  const distribution = DISTRIBUTIONS.find((candidate) => candidate === values.distribution);
  if (distribution === undefined)
    problems.push(`--distribution: must be one of ${DISTRIBUTIONS.join(", ")}, got ${JSON.stringify(values.distribution)}`);
  if (problems.length > 0 || distribution === undefined) throw new ConfigError(problems);
  return { ratePerSecond, count, seed: values.seed ?? anySeed(), users, distribution, shares };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: false }).values;
  } catch (thrown) {
    throw new ConfigError([toError(thrown).message.split("\n")[0] ?? ""]);
  }
}
