import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { type Command, EXIT, parseOptions, printable, UsageError } from "./command.ts";
import { parseTarget, placesOf } from "./inspect-find.ts";
import { type Life, lifeOf } from "./inspect-life.ts";
import type { InspectContext, Stage } from "./inspect-stage.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { ProgressLine } from "./progress-line.ts";

const SHOWN_CHARACTERS = 400;

export const command: Command = {
  summary: "the life of one event, through every stage and store",
  help: `usage: weir inspect EVENT_ID|[TOPIC/]PARTITION/OFFSET[#ROW] [--json] [--lane NAME] [--data-dir DIR]

Shows what became of an event: its raw record, the validator's verdict with reason and rules version, the block, what the fold made of it (clean,
late, dead letter, or a duplicate of which), its row and the windows in ClickHouse, hot values in Redis, and replays. By id it shows every time
that the id was sent. A part that retention has taken, or a store that is down, is named, and the others still tell theirs.
Exit 0 when the event was found, 3 when it is nowhere or lost.

  TOPIC   events.raw (default), events.valid, events.clean, events.late or events.dlq
  #ROW    of a record that holds many rows, from 0

examples:
  weir inspect 0190f6a2-7e4b-7cc1-9a53-2f6f0a3d8f11
  weir inspect events.dlq/2/17 --json
`,
  async run({ args, out, err, errIsTerminal, stop }) {
    const { values, positionals } = parseOptions(args, {});
    const [text] = positionals;
    if (text === undefined || positionals.length > 1) throw new UsageError("name one event, by its id or position", "weir inspect --help");
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const target = parseTarget(text, config.lane);
    const line = new ProgressLine({ write: err, isTerminal: errIsTerminal });
    const lives = await withKafka(config, async (kafka) => {
      const context: InspectContext = { kafka, config, address: await kafkaOptions(config), stop, onStep: (step) => line.show(step) };
      const found: Life[] = [];
      for (const place of await placesOf(context, target)) found.push(await lifeOf(context, place));
      return found;
    }).finally(() => line.end());
    if (values.json === true) out(`${JSON.stringify({ target, events: lives })}\n`);
    else out(lives.length === 0 ? `${text}: found nowhere\n` : lives.map(describe).join("\n"));
    const isFine = lives.length > 0 && lives.every(({ outcome }) => outcome !== "lost" && outcome !== "absent");
    return isFine ? EXIT.ok : EXIT.checkFailed;
  },
};

function describe({ topic, partition, offset, eventId, outcome, original, stages }: Life): string {
  const said = { deadLettered: "dead letter", duplicate: `duplicate of ${original}` } as Partial<Record<Life["outcome"], string>>;
  const firstMs = stages.find(({ atMs }) => atMs !== null)?.atMs ?? 0;
  const width = Math.max(...stages.map(({ stage }) => stage.length));
  const lines = stages.map((stage) => `  ${when(stage, firstMs).padEnd(12)} ${stage.stage.padEnd(width)}  ${told(stage)}`);
  const began = firstMs === 0 ? "" : `, ${new Date(firstMs).toISOString()}`;
  return `${eventId ?? "an event without an id"}: ${said[outcome] ?? outcome} (${topic}/${partition}/${offset}${began})\n${lines.join("\n")}\n`;
}

function when({ atMs }: Stage, firstMs: number): string {
  return atMs === null ? "" : `+${atMs - firstMs} ms`;
}

function told({ status, text, facts }: Stage): string {
  const value = facts["value"];
  const shown = typeof value === "string" ? ` ${value.slice(0, SHOWN_CHARACTERS)}` : "";
  return printable(`${status === "found" ? "" : `[${status}] `}${text}${shown}`);
}
