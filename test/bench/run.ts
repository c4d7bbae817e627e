/**
 * `npm run bench -- NAME [--events N] [--users N] [--json] [--save]`, or `report` for all of them, each in a process of its own, into docs/BENCHMARKS.md.
 * Exit codes: 0 · 1 a bench failed · 2 usage · 3 a bench ran, but its result was not exact.
 */
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";
import { nearest } from "#shared/config/config.ts";
import { describeError, toError } from "#shared/kernel/errors.ts";
import { loadLine, machineLine, type Measured, PAGE, saveSection } from "./benchmarks-page.ts";
import { BENCH_NAMES, BENCHES, type BenchName, type BenchResult } from "./catalog.ts";
import { describeMachine, loadAverage } from "./machine.ts";
import { detailTables, plainTable, resultTable } from "./tables.ts";

const REPORT = "report";
/** The report's own bound per bench: each ends within two minutes on a quiet machine. */
const BENCH_LIMIT_MS = 300_000;
const EVENTS_MIN = 10_000;

class UsageError extends Error {}

interface Request {
  readonly name: BenchName | typeof REPORT;
  readonly events: number | undefined;
  readonly users: number | undefined;
  readonly json: boolean;
  readonly save: boolean;
}

function parseRequest(args: readonly string[]): Request {
  const { values, positionals } = readArgs(args);
  const name = positionals[0] ?? "";
  const known = [...BENCH_NAMES, REPORT] as const;
  const list = `there are ${known.join(", ")}`;
  const chosen = known.find((candidate) => candidate === name);
  if (chosen === undefined) throw new UsageError(name === "" ? `which bench? ${list}` : `no bench ${name}${nearest(name, known)}; ${list}`);
  if (positionals.length > 1) throw new UsageError(`one bench at a time, or ${REPORT} for all; got ${positionals.join(" ")}`);
  const events = values.events === undefined ? undefined : Number(values.events);
  if (events !== undefined) {
    if (!(Number.isSafeInteger(events) && events >= EVENTS_MIN))
      throw new UsageError(`--events: must be a whole number from ${EVENTS_MIN} on, got ${values.events}`);
    if (chosen === REPORT || !BENCHES[chosen].takesEvents) throw new UsageError(`--events: ${chosen} takes none`);
  }
  const users = values.users === undefined ? undefined : Number(values.users);
  if (users !== undefined) {
    if (!(Number.isSafeInteger(users) && users >= 1))
      throw new UsageError(`--users: must be a whole number from 1 on, got ${values.users}`);
    if (chosen === REPORT || BENCHES[chosen].takesUsers !== true) throw new UsageError(`--users: ${chosen} takes none`);
  }
  return { name: chosen, events, users, json: values.json === true, save: values.save === true };
}

function readArgs(args: readonly string[]) {
  const options = { events: { type: "string" }, users: { type: "string" }, json: { type: "boolean" }, save: { type: "boolean" } } as const;
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true });
  } catch (thrown) {
    throw new UsageError(toError(thrown).message.split(/\n|\. /)[0] ?? "");
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** @returns the exit code. */
async function runBench(name: BenchName, { events, users, json, save }: Request): Promise<number> {
  const bench = BENCHES[name];
  const machine = describeMachine();
  const loadBefore = loadAverage();
  say(`${name}: ${bench.title}`);
  say(`  ${machineLine(machine)}`);
  const result = (await bench.run({
    ...(events === undefined ? {} : { events }),
    ...(users === undefined ? {} : { users }),
  })) as BenchResult;
  const command = `npm run bench -- ${name}${events === undefined ? "" : ` --events ${events}`}${users === undefined ? "" : ` --users ${users}`}`;
  const date = new Date().toISOString().slice(0, 10);
  const measured: Measured = { name, result, machine, loadBefore, loadAfter: loadAverage(), command, date };
  say(`  ${loadLine(measured)}`);
  for (const table of [resultTable(bench, result), ...detailTables(result)]) say(`\n${plainTable(table)}`);
  say(`\n  reference: ${bench.reference ?? "none"}`);
  say(`  not measured: ${bench.notMeasured}`);
  const isExact = result["exact"] !== false;
  if (!isExact) say("  NOT EXACT: these numbers are worth nothing");
  if (save && isExact) {
    saveSection(measured);
    say(`  saved in ${PAGE}`);
  }
  if (json) say(JSON.stringify({ ...result, machine: { ...machine, load_before: loadBefore, load_after: measured.loadAfter }, date }));
  return isExact ? 0 : 3;
}

/** A process each: no bench runs on another's heap and compiled code. @returns the worst exit code. */
async function report(): Promise<number> {
  let worst = 0;
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  for (const name of BENCH_NAMES) {
    const code = await new Promise<number>((resolve, reject) => {
      const child = spawn(process.execPath, [import.meta.filename, name, "--save"], { stdio: "inherit", timeout: BENCH_LIMIT_MS });
      process.once("exit", () => child.kill());
      child.once("error", reject);
      child.once("exit", (exitCode, signal) => {
        if (signal !== null) say(`${name}: ended by ${signal}, the limit is ${BENCH_LIMIT_MS / 1_000} s`);
        resolve(exitCode ?? 1);
      });
    });
    worst = Math.max(worst, code);
    say("");
  }
  return worst;
}

try {
  const request = parseRequest(process.argv.slice(2));
  process.exitCode = request.name === REPORT ? await report() : await runBench(request.name, request);
} catch (thrown) {
  const isUsage = thrown instanceof UsageError;
  process.stderr.write(`bench: ${isUsage ? thrown.message : describeError(thrown)}\n`);
  if (!isUsage && thrown instanceof Error) process.stderr.write(`${thrown.stack ?? ""}\n`);
  process.exitCode = isUsage ? 2 : 1;
}
