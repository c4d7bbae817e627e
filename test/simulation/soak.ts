/**
 * `npm run soak`: simulated lives without end, one seed after another. `npm run soak -- [model|column] [FIRST-SEED] [COUNT]`; with a count of 1
 * the log of the run is printed, to replay what a test reported.
 */
import { columnKit } from "./fold-kit.ts";
import { runScenario } from "./scenario.ts";
import { Random } from "./world.ts";

const REPORT_EVERY = 500;

const [which = "model", firstText, countText] = process.argv.slice(2);
const first = firstText === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(firstText);
const count = countText === undefined ? Infinity : Number(countText);
if (!["model", "column"].includes(which) || !Number.isSafeInteger(first) || Number.isNaN(count)) {
  console.error("usage: npm run soak -- [model|column] [FIRST-SEED] [COUNT]");
  process.exit(2);
}
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
