import { randomUUID } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { mapRows, type Mapping, readMapping } from "#loadgen/mapping.ts";
import { Pacer } from "#loadgen/pacer.ts";
import { RecordSender } from "#loadgen/sender.ts";
import { topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import { toError } from "#shared/kernel/errors.ts";
import { type Command, type CommandContext, EXIT, numberOption, parseOptions, UsageError } from "./command.ts";
import { type EventLine, prepareLine, readLines } from "./event-lines.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { ProgressLine } from "./progress-line.ts";

export const command: Command = {
  summary: "produce events from a file or stdin",
  help: `usage: weir send FILE|- [options]

One JSON event per line (or one JSON array). Lines go out as they are: what is no event ends in events.dlq, as from any producer.

  --rate N         events per second (default: as fast as the broker takes them)
  --key FIELD      field whose value is the record's key (default user_id)
  --map FILE       the lines are rows of something else; this mapping makes events of them (see loadgen/mappings)
  --source NAME    sets the field source
  --shift-to-now   event_time becomes the moment of sending and event_id a new one: for recorded events in a live pipeline
  --lane NAME  --data-dir DIR  --json

examples:
  weir send events.jsonl --rate 500
  weir send node_modules/vega-datasets/data/flights-200k.json --map loadgen/mappings/flights.json --shift-to-now
`,
  async run(context) {
    const { values, positionals } = parseOptions(context.args, {
      rate: { type: "string" },
      key: { type: "string", default: "user_id" },
      map: { type: "string" },
      source: { type: "string" },
      "shift-to-now": { type: "boolean", default: false },
    });
    const [file] = positionals;
    if (file === undefined || positionals.length !== 1)
      throw new UsageError("one FILE must be named, - is stdin", "weir send events.jsonl");
    const ratePerSecond = numberOption("rate", values.rate, { from: 0.001, to: 1e7 });
    const mapping = values.map === undefined ? undefined : readMapping(values.map);
    const { chunks, bytes } = openInput(file, context);
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const prepare = (line: Buffer): EventLine =>
      prepareLine(line, {
        keyField: values.key,
        source: values.source,
        ...(values["shift-to-now"] ? { eventTimeMs: Date.now(), eventId: randomUUID() } : {}),
      });

    const progress = new ProgressLine({ write: context.err, isTerminal: context.errIsTerminal });
    const startedAt = performance.now();
    const result = await withKafka(config, async (kafka) => {
      const topic = topicName(config.lane, "raw");
      const partitions = await kafka.partitionCount(topic);
      const sender = new RecordSender({
        kafka,
        topic,
        partitions,
        stop: context.stop,
        onRetry: (error) => context.err(`weir: sending again: ${error.message}\n`),
      });
      const pacer =
        ratePerSecond === undefined ? undefined : new Pacer({ ratePerSecond, startMs: startedAt, debtMsMax: Number.MAX_SAFE_INTEGER });
      let due = 0;
      let unkeyed = 0;
      let read = 0;
      for await (const line of inputLines(chunks, mapping)) {
        if (context.stop.aborted) break;
        if (pacer !== undefined && due-- === 0) due = (await nextDue(pacer, context.stop)) - 1;
        const { key, value } = prepare(line);
        const keyBytes = key === null ? null : Buffer.from(key);
        if (keyBytes === null) unkeyed++;
        read += line.length + 1;
        if (!sender.add(partitionOf(keyBytes ?? value, partitions), { key: keyBytes, value, timestampMs: Date.now() })) await sender.room();
        progress.show(
          progressText(
            sender.counts.acknowledged,
            performance.now() - startedAt,
            bytes === undefined || mapping !== undefined ? undefined : read / bytes,
          ),
        );
      }
      await sender.flush();
      return { ...sender.counts, unkeyed };
    });
    progress.end();
    const { acknowledged, acknowledgedBytes, retries, unkeyed } = result;
    const elapsedMs = Math.round(performance.now() - startedAt);
    if (values.json === true)
      context.out(`${JSON.stringify({ sent: acknowledged, bytes: acknowledgedBytes, unkeyed, retries, elapsedMs })}\n`);
    else
      context.out(
        `${acknowledged} events sent in ${(elapsedMs / 1_000).toFixed(1)} s${unkeyed === 0 ? "" : `, ${unkeyed} without a ${values.key}`}\n`,
      );
    return context.stop.aborted ? EXIT.interrupted : EXIT.ok;
  },
};

async function nextDue(pacer: Pacer, stop: AbortSignal): Promise<number> {
  for (;;) {
    const due = pacer.take(performance.now(), 10_000);
    if (due > 0 || stop.aborted) return due;
    await sleep(2, undefined, { signal: stop }).catch(() => undefined);
  }
}

function openInput(file: string, { input }: CommandContext): { chunks: AsyncIterable<Uint8Array>; bytes: number | undefined } {
  if (file === "-") return { chunks: input, bytes: undefined };
  try {
    return { bytes: statSync(file).size, chunks: createReadStream(file) };
  } catch (thrown) {
    throw new UsageError(`${file}: ${toError(thrown).message}`);
  }
}

async function* inputLines(chunks: AsyncIterable<Uint8Array>, mapping: Mapping | undefined): AsyncGenerator<Buffer> {
  if (mapping === undefined) {
    yield* readLines(chunks);
    return;
  }
  // Rows with the same time are spread over it, so that a mapping looks ahead: it takes the rows whole.
  const rows: Record<string, unknown>[] = [];
  for await (const line of readLines(chunks)) rows.push(parseRow(line.toString(), rows.length + 1));
  for (const { line } of mapRows(rows, mapping)) yield Buffer.from(line);
}

function parseRow(line: string, number: number): Record<string, unknown> {
  try {
    const row: unknown = JSON.parse(line);
    if (typeof row === "object" && row !== null && !Array.isArray(row)) return row as Record<string, unknown>;
    throw new Error("not a JSON object");
  } catch (thrown) {
    throw new UsageError(`row ${number}: ${toError(thrown).message}`, "a mapping needs one JSON object per line");
  }
}

function progressText(sent: number, elapsedMs: number, share: number | undefined): string {
  const rate = `${sent} sent, ${Math.round((sent / Math.max(1, elapsedMs)) * 1_000)}/s`;
  if (share === undefined) return rate;
  const done = Math.min(30, Math.floor(share * 30));
  return `[${"#".repeat(done)}${" ".repeat(30 - done)}] ${Math.floor(Math.min(1, share) * 100)} %  ${rate}`;
}
