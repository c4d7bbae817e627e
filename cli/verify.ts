import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Config } from "#shared/config/config.ts";
import { describeError } from "#shared/kernel/errors.ts";
import {
  type Command,
  type CommandContext,
  durationOption,
  EXIT,
  type ExitCode,
  numberOption,
  parseOptions,
  table,
  TimeoutError,
} from "./command.ts";
import { recountLedger, type Recount, type RecountOptions } from "./ledger-recount.ts";
import { sinceOption } from "./ledger-since.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { ProgressLine } from "./progress-line.ts";

const TIMEOUT_MS = 60_000;
/** What the status page gets of the minutes. */
const MINUTES_SHOWN = 60;
/** Progress where no terminal can be written over. */
const STEP_EVERY_MS = 5_000;

export const command: Command = {
  summary: "recount every event, from the raw topic to the tables",
  help: `usage: weir verify [--since TIME|DURATION|OFFSET] [--partition P] [--every DURATION] [--minutes]
                   [--timeout 60s] [--json] [--lane NAME] [--data-dir DIR]

Reads events.raw and every output with a client of its own, and ClickHouse's tables, and finds every raw offset again: once as a clean row, a
dead letter or a late event, or else as the repetition of an earlier event_id. Clean rows must say the same in topic and table; windows, dead
letters, the sums of the view, Redis' marks and open transactions are compared as well, each with its own verdict. Memory does not grow with the
log. Exit 0 when all balances, 3 when not or when nothing was produced (unknown), 5 when the pipeline was still behind after the time-out.

  --since      recount from there: 2026-11-24T10:00:00Z, 30m, or an offset of events.raw (with --partition)
  --partition  recount this one only
  --every      again and again, until something does not balance; the status page shows the last one. With --since 10m it costs little
  --minutes    print the identity minute by minute too (in --json it is always there)

examples:
  weir verify --since 10m --every 1m
  weir verify --json --timeout 5m | jq .totals
`,
  async run(context) {
    const { args, out, err, stop } = context;
    const { values } = parseOptions(args, {
      timeout: { type: "string" },
      since: { type: "string" },
      partition: { type: "string" },
      minutes: { type: "boolean" },
      every: { type: "string" },
    });
    const timeoutMs = durationOption("timeout", values.timeout, TIMEOUT_MS);
    const everyMs = values.every === undefined ? null : durationOption("every", values.every, 0);
    sinceOption(values.since, Date.now());
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const partition = numberOption("partition", values.partition, { from: 0, to: config.partitions - 1, whole: true });
    const round = async (): Promise<ExitCode> => {
      const since = sinceOption(values.since, Date.now());
      const recount = await counted(context, config, { timeoutMs, since, partition });
      // A part says nothing of the whole, unless somebody watches it on purpose.
      if (partition === undefined && (since === undefined || everyMs !== null)) leaveVerdict(config.dataDir, recount, values.since ?? null);
      out(values.json === true ? `${JSON.stringify(recount)}\n` : describe(recount, values.minutes === true));
      return recount.verdict === "unbalanced" || (everyMs === null && recount.verdict === "unknown") ? EXIT.checkFailed : EXIT.ok;
    };
    for (;;) {
      try {
        const code = await round();
        if (everyMs === null || code !== EXIT.ok) return code;
      } catch (thrown) {
        // A pipeline that is behind now may be there at the next look.
        if (everyMs === null || !(thrown instanceof TimeoutError)) throw thrown;
        err(`${describeError(thrown)}\n`);
      }
      await sleep(everyMs, undefined, { signal: stop });
    }
  },
};

