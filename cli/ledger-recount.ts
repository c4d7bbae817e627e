/**
 * The recount with its I/O: waits until everything that was produced is counted and written, then reads topics (by an independent client) and
 * tables and hands every offset to the arithmetic of shared/ledger.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { readCommitted } from "#shared/clients/kafka/independent-reader.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { decodeClean, decodeLate } from "#shared/events/block.ts";
import { groupId, HEADERS, topicName, type TopicRole } from "#shared/events/names.ts";
import { PartitionRecount, type PartitionResult } from "#shared/ledger/recount.ts";
import { compareProgress, judge, type LedgerTotals, type Mismatch, sumOf, type Verdict } from "#shared/ledger/verdict.ts";
import { TimeoutError } from "./command.ts";
import { type PartitionProgress, readProgress } from "./progress.ts";
import { queryOne, readTableRows } from "./table-rows.ts";

export interface Recount {
  readonly verdict: Verdict;
  readonly lane: string;
  readonly generation: number;
  readonly totals: LedgerTotals;
  /** Trimmed by the high-water mark: redelivered by the event source mapping, not part of the identity. */
  readonly redelivered: number;
  readonly mismatches: readonly Mismatch[];
  readonly partitions: readonly PartitionResult[];
}

export interface RecountOptions {
  readonly kafka: Kafka;
  readonly config: Config;
  /** For the pipeline to get there; the recount itself takes what it takes. */
  readonly timeoutMs: number;
  readonly onStep?: (step: string) => void;
  readonly stop?: AbortSignal;
}

const POLL_MS = 100;
/** Ten seconds: an insert and its views take a tenth of one. */
const VIEW_LOOKS = 100;
const SETTLED_LOOKS = 20;

/** @throws TimeoutError when the pipeline is still behind, saying where. */
export async function recountLedger(options: RecountOptions): Promise<Recount> {
  const { kafka, config, onStep = () => undefined } = options;
  const deadline = performance.now() + options.timeoutMs;
  onStep("waiting for the processor");
  const progress = await folded(options, deadline);
  onStep("waiting for the sink");
  await written(options, deadline, progress);

  const recounts = progress.map(
    ({ partition, rawStart, rawEnd }) =>
      new PartitionRecount({ partition, firstOffset: rawStart, endOffset: rawEnd, dedupHorizonMs: config.dedupHorizonMs }),
  );
  onStep("reading the outputs");
  await readTopic(config, "clean", ({ partition, value }) => {
    if (value === null) return;
    const { rows, sourceOffset } = decodeClean(value);
    for (let i = 0; i < rows; i++) recounts[partition]!.addClean(sourceOffset[i]!);
  });
  await readTopic(config, "late", ({ partition, value }) => {
    if (value === null) return;
    const { rows, sourceOffset, eventId, logTimeMs } = decodeLate(value);
    for (let i = 0; i < rows; i++) recounts[partition]!.addLate(sourceOffset[i]!, eventId, 16 * i, logTimeMs[i]!);
  });
  await readTopic(config, "dlq", ({ partition, headers }) => {
    const source = /\/(\d+)$/.exec(headers[HEADERS.source]?.toString() ?? "")?.[1];
    recounts[partition]!.addDeadLetter(source === undefined ? Number.MAX_SAFE_INTEGER : Number(source));
  });
  onStep("reading ClickHouse");
  await readTableRows(config, (partition, sourceOffset, ids, at, logTimeMs) =>
    recounts[partition]?.addTableRow(sourceOffset, ids, at, logTimeMs),
  );
  onStep("reading events.raw");
  await readTopic(config, "raw", ({ partition, offset, value }) => recounts[partition]!.addRaw(offset, () => readEventId(value)));

  const now = await readProgress(kafka, config);
  const partitions = recounts.map((recount, partition) => recount.result(now[partition]!.rawEnd));
  const mismatches = [...progressMismatches(progress, partitions), ...(await viewMismatches(config, options.stop))];
  const totals = sumOf(partitions);
  return {
    verdict: judge(totals, mismatches),
    lane: config.lane,
    generation: config.generation,
    totals,
    redelivered: progress.reduce((sum, each) => sum + (each.progress?.counts.redelivered ?? 0), 0),
    mismatches,
    partitions,
  };
}

/** Progress whose high-water mark has reached what events.raw held when this began. */
async function folded({ kafka, config, stop, timeoutMs }: RecountOptions, deadline: number): Promise<PartitionProgress[]> {
  const first = await readProgress(kafka, config);
  for (let current = first; ; current = await readProgress(kafka, config)) {
    const behind = first.filter(
      ({ partition, rawStart, rawEnd }) => rawEnd > rawStart && (current[partition]?.progress?.hw ?? -1) + 1 < rawEnd,
    );
    // The end stays the first one: producers may go on. The progress may be further.
    if (behind.length === 0)
      return current.map((each, i) => Object.assign(each, { rawStart: first[i]!.rawStart, rawEnd: first[i]!.rawEnd }));
    if (performance.now() > deadline) {
      const where = behind.map(
        ({ partition, rawEnd }) => `partition ${partition} at ${(current[partition]?.progress?.hw ?? -1) + 1} of ${rawEnd}`,
      );
      throw new TimeoutError(`the processor is behind after ${timeoutMs / 1_000} s: ${where.join(", ")}`, {
        code: "VERIFY_PROCESSOR_BEHIND",
        hint: "weir status",
      });
    }
    await sleep(POLL_MS, undefined, stop === undefined ? {} : { signal: stop });
  }
}

