import { runScenario } from "/work/main/test/simulation/scenario.ts";
const n = Number(process.argv[2] ?? 20),
  from = Number(process.argv[3] ?? 1);
const t = performance.now();
const sum: Record<string, number> = {};
let bad = 0;
for (let seed = from; seed < from + n; seed++) {
  const r = await runScenario({ seed });
  for (const [k, v] of Object.entries(r.facts)) sum[k] = (sum[k] ?? 0) + v;
  if (r.violations.length) {
    bad++;
    if (bad < 4) console.log(seed, r.violations.slice(0, 5), n === 1 ? r.log.slice(-60).join("\n") : "");
  }
}
console.log({ bad, ms: performance.now() - t, ...sum });