async function counted(
  { err, errIsTerminal, stop }: CommandContext,
  config: Config,
  how: Pick<RecountOptions, "timeoutMs" | "since" | "partition">,
): Promise<Recount> {
  const line = new ProgressLine({ write: err, isTerminal: errIsTerminal });
  let saidAtMs = performance.now();
  const onStep = (step: string): void => {
    line.show(step);
    if (errIsTerminal || performance.now() - saidAtMs < STEP_EVERY_MS) return;
    saidAtMs = performance.now();
    err(`${step}\n`);
  };
  try {
    return await withKafka(config, (kafka) => recountLedger({ kafka, config, stop, onStep, ...how }));
  } finally {
    line.end();
  }
}

/** For the status page. A folder that cannot be written to takes nothing from the answer. */
function leaveVerdict(dataDir: string, { verdict, totals, checks, partitions }: Recount, since: string | null): void {
  const path = join(dataDir, "verify.json");
  const { lost, doubled, raw } = totals;
  const minutes = partitions.flatMap(({ partition, minutes: all }) =>
    all.slice(-MINUTES_SHOWN).map((minute) => Object.assign({ partition }, minute)),
  );
  try {
    writeFileSync(`${path}.new`, JSON.stringify({ atMs: Date.now(), verdict, since, lost, doubled, raw, checks, minutes }));
    renameSync(`${path}.new`, path);
  } catch {
    // Read-only, or the pipeline of another machine.
  }
}

const FINDINGS = {
  lost: "lost",
  doubled: "doubled",
  topicOnly: "in events.clean, not in ClickHouse",
  tableOnly: "in ClickHouse, not in events.clean",
  altered: "says something else in ClickHouse than in events.clean",
  foreign: "has another event_id than its raw record",
  disordered: "stands in its topic behind a later offset",
} as const;

function describe(
  { verdict, lane, generation, totals, redelivered, mismatches, checks, partitions }: Recount,
  hasMinutes: boolean,
): string {
  const { raw, clean, deadLettered, duplicate, late, lost, doubled, reused, unfounded } = totals;
  if (verdict === "unknown") return `lane ${lane}, generation ${generation}\nunknown: nothing was produced, so nothing is shown\n`;
  const rows = partitions.map((p) => [p.partition, p.raw, p.clean, p.deadLettered, p.duplicate, p.late, p.lost, p.doubled]);
  const minutes = partitions.flatMap(({ partition, minutes: all }) =>
    all.map((m) => [partition, m.minute, m.raw, m.clean, m.deadLettered, m.duplicate, m.late, m.lost, m.table]),
  );
  const kinds = Object.keys(FINDINGS) as (keyof typeof FINDINGS)[];
  const lines = [
    `lane ${lane}, generation ${generation}`,
    "",
    table([["p", "raw", "clean", "dead", "duplicate", "late", "lost", "doubled"], ...rows]),
    ...(hasMinutes ? [table([["p", "minute", "raw", "clean", "dead", "duplicate", "late", "lost", "table"], ...minutes])] : []),
    table(checks.map(({ name, verdict: own, detail }) => [own, name, detail])),
    `raw ${raw} = clean ${clean} + dead-lettered ${deadLettered} + duplicate ${duplicate} + late ${late}${lost === 0 ? "" : ` + lost ${lost}`}`,
    `lost ${lost}, doubled ${doubled}; redelivered ${redelivered}${reused === 0 ? "" : `, ids used again after the horizon ${reused}`}`,
    ...kinds
      .filter((kind) => kind !== "lost" && kind !== "doubled" && totals[kind] > 0)
      .map((kind) => `${FINDINGS[kind]}: ${totals[kind]}`),
    ...(unfounded === 0 ? [] : [`outputs of offsets that events.raw does not have: ${unfounded}`]),
    ...mismatches.map(({ what, recounted, claimed }) => `${what}: ${claimed}, recounted ${recounted}`),
    ...partitions.flatMap(({ partition, examples }) =>
      kinds
        .filter((kind) => examples[kind].length > 0)
        .map((kind) => `  ${FINDINGS[kind]}: partition ${partition}, offset ${examples[kind].join(", ")}`),
    ),
    verdict,
  ];
  return `${lines.join("\n")}\n`;
}
