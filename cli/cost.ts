import { costBy, type CostGrouping } from "#shared/read/minutes-source.ts";
import { withClickhouse } from "./clickhouse.ts";
import { type Command, durationOption, EXIT, parseOptions, table } from "./command.ts";
import { findPipeline } from "./pipeline.ts";
import { groupingOf, nameOf } from "./quality.ts";

const GROUPINGS: readonly CostGrouping[] = ["source", "destination", "both"];
const SINCE_MS = 3_600_000;

export const command: Command = {
  summary: "events, bytes and cost of the last hour by source, destination or both",
  help: `usage: weir cost [--by source|destination|both] [--since 1h] [--json] [--lane NAME] [--data-dir DIR]

What the events of the closed minutes cost, dearest first: events and bytes to each destination times the price table in effect. Exit code 3: no minute
has closed.

examples:
  weir cost --by destination
  weir cost --by both --since 24h --json
`,
  async run({ args, out, err }) {
    const { values } = parseOptions(args, { by: { type: "string" }, since: { type: "string" } });
    const by = groupingOf(values.by ?? "source", GROUPINGS);
    const fromMs = Date.now() - durationOption("since", values.since, SINCE_MS);
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const period = { ...config, database: config.clickhouseDatabase, fromMs };
    const rows = await withClickhouse(config, (client) => costBy(client, by, period));
    const { lane, generation } = config;
    if (values.json === true) out(`${JSON.stringify({ lane, generation, by, fromMs, rows })}\n`);
    else if (rows.length === 0) err("no minute has closed in this time\n");
    else {
      const names = by === "both" ? ["source", "destination"] : [by];
      const lines = rows.map(({ of, events, bytes, usd }) => [...of.map((name) => nameOf(name)), events, bytes, usd.toFixed(6)]);
      out(table([[...names, "events", "bytes", "usd"], ...lines]));
    }
    return rows.length === 0 ? EXIT.checkFailed : EXIT.ok;
  },
};
