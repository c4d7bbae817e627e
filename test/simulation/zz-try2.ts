import { runScenario } from "./scenario.ts";
const from = Number(process.argv[3] ?? 1);
for (let seed = from; seed < from + Number(process.argv[2]); seed++) {
  const r = await runScenario({ seed });
  if (r.facts.refused > 0 || r.violations.length) console.log(seed, r.facts, r.violations.slice(0, 5), r.log.slice(-25).join("\n"));
}
