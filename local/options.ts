/** The command line of `npm start`. */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { nearest } from "#shared/config/config.ts";
import { ConfigError, toError } from "#shared/kernel/errors.ts";

export const SEEDS = ["live", "none", "flights"] as const;
export type Seed = (typeof SEEDS)[number];

export interface StartOptions {
  /** Events per second of the load generator. */
  readonly rate: number;
  readonly seed: Seed;
  /** No page for a person: run, count, leave. */
  readonly headless: boolean;
  /** Undefined: until Ctrl-C. */
  readonly forMs: number | undefined;
  /** Undefined: a new one below the system's folder for temporary files. */
  readonly dataDir: string | undefined;
  /** The folder is the project's own, not one that somebody named. */
  readonly isUsualFolder: boolean;
  readonly ephemeral: boolean;
  readonly ports: "auto" | "fixed";
}

export const USAGE = `usage: npm start -- [options]

  --rate N          events per second of the load generator (default 2000)
  --seed WHAT       live: generated events (default) · none: nothing · flights: a recorded data set, in a lane of its own
  --headless        with --for or --seed flights: run, drain, print the ledger, exit 0 when it balances and 3 when not
  --for 60s         run the load that long (ms, s, m, h), then drain and leave
  --data-dir DIR    where everything is kept (default .weir/data)
  --ephemeral       keep nothing
  --ports auto      other ports where the usual ones are taken (default); fixed: refuse, naming their owner
  --help

examples:
  npm start -- --rate 5000
  npm start -- --headless --for 60s
`;

const OPTIONS = {
  rate: { type: "string" },
  seed: { type: "string" },
  headless: { type: "boolean" },
  for: { type: "string" },
  "data-dir": { type: "string" },
  ephemeral: { type: "boolean" },
  ports: { type: "string" },
  help: { type: "boolean", short: "h" },
} as const;

/** @returns undefined when help was asked for. @throws ConfigError naming every problem. */
export function parseStartOptions(args: readonly string[], root: string): StartOptions | undefined {
  const problems: string[] = [];
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1];
    if (name !== undefined && !(name in OPTIONS))
      problems.push(`--${name}: unknown option${nearest(name, Object.keys(OPTIONS)).replace("mean ", "mean --")}`);
  }
  if (problems.length > 0) throw new ConfigError(problems);
  const values = parse(args);
  if (values.help === true) return undefined;

  const seed = SEEDS.find((candidate) => candidate === (values.seed ?? "live"));
  if (seed === undefined) problems.push(`--seed: must be one of ${SEEDS.join(", ")}, got ${JSON.stringify(values.seed)}`);
  const rate = Number(values.rate ?? 2_000);
  if (!(rate > 0 && rate <= 1e7)) problems.push(`--rate: must be events per second above 0, got ${JSON.stringify(values.rate)}`);
  const forMs = values.for === undefined ? undefined : durationMs(values.for);
  if (Number.isNaN(forMs))
    problems.push(`--for: must be a number with a unit, such as 500ms, 60s, 5m or 1h, got ${JSON.stringify(values.for)}`);
  const ports = values.ports ?? "auto";
  if (ports !== "auto" && ports !== "fixed") problems.push(`--ports: must be auto or fixed, got ${JSON.stringify(ports)}`);
  if (values.ephemeral === true && values["data-dir"] !== undefined)
    problems.push("--ephemeral: keeps nothing, so that it goes not together with --data-dir");
  if (problems.length > 0 || seed === undefined) throw new ConfigError(problems);

  return {
    rate,
    seed,
    headless: values.headless === true,
    forMs,
    // A recorded run begins with an empty folder, live data stays where it is.
    dataDir:
      values.ephemeral === true
        ? undefined
        : resolve(values["data-dir"] ?? resolve(root, seed === "flights" ? ".weir/flights" : ".weir/data")),
    isUsualFolder: values["data-dir"] === undefined,
    ephemeral: values.ephemeral === true,
    ports: ports === "fixed" ? "fixed" : "auto",
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: false }).values;
  } catch (thrown) {
    throw new ConfigError([toError(thrown).message.split("\n")[0] ?? ""]);
  }
}

const UNITS_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** NaN when it is none. */
export function durationMs(text: string): number {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  return amount === undefined ? Number.NaN : Number(amount) * UNITS_MS[unit]!;
}
