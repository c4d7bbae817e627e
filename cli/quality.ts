import { type QualityGrouping, qualityBy } from "#shared/read/minutes-source.ts";
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { withClickhouse } from "./clickhouse.ts";
import { type Command, durationOption, EXIT, parseOptions, printable, table, UsageError } from "./command.ts";
import { findPipeline } from "./pipeline.ts";

const GROUPINGS: readonly QualityGrouping[] = ["source", "type", "minute"];
const SINCE_MS = 3_600_000;

export const command: Command = {
  summary: "data quality of the last hour by source, type or minute, beside its targets",
  help: `usage: weir quality [--by source|type|minute] [--since 1h] [--json] [--lane NAME] [--data-dir DIR]

Completeness, consistency, timeliness, uniqueness and accuracy in percent of the events of the closed minutes (docs/QUALITY.md says what each counts).
An x marks what is below its target. Exit code 3: something is, or no minute has closed.

examples:
  weir quality
  weir quality --by minute --since 15m --json
`,
  async run({ args, out, err }) {
    const { values } = parseOptions(args, { by: { type: "string" }, since: { type: "string" } });
    const by = groupingOf(values.by ?? "source", GROUPINGS);
    const fromMs = Date.now() - durationOption("since", values.since, SINCE_MS);
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const period = { ...config, database: config.clickhouseDatabase, fromMs };
    const rows = await withClickhouse(config, (client) => qualityBy(client, by, period));
    const isBelow = rows.some(({ percents }) => percents.some((percent, i) => percent < QUALITY_DIMENSIONS[i]!.targetPercent));
    const { lane, generation } = config;
    if (values.json === true) out(`${JSON.stringify({ lane, generation, by, fromMs, targets: QUALITY_DIMENSIONS, rows })}\n`);
    else if (rows.length === 0) err("no minute has closed in this time\n");
    else out(qualityTable(by, rows));
    return rows.length === 0 || isBelow ? EXIT.checkFailed : EXIT.ok;
  },
};

function qualityTable(by: QualityGrouping, rows: Awaited<ReturnType<typeof qualityBy>>): string {
  const names = by === "type" ? ["source", "type"] : [by];
  const lines = rows.map(({ of, events, percents }) => [
    ...of.map((name) => nameOf(name)),
    events,
    ...percents.map((percent, i) => `${percentText(percent)}${percent < QUALITY_DIMENSIONS[i]!.targetPercent ? " x" : ""}`),
  ]);
  const targets = [
    "target",
    ...names.slice(1).map(() => ""),
    "",
    ...QUALITY_DIMENSIONS.map(({ targetPercent }) => percentText(targetPercent)),
  ];
  return table([[...names, "events", ...QUALITY_DIMENSIONS.map(({ name }) => name)], ...lines, targets]);
}

/** Cut, not rounded: one bad event of a million is not 100 %. */
function percentText(percent: number): string {
  return (Math.floor(percent * 10_000 + 1e-6) / 10_000).toFixed(4);
}

/** Names come from producers. */
export function nameOf(text: string): string {
  return text === "" ? "(none)" : printable(text);
}

/** @throws UsageError */
export function groupingOf<T extends string>(text: string, known: readonly T[]): T {
  const found = known.find((candidate) => candidate === text);
  if (found === undefined) throw new UsageError(`--by: must be one of ${known.join(", ")}, got ${JSON.stringify(text)}`);
  return found;
}
