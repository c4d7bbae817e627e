import { setTimeout as pause } from "node:timers/promises";
import type { Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { type Command, durationOption, EXIT, parseOptions, table } from "./command.ts";
import { explainLag, type LagFacts, seconds } from "./lag-explanation.ts";
import { findPipeline, withKafka } from "./pipeline.ts";

const WATCH_MS = 1_000;
/** One batch is enough to know when its first record came. */
const PEEK_BYTES = 64 << 10;

export const command: Command = {
  summary: "how far behind each partition is, in events and in time, and why",
  help: `usage: weir lag [--explain] [--for 1s] [--json] [--lane NAME] [--data-dir DIR]

Per partition: end of events.valid, committed position, what lies between in blocks, events and time (since the first waiting record was appended,
exactly), and the watermark. --explain looks twice, --for apart (default 1s), and says in words what holds the partition back.

examples:
  weir lag --explain
  weir lag --json | jq '.partitions | max_by(.lagMs)'
`,
  async run({ args, out }) {
    const { values } = parseOptions(args, { explain: { type: "boolean" }, for: { type: "string" } });
    const watchMs = durationOption("for", values.for, WATCH_MS);
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const rules = { ...config, nowMs: Date.now() };
    const facts = await withKafka(config, (kafka) => readLag(kafka, config, values.explain === true ? watchMs : null));
    const partitions = facts.map((one) =>
      Object.assign(one, {
        lagBlocks: one.validEnd - Math.max(0, one.committed),
        lagEvents: one.rawEnd - one.accounted,
        // Blocks that wait are older than events that are in none yet.
        lagMs: lagMs(one, rules.nowMs),
        watermarkLagMs: one.watermarkMs === null ? null : rules.nowMs - one.watermarkMs,
        why: values.explain === true ? explainLag(one, rules) : [],
      }),
    );
    if (values.json === true) {
      out(`${JSON.stringify({ lane: config.lane, generation: config.generation, atMs: rules.nowMs, partitions })}\n`);
      return EXIT.ok;
    }
    const rows = partitions.map(
      ({ partition, validEnd, committed, lagBlocks, lagEvents, lagMs: behindMs, watermarkMs, watermarkLagMs }) => [
        partition,
        validEnd,
        committed < 0 ? "none" : committed,
        lagBlocks,
        lagEvents,
        seconds(behindMs),
        watermarkMs === null ? "none" : new Date(watermarkMs).toISOString(),
        watermarkLagMs === null ? "" : seconds(watermarkLagMs),
      ],
    );
    out(table([["p", "log end", "committed", "blocks", "events", "behind", "watermark", "behind"], ...rows]));
    for (const { partition, why } of partitions)
      for (const [i, line] of why.entries()) out(`${i === 0 ? `\np${partition}  ` : "    "}${line}\n`);
    const slowest = partitions.reduce<(typeof partitions)[number] | null>(
      (least, one) => (one.watermarkMs !== null && (least === null || one.watermarkMs < least.watermarkMs!) ? one : least),
      null,
    );
    if (values.explain === true && slowest !== null && partitions.length > 1)
      out(`\npartition ${slowest.partition} has the earliest watermark\n`);
    return EXIT.ok;
  },
};

function lagMs({ waitingSinceMs, unvalidatedSinceMs }: LagFacts, nowMs: number): number {
  const since = Math.min(waitingSinceMs ?? Infinity, unvalidatedSinceMs ?? Infinity);
  return since === Infinity ? 0 : Math.max(0, nowMs - since);
}

/** `watchMs`: null = look once. */
async function readLag(kafka: Kafka, config: Config, watchMs: number | null): Promise<LagFacts[]> {
  const count = await kafka.partitionCount(topicName(config.lane, "valid"));
  const numbers = Array.from({ length: count }, (_, partition) => partition);
  const fromMs = performance.now();
  const first = await readPositions(kafka, config, numbers);
  const facts = await Promise.all(numbers.map((partition) => readPartition(kafka, config, partition, first[partition]!)));
  if (watchMs === null) return facts;
  await pause(Math.max(0, watchMs - (performance.now() - fromMs)));
  const afterMs = performance.now() - fromMs;
  const second = await readPositions(kafka, config, numbers);
  return facts.map((one, i) =>
    Object.assign(one, { later: { accounted: second[i]!.accounted, committed: second[i]!.committed, afterMs } }),
  );
}

interface Position {
  readonly committed: number;
  readonly accounted: number;
  readonly progress: Progress | null;
}

async function readPositions(kafka: Kafka, config: Config, numbers: readonly number[]): Promise<Position[]> {
  const topic = topicName(config.lane, "valid");
  const places = numbers.map((partition) => ({ topic, partition }));
  // Not the stable one: an open transaction is to be shown, not waited for.
  const commits = await kafka.committedOffsets(groupId(config, "processor"), places, { requireStable: false });
  return numbers.map((partition) => {
    const commit = commits.find((one) => one.partition === partition);
    const progress = commit === undefined || commit.metadata === "" ? null : (JSON.parse(commit.metadata) as Progress);
    return { committed: commit?.offset ?? -1, accounted: (progress?.hw ?? -1) + 1, progress };
  });
}

async function readPartition(kafka: Kafka, config: Config, partition: number, position: Position): Promise<LagFacts> {
  const at = (role: "raw" | "valid" | "clean"): TopicPartition => ({ topic: topicName(config.lane, role), partition });
  const [rawStart, rawEnd, validStart, validEnd, cleanEnd, cleanStable] = await Promise.all([
    kafka.listOffset(at("raw"), "earliest", "read_committed"),
    kafka.listOffset(at("raw"), "latest", "read_committed"),
    kafka.listOffset(at("valid"), "earliest", "read_committed"),
    kafka.listOffset(at("valid"), "latest", "read_committed"),
    kafka.listOffset(at("clean"), "latest", "read_uncommitted"),
    kafka.listOffset(at("clean"), "latest", "read_committed"),
  ]);
  const { committed, progress } = position;
  const accounted = Math.max(position.accounted, rawStart);
  const waiting = Math.max(committed, validStart);
  // Where all blocks are folded, the first event that is not accounted for is in no block.
  const isFolded = waiting >= validEnd;
  const [waitingSinceMs, unvalidatedSinceMs] = await Promise.all([
    isFolded ? null : appendedAtMs(kafka, at("valid"), waiting),
    isFolded && accounted < rawEnd ? appendedAtMs(kafka, at("raw"), accounted) : null,
  ]);
  return {
    partition,
    rawEnd,
    accounted,
    validEnd,
    committed,
    hiddenRecords: Math.max(0, cleanEnd - cleanStable),
    waitingSinceMs,
    unvalidatedSinceMs,
    watermarkMs: progress?.watermarkMs ?? null,
    logTimeMs: progress?.logTimeMs ?? null,
    later: null,
  };
}

async function appendedAtMs(kafka: Kafka, at: TopicPartition, offset: number): Promise<number | null> {
  const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", maxWaitMs: 100, partitionMaxBytes: PEEK_BYTES });
  const timestampMs = answer?.records[0]?.timestampMs ?? null;
  answer?.release?.();
  return timestampMs;
}
