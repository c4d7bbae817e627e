import { runFlights } from "#loadgen/flights.ts";
import { type Command, EXIT, parseOptions, UsageError } from "./command.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { ProgressLine } from "./progress-line.ts";

export const command: Command = {
  summary: "run a recorded data set through a historical lane",
  help: `usage: weir seed flights [--lane NAME] [--data-dir DIR] [--json]

200,000 recorded flights: sent, waited for, and their last windows closed. The lane must be empty and historical: live events would have
moved the watermark past them.

examples:
  npm start -- --seed flights --headless
  weir seed flights --lane historical
`,
  async run({ args, out, err, errIsTerminal, stop }) {
    const { values, positionals } = parseOptions(args, {});
    if (positionals.length !== 1 || positionals[0] !== "flights")
      throw new UsageError("the data set must be named: flights", "weir seed flights");
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    if (!config.historical) {
      throw new UsageError(
        `lane ${config.lane} is live: flights of 2001 would all be late there`,
        "npm start -- --seed flights, or weir send --shift-to-now",
      );
    }
    const line = new ProgressLine({ write: err, isTerminal: errIsTerminal });
    const sent = await withKafka(config, (kafka) =>
      runFlights({ kafka, config, stop, onProgress: ({ step, done, of }) => line.show(`${step} ${done} of ${of}`) }),
    );
    line.end();
    out(values.json === true ? `${JSON.stringify({ sent })}\n` : `${sent} events sent, folded and drained\n`);
    return EXIT.ok;
  },
};