/** The sink has committed everything that events.clean held when the processor had got there. */
async function written(
  { kafka, config, stop, timeoutMs }: RecountOptions,
  deadline: number,
  progress: readonly PartitionProgress[],
): Promise<void> {
  const clean = topicName(config.lane, "clean");
  const group = groupId(config, "sink-clickhouse");
  const wanted = await Promise.all(progress.map(({ partition }) => lastRecord(kafka, { topic: clean, partition })));
  for (;;) {
    const committed = await kafka.committedOffsets(
      group,
      progress.map(({ partition }) => ({ topic: clean, partition })),
      { requireStable: false },
    );
    const behind = progress.filter(
      ({ partition }) => (committed.find((at) => at.partition === partition)?.offset ?? -1) <= wanted[partition]!,
    );
    const lacking = behind.filter(({ partition }) => wanted[partition]! >= 0);
    if (lacking.length === 0) return;
    if (performance.now() > deadline) {
      const where = lacking.map(({ partition }) => `partition ${partition}`).join(", ");
      throw new TimeoutError(`the ClickHouse sink is behind after ${timeoutMs / 1_000} s: ${where}`, {
        code: "VERIFY_SINK_BEHIND",
        hint: "weir status",
      });
    }
    await sleep(POLL_MS, undefined, stop === undefined ? {} : { signal: stop });
  }
}

/** Offset of the last data record; -1 = none. The log's end counts markers of transactions too. */
async function lastRecord(kafka: Kafka, at: { readonly topic: string; readonly partition: number }): Promise<number> {
  const [start, end] = await Promise.all([
    kafka.listOffset(at, "earliest", "read_committed"),
    kafka.listOffset(at, "latest", "read_committed"),
  ]);
  for (let from = end; from > start;) {
    const until = from;
    from = Math.max(start, from - 16);
    let last = -1;
    for (let offset = from; offset < until;) {
      const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed", maxWaitMs: 0 });
      if (answer === undefined || answer.nextOffset <= offset) break;
      last = Math.max(last, answer.records.findLast((record) => record.offset < end)?.offset ?? -1);
      offset = answer.nextOffset;
    }
    if (last >= 0) return last;
  }
  return -1;
}

interface TopicRecord {
  readonly partition: number;
  readonly offset: number;
  readonly value: Buffer | null;
  readonly headers: Readonly<Record<string, Buffer>>;
}

/** A reader may start over after a rebalance: what it shows again is not another record. */
async function readTopic(config: Config, role: TopicRole, visit: (record: TopicRecord) => void): Promise<void> {
  const seen = new Map<number, number>();
  await readCommitted(config.kafka.split(","), topicName(config.lane, role), (record) => {
    if (record.offset <= (seen.get(record.partition) ?? -1)) return;
    seen.set(record.partition, record.offset);
    visit(record);
  });
}

/** Null: not an id that the pipeline could have read. */
export function readEventId(value: Uint8Array | null): Uint8Array | null {
  try {
    const event: unknown = JSON.parse(Buffer.from(value ?? []).toString());
    if (typeof event !== "object" || event === null || !("event_id" in event) || typeof event.event_id !== "string") return null;
    const hex = event.event_id.replaceAll("-", "");
    return /^[0-9a-fA-F]{32}$/.test(hex) ? Buffer.from(hex, "hex") : null;
  } catch {
    return null;
  }
}

function progressMismatches(progress: readonly PartitionProgress[], results: readonly PartitionResult[]): Mismatch[] {
  return progress.flatMap(({ progress: claimed, rawStart, rawEnd }, partition) => {
    // Only where both speak of the same offsets: nothing expired, nothing produced since.
    if (claimed === null || rawStart > 0 || claimed.hw + 1 !== rawEnd) return [];
    return compareProgress(results[partition]!, claimed.counts);
  });
}

/**
 * The materialised view adds up to the table under it, short of the live lane's 90 days, since the two tables drop expired rows each in its own
 * time. While a sink writes, the view is a moment behind: rows that it lacks or has twice keep the sums apart for good, a write in flight only
 * until it ends, so one equal pair is proof and the look is repeated until then. Under a load where some insert is always in flight, the live
 * lane's settled minutes are compared instead: an event older than ten minutes would be late, so no row can come to them any more.
 */
async function viewMismatches(config: Config, stop: AbortSignal | undefined): Promise<Mismatch[]> {
  const kept = (minute: string): string => `lane = {lane:String} AND (lane != 'live' OR ${minute} > now() - INTERVAL 80 DAY)`;
  const ofRow = "toStartOfMinute(toDateTime(event_time, 'UTC'))";
  const settled = (minute: string): string => `${minute} < now() - INTERVAL 10 MINUTE`;
  for (let looks = 1; ; looks++) {
    const [view, table, settledView, settledTable] = await queryOne<{
      readonly view: readonly [number, number];
      readonly table: readonly [number, number];
    }>(
      config,
      `SELECT (SELECT (sum(events), sumIf(events, ${settled("minute")})) FROM user_activity_1min WHERE ${kept("minute")}) AS view,
              (SELECT (count(), countIf(${settled(ofRow)})) FROM events WHERE ${kept(ofRow)}) AS table`,
    ).then(({ view, table }) => [view[0], table[0], view[1], table[1]] as const);
    if (view === table) return [];
    if (looks >= SETTLED_LOOKS && config.lane === "live" && settledView === settledTable && view < table) return [];
    if (looks === VIEW_LOOKS) return [{ what: "events in user_activity_1min", recounted: table, claimed: view }];
    await sleep(POLL_MS, undefined, stop === undefined ? {} : { signal: stop });
  }
}
