/** `weir dlq export`: letters as files, bytes unchanged. */
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { finished } from "node:stream/promises";
import { topicName } from "#shared/events/names.ts";
import { toError } from "#shared/kernel/errors.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, UsageError } from "../command.ts";
import { findPipeline, withKafka } from "../pipeline.ts";
import { FILTER_OPTIONS, matches, readFilter } from "./filter.ts";
import { wholeRecord } from "./letter.ts";
import { letterRanges, readLetters } from "./letters.ts";

const LINE_FEED = Buffer.from("\n");

export async function exportLetters({ args, out, err, stop }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    ...FILTER_OPTIONS,
    raw: { type: "boolean", default: false },
    limit: { type: "string" },
  });
  const [file] = positionals;
  if (positionals.length > 1) throw new UsageError("at most one FILE", "weir dlq export letters.jsonl");
  if (values.raw && file === undefined)
    throw new UsageError("--raw wants a FILE: the values may be bytes that no terminal shows", "weir dlq export --raw events.jsonl");
  const limit = numberOption("limit", values.limit, { from: 1, to: 1e12, whole: true }) ?? Number.POSITIVE_INFINITY;
  const filter = readFilter(values, Date.now());
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const topic = topicName(config.lane, "dlq");
  const sink = file === undefined ? undefined : openFile(file);
  let letters = 0;
  let cutShort = 0;
  let broken = 0;
  await withKafka(config, async (kafka) => {
    for await (const letter of readLetters(kafka, topic, await letterRanges(kafka, topic))) {
      if (stop.aborted || letters >= limit) break;
      if (!matches(filter, letter)) continue;
      const whole = await wholeRecord(kafka, letter);
      const { key, value, headers } = whole ?? letter;
      letters++;
      if (whole === null) cutShort++;
      if (values.raw) {
        if (value !== null && value.includes(0x0a)) broken++;
        await sink!.write(value === null ? LINE_FEED : Buffer.concat([value, LINE_FEED]));
        continue;
      }
      const { partition, offset, atMs, reason, pointer, source, rulesVersion, replays } = letter;
      const line = `${JSON.stringify({
        partition,
        offset,
        at: new Date(atMs).toISOString(),
        reason,
        pointer,
        source,
        rulesVersion,
        replays,
        whole: whole !== null,
        key: base64(key),
        value: base64(value),
        headers: headers.map(([name, bytes]) => [name, base64(bytes)]),
      })}\n`;
      if (sink === undefined) out(line);
      else await sink.write(line);
    }
  });
  await sink?.end();
  if (file !== undefined) err(`${letters} dead letters in ${file}\n`);
  if (cutShort > 0) err(`weir: of ${cutShort} only the beginning is left: they were too large, and events.raw has them no more\n`);
  if (broken > 0) err(`weir: ${broken} values hold line feeds, so a value is not always one line\n`);
  return stop.aborted ? EXIT.interrupted : EXIT.ok;
}

function openFile(file: string): { write(chunk: string | Uint8Array): Promise<void>; end(): Promise<void> } {
  const stream = createWriteStream(file, { flags: file.startsWith("/dev/") ? "w" : "wx" });
  let failure: Error | undefined;
  stream.on("error", (error) => (failure = error));
  const refuse = (): never => {
    throw new UsageError(`${file}: ${toError(failure).message}`, "an existing file is not overwritten");
  };
  return {
    async write(chunk) {
      if (failure !== undefined) refuse();
      if (!stream.write(chunk)) await once(stream, "drain").catch(refuse);
    },
    async end() {
      stream.end();
      await finished(stream).catch(refuse);
    },
  };
}

function base64(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString("base64");
}
