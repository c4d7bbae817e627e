/**
 * `npm run soak`: simulated lives without end, one seed after another. `npm run soak -- [model|column] [FIRST-SEED] [COUNT]`; with a count of 1
 * the log of the run is printed, to replay what a test reported.
 *
 * `npm run soak -- kills [--rounds N] [--seed S]`: real processors on a real broker, killed with -9 again and again.
 * `npm run soak -- pipeline [--seconds N] [--every N] [--rate N] [--seed S]`: the whole pipeline, a random part killed every so many seconds.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { columnKit } from "./fold-kit.ts";
import { runScenario } from "./scenario.ts";
import { Random } from "./world.ts";

const REPORT_EVERY = 500;
const USAGE =
  "usage: npm run soak -- [model|column] [FIRST-SEED] [COUNT] | kills [--rounds N] [--seed S] | pipeline [--seconds N] [--every N] [--rate N] [--seed S]";

function exitWithUsage(): never {
  console.log(USAGE);
  process.exit(2);
}

async function simulate([which = "model", firstText, countText]: readonly string[]): Promise<void> {
  const first = firstText === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(firstText);
  const count = countText === undefined ? Infinity : Number(countText);
  if (!["model", "column"].includes(which) || !Number.isSafeInteger(first) || Number.isNaN(count)) exitWithUsage();
  console.log(`soak: ${which} fold, seeds from ${first} on`);
  const sum: Record<string, number> = {};
  for (let seed = first; seed < first + count; seed++) {
    const report = await runScenario({ seed, ...(which === "column" ? { kit: columnKit(new Random(seed)) } : {}) });
    for (const [fact, value] of Object.entries(report.facts)) sum[fact] = (sum[fact] ?? 0) + value;
    if (count === 1) console.log(report.log.join("\n"));
    if (report.violations.length > 0) {
      console.log(`seed ${seed}:\n${report.violations.join("\n")}\nreplay: npm run soak -- ${which} ${seed} 1`);
      process.exit(1);
    }
    const done = seed - first + 1;
    if (done % REPORT_EVERY === 0 || done === count) console.log(`${done} seeds, no violation ${JSON.stringify(sum)}`);
  }
}

async function kill(args: readonly string[]): Promise<void> {
  const { values } = parseArgs({ args: [...args], options: { rounds: { type: "string" }, seed: { type: "string" } } });
  const rounds = Number(values.rounds ?? 100);
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  if (!Number.isSafeInteger(rounds) || rounds < 1 || !Number.isSafeInteger(seed)) exitWithUsage();
  const [{ startKafka }, { openKafka }, { runKillRounds }] = await Promise.all([
    import("#local/services/kafka.ts"),
    import("#shared/clients/kafka/client.ts"),
    import("../integration/processor/kill-rounds.ts"),
  ]);
  const dir = await mkdtemp(join(tmpdir(), "weir-soak-"));
  const server = await startKafka({ dir });
  try {
    const kafka = await openKafka({ brokers: [server.address], clientId: "weir-soak" });
    console.log(`soak: ${rounds} rounds of kill -9, seed ${seed}`);
    const say = (line: string): void => console.log(line);
    const report = await runKillRounds({ rounds, seed, cluster: { brokers: [server.address], kafka }, say });
    console.log(`lost 0, doubled 0, outputs equal to one undisturbed fold ${JSON.stringify(report)}`);
    await kafka.close();
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function killParts(args: readonly string[]): Promise<void> {
  const number = { type: "string" } as const;
  const { values } = parseArgs({ args: [...args], options: { seconds: number, every: number, rate: number, seed: number } });
  const [seconds, everySeconds, eventsPerSecond] = [
    Number(values.seconds ?? 600),
    Number(values.every ?? 20),
    Number(values.rate ?? 20_000),
  ];
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
  if (![seconds, everySeconds, eventsPerSecond].every((given) => given > 0) || !Number.isSafeInteger(seed)) exitWithUsage();
  const { runKills } = await import("../e2e/kill-run.ts");
  console.log(`soak: ${seconds} s at ${eventsPerSecond} events/s, kill -9 every ${everySeconds} s, seed ${seed}`);
  process.exitCode = await runKills({ seconds, everySeconds, eventsPerSecond, seed, say: (line) => console.log(line) });
}

const [command, ...rest] = process.argv.slice(2);
if (command === "kills") await kill(rest);
else if (command === "pipeline") await killParts(rest);
else await simulate(process.argv.slice(2));
