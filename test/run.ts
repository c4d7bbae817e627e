/**
 * `npm test`: the checks that need no server, then the tests phase by phase, cheapest first. Closes with `N passed, N failed, N skipped`
 * (a check counts as one test) and exits 1 if anything failed. `npm test -- unit property` runs only the phases that hold these projects.
 */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "..");

const CHECKS: readonly (readonly [name: string, script: string])[] = [
  ["format", "format:check"],
  ["lint", "lint"],
  ["types", "types"],
  ["dead code", "dead-code"],
];

const PHASES: readonly (readonly string[])[] = [["static", "unit", "property"], ["infra"], ["simulation"], ["integration"], ["e2e"]];

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

function run(command: string, args: readonly string[], quiet: boolean): Promise<{ code: number; output: string }> {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: quiet ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"] });
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.once("error", fail);
    child.once("close", (code) => done({ code: code ?? 1, output }));
  });
}

async function check(name: string, script: string, tally: Tally): Promise<void> {
  const started = performance.now();
  const { code, output } = await run("npm", ["run", "-s", script], true);
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${code === 0 ? "ok  " : "FAIL"} ${name} ${seconds}s`);
  if (code === 0) tally.passed += 1;
  else {
    tally.failed += 1;
    console.log(output);
  }
}

/**
 * Vitest takes one file at a time on two cores. Two halves at once use both, and each has servers of its own; end-to-end tests start the whole
 * pipeline and have the machine for themselves.
 */
const SHARDS = 2;

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numTodoTests: number;
}

async function phase(projects: readonly string[], tally: Tally): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "weir-test-"));
  const shards = projects.includes("e2e") ? 1 : SHARDS;
  const selected = projects.flatMap((project) => ["--project", project]);
  try {
    const runs = Array.from({ length: shards }, async (_, i) => {
      const report = join(folder, `report-${i}.json`);
      const args = [
        join(ROOT, "node_modules/vitest/vitest.mjs"),
        "run",
        ...selected,
        ...(shards === 1 ? [] : [`--shard=${i + 1}/${shards}`]),
        "--reporter=default",
        "--reporter=json",
        `--outputFile.json=${report}`,
      ];
      // The first one speaks; what the others say comes behind it, so that lines do not mix.
      const { code, output } = await run(process.execPath, args, i > 0);
      return { code, output, result: JSON.parse(await readFile(report, "utf8")) as Report };
    });
    for (const { code, output, result } of await Promise.all(runs)) {
      process.stdout.write(output);
      tally.passed += result.numPassedTests;
      tally.skipped += result.numPendingTests + result.numTodoTests;
      // A file that fails to load, or an unhandled rejection, has no test to carry the failure.
      tally.failed += code !== 0 && result.numFailedTests === 0 ? 1 : result.numFailedTests;
      if (result.numPassedTests + result.numFailedTests === 0) throw new Error(`no test ran in ${projects.join(", ")}`);
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((project) => !PHASES.flat().includes(project));
if (unknown.length > 0) {
  console.error(`unknown test project ${unknown.join(", ")}; there are ${PHASES.flat().join(", ")}`);
  process.exit(2);
}
const started = performance.now();
const tally: Tally = { passed: 0, failed: 0, skipped: 0 };
if (wanted.length === 0) for (const [name, script] of CHECKS) await check(name, script, tally);
for (const projects of PHASES) {
  const selected = wanted.length === 0 ? projects : projects.filter((project) => wanted.includes(project));
  if (selected.length > 0) await phase(selected, tally);
}
console.log(`\n${((performance.now() - started) / 1_000).toFixed(0)} s in all`);
console.log(`${tally.passed} passed, ${tally.failed} failed, ${tally.skipped} skipped`);
process.exit(tally.failed === 0 ? 0 : 1);
