import { setTimeout as sleep } from "node:timers/promises";
import type { FetchedRecord, Kafka } from "#shared/clients/kafka/types.ts";
import { topicName } from "#shared/events/names.ts";
import { type Command, EXIT, numberOption, parseOptions, printable, UsageError } from "./command.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { rowsOf, type Row, TAILS, type Tail } from "./topic-rows.ts";

/** Offsets looked at per row asked for, first try; markers of transactions and blocks of many rows are both among them. */
const STEP = 4;
const FOLLOW_WAIT_MS = 250;

interface Placed {
  readonly timestampMs: number;
  readonly row: Row;
}

export const command: Command = {
  summary: "the last events, clean rows, windows, dead letters or late events",
  help: `usage: weir tail [${TAILS.join("|")}] [-n N] [--follow] [--json]

What was committed last, oldest first, over all partitions. For a person on a terminal, one JSON object per line otherwise.

  -n N        rows (default 10, at most 10000)
  --follow    go on with what comes
  --lane NAME  --data-dir DIR

examples:
  weir tail dlq -n 5
  weir tail clean --follow | jq .event_type
`,
  async run({ args, out, outIsTerminal, stop }) {
    const { values, positionals } = parseOptions(args, {
      rows: { type: "string", short: "n", default: "10" },
      follow: { type: "boolean", short: "f" },
    });
    const [name = "raw"] = positionals;
    const tail = TAILS.find((candidate) => candidate === name);
    if (tail === undefined || positionals.length > 1)
      throw new UsageError(`${name}: must be one of ${TAILS.join(", ")}`, "weir tail clean");
    const count = numberOption("rows", values.rows, { from: 0, to: 10_000, whole: true })!;
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const show = (row: Row): void => {
      if (values.json === true || !outIsTerminal) out(`${JSON.stringify(row)}\n`);
      else
        out(
          `${printable(
            Object.entries(row)
              .filter(([, value]) => value !== null)
              .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
              .join(" "),
          )}\n`,
        );
    };
    await withKafka(config, async (kafka) => {
      const topic = topicName(config.lane, tail);
      const partitions = Array.from({ length: await kafka.partitionCount(topic) }, (_, partition) => partition);
      const tails = await Promise.all(partitions.map((partition) => readTail(kafka, { topic, partition }, tail, count)));
      const last = tails.flatMap(({ rows }) => rows).sort((a, b) => a.timestampMs - b.timestampMs);
      for (const { row } of last.slice(Math.max(0, last.length - count))) show(row);
      if (values.follow === true) await follow(kafka, topic, tail, { positions: tails.map(({ end }) => end), stop, show });
    });
    return stop.aborted ? EXIT.interrupted : EXIT.ok;
  },
};

async function readTail(
  kafka: Kafka,
  at: { topic: string; partition: number },
  tail: Tail,
  count: number,
): Promise<{ rows: Placed[]; end: number }> {
  const [start, end] = await Promise.all([
    kafka.listOffset(at, "earliest", "read_committed"),
    kafka.listOffset(at, "latest", "read_committed"),
  ]);
  for (let step = Math.max(1, count * STEP); ; step *= 4) {
    const from = Math.max(start, end - step);
    const rows: Placed[] = [];
    for (let offset = from; offset < end;) {
      const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", maxWaitMs: 0 });
      if (answer === undefined || answer.nextOffset <= offset) break;
      for (const record of answer.records) if (record.offset < end) rows.push(...place(tail, at.partition, record));
      offset = answer.nextOffset;
    }
    if (rows.length >= count || from === start) return { rows: rows.slice(Math.max(0, rows.length - count)), end };
  }
}

function place(tail: Tail, partition: number, record: FetchedRecord): Placed[] {
  return rowsOf(tail, partition, record).map((row) => ({ timestampMs: record.timestampMs, row }));
}

async function follow(
  kafka: Kafka,
  topic: string,
  tail: Tail,
  { positions, stop, show }: { readonly positions: number[]; readonly stop: AbortSignal; readonly show: (row: Row) => void },
): Promise<void> {
  while (!stop.aborted) {
    const answers = await kafka.fetch(
      positions.map((offset, partition) => ({ topic, partition, offset })),
      { isolation: "read_committed", maxWaitMs: FOLLOW_WAIT_MS },
    );
    for (const answer of answers) {
      positions[answer.partition] = answer.nextOffset;
      for (const record of answer.records) for (const row of rowsOf(tail, answer.partition, record)) show(row);
    }
    await sleep(1);
  }
}
