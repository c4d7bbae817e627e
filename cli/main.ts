/** `weir COMMAND`: looks the command up, runs it, turns what it throws into a message and an exit code. */
import { assert } from "#shared/kernel/assert.ts";
import { nearest, processFlags } from "#shared/config/config.ts";
import { describeError, OperatingError, toError } from "#shared/kernel/errors.ts";
import { armFailpoint } from "#shared/kernel/failpoint.ts";
import { type Command, type CommandContext, EXIT, type ExitCode, exitCodeOf, UsageError } from "./command.ts";

/** Loaded when asked for: `weir --help` must not wait for the ClickHouse client. */
const COMMANDS: Readonly<Record<string, () => Promise<{ readonly command: Command }>>> = {
  send: () => import("./send.ts"),
  seed: () => import("./seed.ts"),
  tail: () => import("./tail.ts"),
  get: () => import("./get.ts"),
  verify: () => import("./verify.ts"),
  inspect: () => import("./inspect.ts"),
  doctor: () => import("./doctor.ts"),
  migrate: () => import("./migrate.ts"),
  status: () => import("./status.ts"),
  check: () => import("./check.ts"),
  schema: () => import("./schema.ts"),
  dlq: () => import("./dlq.ts"),
  topics: () => import("./topics.ts"),
  rules: () => import("./rules.ts"),
  enrichment: () => import("./enrichment.ts"),
  lag: () => import("./lag.ts"),
  checkpoint: () => import("./checkpoint.ts"),
  state: () => import("./state.ts"),
  backup: () => import("./backup.ts"),
  quality: () => import("./quality.ts"),
  cost: () => import("./cost.ts"),
  plan: () => import("./plan.ts"),
};

async function overview(): Promise<string> {
  const lines = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(10)} ${(await load()).command.summary}`),
  );
  return [
    "usage: weir COMMAND [options]",
    "",
    ...lines,
    "",
    "Every command takes --help, --json, --data-dir DIR (of a running pipeline) and --lane NAME.",
    "Exit codes: 0 fine, 1 bug, 2 usage, 3 a check failed, 4 a dependency is unavailable, 5 time-out, 130 interrupted.",
    "",
  ].join("\n");
}

export async function run(args: readonly string[], context: Omit<CommandContext, "args">): Promise<ExitCode> {
  const [name, ...rest] = args;
  try {
    if (name === undefined || name === "--help" || name === "-h" || name === "help") {
      context.out(await overview());
      return name === undefined ? EXIT.usage : EXIT.ok;
    }
    const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (load === undefined) throw new UsageError(`${name}: unknown command${nearest(name, Object.keys(COMMANDS))}`, "weir --help");
    const { command } = await load();
    if (rest.includes("--help") || rest.includes("-h")) {
      context.out(command.help);
      return EXIT.ok;
    }
    return await command.run({ ...context, args: rest });
  } catch (thrown) {
    const error = toError(thrown);
    if (context.stop.aborted) return EXIT.interrupted;
    const code = exitCodeOf(error);
    context.err(`weir: ${code === EXIT.bug ? (error.stack ?? error.message) : describeError(error)}\n`);
    if (error instanceof OperatingError) context.err(`  code: ${error.code}\n`);
    return code;
  }
}

/** As a process. */
export async function runProcess(): Promise<void> {
  const stopping = new AbortController();
  if (processFlags.failpoint !== undefined) armFailpoint(processFlags.failpoint);
  process.once("SIGINT", () => {
    stopping.abort();
    // A second Ctrl-C must not wait for anything.
    process.once("SIGINT", () => process.exit(EXIT.interrupted));
  });
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // `weir tail | head`: the reader has enough.
    assert(error.code === "EPIPE", error.message);
    process.exit(EXIT.ok);
  });
  process.exitCode = await run(process.argv.slice(2), {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    outIsTerminal: process.stdout.isTTY,
    errIsTerminal: process.stderr.isTTY,
    input: process.stdin,
    stop: stopping.signal,
  });
}

if (import.meta.main) await runProcess();
