import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, durationOption, EXIT, parseOptions, table } from "./command.ts";
import { recountLedger, type Recount } from "./ledger-recount.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { ProgressLine } from "./progress-line.ts";

const TIMEOUT_MS = 60_000;

export const command: Command = {
  summary: "recount every event, from the raw topic to the tables",
  help: `usage: weir verify [--timeout 60s] [--json] [--lane NAME] [--data-dir DIR]

Reads events.raw, events.clean, events.late and events.dlq with a client of its own and ClickHouse's events, and finds every raw offset again:
once as a clean row, a dead letter or a late event, or else as the repetition of an earlier event_id. Exit 0 when all balances, 3 when not or
when nothing was produced (unknown), 5 when the pipeline was still behind after the time-out.

examples:
  weir verify
  weir verify --json --timeout 5m | jq .totals
`,
  async run({ args, out, err, errIsTerminal, stop }) {
    const { values } = parseOptions(args, { timeout: { type: "string" } });
    const timeoutMs = durationOption("timeout", values.timeout, TIMEOUT_MS);
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const line = new ProgressLine({ write: err, isTerminal: errIsTerminal });
    const recount = await withKafka(config, (kafka) =>
      recountLedger({ kafka, config, timeoutMs, stop, onStep: (step) => line.show(step) }),
    ).finally(() => line.end());
    leaveVerdict(config.dataDir, recount);
    out(values.json === true ? `${JSON.stringify(recount)}\n` : describe(recount));
    return recount.verdict === "balanced" ? EXIT.ok : EXIT.checkFailed;
  },
};

/** For the status page. A folder that cannot be written to takes nothing from the answer. */
function leaveVerdict(dataDir: string, { verdict, totals }: Recount): void {
  const path = join(dataDir, "verify.json");
  try {
    writeFileSync(
      `${path}.new`,
      JSON.stringify({ atMs: Date.now(), verdict, lost: totals.lost, doubled: totals.doubled, raw: totals.raw }),
    );
    renameSync(`${path}.new`, path);
  } catch {
    // Read-only, or the pipeline of another machine.
  }
}

export function describe({ verdict, lane, generation, totals, redelivered, mismatches, partitions }: Recount): string {
  if (verdict === "unknown") return `lane ${lane}, generation ${generation}\nunknown: nothing was produced, so nothing is shown\n`;
  const rows = partitions.map((p) => [p.partition, p.raw, p.clean, p.deadLettered, p.duplicate, p.late, p.lost, p.doubled]);
  const { raw, clean, deadLettered, duplicate, late, lost, doubled, reused, topicOnly, tableOnly, unfounded } = totals;
  const lines = [
    `lane ${lane}, generation ${generation}`,
    "",
    table([["p", "raw", "clean", "dead", "duplicate", "late", "lost", "doubled"], ...rows]),
    `raw ${raw} = clean ${clean} + dead-lettered ${deadLettered} + duplicate ${duplicate} + late ${late}${lost === 0 ? "" : ` + lost ${lost}`}`,
    `lost ${lost}, doubled ${doubled}; redelivered ${redelivered}${reused === 0 ? "" : `, ids used again after the horizon ${reused}`}`,
    ...(topicOnly === 0 ? [] : [`in events.clean, not in ClickHouse: ${topicOnly}`]),
    ...(tableOnly === 0 ? [] : [`in ClickHouse, not in events.clean: ${tableOnly}`]),
    ...(unfounded === 0 ? [] : [`outputs of offsets that events.raw does not have: ${unfounded}`]),
    ...mismatches.map(({ what, recounted, claimed }) => `${what}: ${claimed}, recounted ${recounted}`),
    ...partitions.flatMap(({ partition, examples }) =>
      (["lost", "doubled", "topicOnly", "tableOnly"] as const)
        .filter((kind) => examples[kind].length > 0)
        .map((kind) => `  ${kind}: partition ${partition}, offset ${examples[kind].join(", ")}`),
    ),
    verdict,
  ];
  return `${lines.join("\n")}\n`;
}
