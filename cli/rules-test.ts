/** `weir rules test`: the same events by the published rules and by others, through the validator's own core. */
import { createReadStream } from "node:fs";
import { limitsOf } from "#functions/validator/scanner/limits.ts";
import type { FetchedRecord, TopicPartition } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { toError } from "#shared/kernel/errors.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import type { Release } from "#shared/rules/release.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, printable, table, UsageError } from "./command.ts";
import { readLines } from "./event-lines.ts";
import { withKafka } from "./pipeline.ts";
import { publishedRelease, readReleaseFile, rulesConfig, tableDraft, withDatabase } from "./rules-sources.ts";
import { type Sample, VerdictComparison } from "./verdict-comparison.ts";

const LAST = 1_000;
const SHOWN_CHARACTERS = 160;

export async function testRules(context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(context.args, {
    release: { type: "string" },
    db: { type: "boolean" },
    from: { type: "string" },
    live: { type: "boolean" },
    last: { type: "string" },
    strict: { type: "boolean" },
  });
  if (positionals.length > 0)
    throw new UsageError(`rules test: ${positionals[0]} has no place`, "weir rules test --release rules.json --live");
  if ((values.release === undefined) === (values.db !== true))
    throw new UsageError("rules test: either --release FILE or --db must be named", "weir rules test --db --live");
  if (values.from !== undefined && values.live === true)
    throw new UsageError("rules test: either --from or --live", "weir rules test --db --live");
  const last = numberOption("last", values.last, { from: 1, to: 10_000_000, whole: true });
  const config = rulesConfig(values);
  const { release: before } = await publishedRelease(config);
  const after = await otherRelease(values.release, config);

  const limits = limitsOf(config);
  // Events of a file have no key, and are as old as they are.
  const comparison = new VerdictComparison(
    compilePlan(before),
    compilePlan(after),
    values.from === undefined ? limits : { ...limits, checkKey: false, historical: true },
  );
  const add = (sample: Sample): void => {
    context.stop.throwIfAborted();
    comparison.add(sample);
  };
  if (values.from === undefined) await addLive(config, last ?? LAST, add);
  else await addLines(values.from, context, last ?? Infinity, add);
  const { pairs, samples: events, newlyRejected } = comparison.finish();
  if (values.json === true)
    context.out(`${JSON.stringify({ before: before.version, after: values.release ?? "tables", events, newlyRejected, pairs })}\n`);
  else {
    context.out(`${events} events by version ${before.version} (published) and by ${values.release ?? "the tables as they stand"}\n`);
    if (events > 0) context.out(table([["before", "after", "events"], ...pairs.map((pair) => [pair.before, pair.after, pair.count])]));
    for (const pair of pairs.filter(({ examples }) => examples.length > 0)) {
      context.out(`\n${pair.before} -> ${pair.after}\n`);
      for (const { where, pointer, text } of pair.examples)
        context.out(`  ${where}  ${printable(pointer === "" ? "" : `${pointer}  `)}${shorten(text)}\n`);
    }
  }
  return values.strict === true && newlyRejected > 0 ? EXIT.checkFailed : EXIT.ok;
}

async function otherRelease(file: string | undefined, config: Config): Promise<Release> {
  return file === undefined ? withDatabase(config, (database) => tableDraft(database)) : readReleaseFile(file).release;
}

type Add = (sample: Sample) => void;

async function addLines(file: string, { input }: CommandContext, last: number, add: Add): Promise<void> {
  const nowMs = Date.now();
  let line = 0;
  try {
    for await (const value of readLines(file === "-" ? input : createReadStream(file))) {
      if (++line > last) return;
      add({ where: `line ${line}`, key: undefined, value, headers: null, timestampMs: nowMs });
    }
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).syscall === undefined) throw thrown;
    throw new UsageError(`${file}: ${toError(thrown).message}`);
  }
}

/** The newest records of the raw topic, partition by partition, each with its share. */
function addLive(config: Config, last: number, add: Add): Promise<void> {
  const topic = topicName(config.lane, "raw");
  return withKafka(config, async (kafka) => {
    const partitions = await kafka.partitionCount(topic);
    for (let partition = 0; partition < partitions; partition++) {
      const at = { topic, partition };
      const share = Math.floor(last / partitions) + (partition < last % partitions ? 1 : 0);
      const [start, end] = await Promise.all([
        kafka.listOffset(at, "earliest", "read_committed"),
        kafka.listOffset(at, "latest", "read_committed"),
      ]);
      for (let offset = Math.max(start, end - share); offset < end;) {
        const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", maxWaitMs: 0 });
        if (answer === undefined || answer.nextOffset <= offset) break;
        for (const record of answer.records) if (record.offset < end) add(sampleOf(record, at));
        offset = answer.nextOffset;
      }
    }
  });
}

function sampleOf({ offset, key, value, headers, timestampMs }: FetchedRecord, { topic, partition }: TopicPartition): Sample {
  return { where: `${topic} ${partition}@${offset}`, key, value, headers, timestampMs };
}

function shorten(text: string): string {
  const shown = printable(text);
  return shown.length > SHOWN_CHARACTERS ? `${shown.slice(0, SHOWN_CHARACTERS)}…` : shown;
}
