/**
 * `npm run fuzz`: bounded fuzzing, guided by coverage, of everything that reads bytes from outside. `npm run fuzz -- [--seconds 60] [--seed N]
 * [--runs N] [--target NAME] [--hex BYTES]`. Exits 3 on a finding, with the smallest input and the command that runs it again.
 *
 * Without coverage guidance a seed gives the same inputs again; what coverage counts depends on what the engine has optimised, so a finding is
 * replayed by its bytes.
 */
import { parseArgs } from "node:util";
import { Random } from "../simulation/world.ts";
import { Coverage } from "./coverage.ts";
import { type Finding, fuzz } from "./engine.ts";
import { isFuzzedModule, TARGETS, targetNames, WEIGHTS } from "./targets.ts";

const USAGE = `usage: npm run fuzz -- [--seconds 60] [--seed N] [--runs N] [--target ${targetNames().join("|")}] [--hex BYTES]`;

function read(): { seconds: number; seed: number; runs: number; targets: string[]; hex: string | undefined } {
  const { values } = parseArgs({
    options: {
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
      runs: { type: "string" },
      target: { type: "string", multiple: true, default: targetNames() },
      hex: { type: "string" },
    },
  });
  const [seconds, seed, runs] = [Number(values.seconds), Number(values.seed), Number(values.runs ?? Infinity)];
  if (!(seconds > 0 && seconds <= 86_400)) throw new Error("--seconds must be between 0 and 86400");
  if (!Number.isSafeInteger(seed)) throw new Error("--seed must be a whole number");
  if (!(runs > 0)) throw new Error("--runs must be above 0");
  const unknown = values.target.find((name) => !Object.hasOwn(TARGETS, name));
  if (unknown !== undefined) throw new Error(`there is no target ${unknown}`);
  if (values.hex !== undefined && !/^(?:[0-9a-f]{2})*$/i.test(values.hex)) throw new Error("--hex must be pairs of hexadecimal digits");
  if (values.hex !== undefined && values.target.length !== 1) throw new Error("--hex needs one --target");
  return { seconds, seed, runs, targets: values.target, hex: values.hex };
}

function report({ target, problem, smallest }: Finding, seed: number): void {
  const hex = Buffer.from(smallest).toString("hex");
  console.log(`\nFOUND in ${target}, seed ${seed}: ${problem}`);
  console.log(`smallest input, ${smallest.length} bytes: ${JSON.stringify(Buffer.from(smallest).toString("latin1"))}`);
  console.log(`hex: ${hex}`);
  console.log(`again: npm run fuzz -- --target ${target} --hex=${hex}`);
}

async function main(): Promise<number> {
  const options = read();
  const { seed, targets, hex } = options;
  if (hex !== undefined) {
    const [name] = targets;
    const bytes = Buffer.from(hex, "hex");
    const { finding } = await fuzz({ ...TARGETS[name!]!(), seeds: () => [bytes] }, { random: new Random(seed), runs: 1 });
    if (finding === null) console.log("nothing is wrong with it");
    else report(finding, seed);
    return finding === null ? 0 : 3;
  }
  console.log(`fuzz: ${targets.join(", ")}; seed ${seed}; ${options.seconds} s`);
  const weight = targets.reduce((sum, name) => sum + WEIGHTS[name]!, 0);
  for (const name of targets) {
    const startedAtMs = performance.now();
    const limitMs = (1_000 * options.seconds * WEIGHTS[name]!) / weight;
    const hasPassed = (share: number): boolean => performance.now() - startedAtMs > share * limitMs;
    const coverage = new Coverage(isFuzzedModule);
    const runs = Math.ceil((options.runs * WEIGHTS[name]!) / weight);
    const limits = { runs, isOver: () => hasPassed(1), isGuided: () => !hasPassed(0.5) };
    const result = await fuzz(TARGETS[name]!(), { random: new Random(seed), coverage, ...limits });
    if (coverage.isOpen) coverage.close();
    console.log(`${name}: ${result.runs} inputs, ${result.corpus} kept, ${coverage.reached} branches`);
    if (result.finding === null) continue;
    report(result.finding, seed);
    return 3;
  }
  console.log("nothing found");
  return 0;
}

try {
  process.exitCode = await main();
} catch (thrown) {
  console.log(`${(thrown as Error).message}\n${USAGE}`);
  process.exitCode = 2;
}
