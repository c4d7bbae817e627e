import { openWindowsOf, parseUser } from "#processor/observe/user-state.ts";
import { readCommitted, replayTo, SnapshotReader } from "#processor/observe/snapshot-reader.ts";
import { topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { CorruptStateError, describeError, OperatingError } from "#shared/kernel/errors.ts";
import { type Command, EXIT, parseOptions, table, UsageError } from "./command.ts";
import { findPipeline, withKafka } from "./pipeline.ts";

export const command: Command = {
  summary: "what the processor holds of a user: open windows and sessions",
  help: `usage: weir state get USER [--snapshot] [--json] [--lane NAME] [--data-dir DIR]

Restores the newest good snapshot of the user's partition, folds the log from there to the committed position, compares the hash with the committed
one, and shows what is open for the user at exactly that offset. With --snapshot the log is left out: the state as of the snapshot's offset.
The running processor does not notice.

examples:
  weir state get 42
  weir state get 42 --json | jq '.windows[] | select(.kind == "session_30s")'
`,
  async run({ args, out, err }) {
    const { values, positionals } = parseOptions(args, { snapshot: { type: "boolean" } });
    const [verb, text, ...rest] = positionals;
    if (verb !== "get" || text === undefined || rest.length > 0) throw new UsageError("expected get USER", "weir state --help");
    const user = parseUser(text);
    if (user === null) throw new UsageError(`${text}: a user is a whole number below 2^64`, "weir state --help");
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const result = await withKafka(config, async (kafka) => {
      const partition = partitionOf(new TextEncoder().encode(BigInt(text).toString()), config.partitions);
      const committed = await readCommitted(kafka, config, partition);
      const reader = new SnapshotReader(config, Date.now);
      const refs = (await reader.list(partition)).toReversed().filter(({ offset }) => committed !== null && offset <= committed.offset);
      for (const ref of refs) {
        try {
          const opened = await reader.open(ref, partition);
          let asOf = opened.offset;
          if (values.snapshot !== true && committed !== null) {
            const difference = await replayTo(kafka, config, opened, partition, committed);
            if (difference !== null) {
              throw new CorruptStateError(`snapshot ${ref.key}: its replay does not give the committed progress: ${difference}`, {
                code: "SNAPSHOT_MISMATCH",
              });
            }
            asOf = committed.offset;
          }
          const { hw, watermarkMs, hash } = opened.fold.progress();
          return { partition, asOf, sourceOffset: hw, watermarkMs, hash, snapshot: ref.key, windows: openWindowsOf(opened.state, user) };
        } catch (thrown) {
          if (!(thrown instanceof CorruptStateError)) throw thrown;
          err(`weir: ${describeError(thrown)}; the next older snapshot is taken\n`);
        }
      }
      throw new OperatingError(`no usable snapshot of partition ${partition} in ${reader.address}`, {
        code: "SNAPSHOT_NOT_FOUND",
        hint: `the processor writes one every ${Math.round(config.snapshotIntervalMs / 1_000)} s: weir checkpoint ls`,
      });
    });
    if (values.json === true) {
      out(`${JSON.stringify({ user: text, ...result })}\n`);
      return EXIT.ok;
    }
    const time = (ms: number): string => new Date(ms).toISOString();
    out(
      `user ${text}, partition ${result.partition}, as of offset ${result.asOf} of ${topicName(config.lane, "valid")} (events.raw up to ${result.sourceOffset})\n`,
    );
    out(`watermark ${result.watermarkMs === null ? "none" : time(result.watermarkMs)}, hash ${result.hash}\n`);
    if (result.windows.length === 0) out("nothing open\n");
    else {
      const cells = result.windows.map((window) => [
        window.kind,
        time(window.startMs),
        time(window.endMs),
        window.events,
        window.valueCount === 0 ? "" : window.valueSum,
        time(window.lastEventMs),
      ]);
      out(`\n${table([["window", "start", "end", "events", "value sum", "last event"], ...cells])}`);
    }
    return EXIT.ok;
  },
};
