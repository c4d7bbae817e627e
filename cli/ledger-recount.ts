/**
 * The recount with its I/O: waits until everything that was produced is counted and written, then reads topics (by an independent client) and
 * tables, partition by partition and range by range, and hands every offset to the arithmetic of shared/ledger. Memory does not grow with the log.
 */
import { IndependentStream } from "#shared/clients/kafka/independent-stream.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { decodeClean, decodeLate } from "#shared/events/block.ts";
import { HEADERS, topicName, type TopicRole } from "#shared/events/names.ts";
import type { RowFacts } from "#shared/ledger/range-rows.ts";
import { PartitionRecount, type PartitionResult, type Unresolved } from "#shared/ledger/recount.ts";
import { compareProgress, judge, type LedgerTotals, type Mismatch, sumOf, type Verdict } from "#shared/ledger/verdict.ts";
import { type CursorOptions, RowCursor } from "./ledger-cursor.ts";
import { type Beginning, beginningOf, type Since } from "./ledger-since.ts";
import { type Check, compareRedis, compareTable, compareView, compareWindowSums } from "./ledger-stores.ts";
import { stuckTransactions } from "./ledger-transactions.ts";
import { folded, type WaitOptions, written } from "./ledger-wait.ts";
import { type PartitionProgress, readProgress } from "./progress.ts";
import { queryRows, readTableRows } from "./table-rows.ts";
import { uuid } from "./topic-rows.ts";

export interface Recount {
  readonly verdict: Verdict;
  readonly lane: string;
  readonly generation: number;
  readonly totals: LedgerTotals;
  /** Trimmed by the high-water mark: redelivered by the event source mapping, not part of the identity. */
  readonly redelivered: number;
  readonly mismatches: readonly Mismatch[];
  /** What was compared, each with its own verdict. */
  readonly checks: readonly Check[];
  readonly partitions: readonly PartitionResult[];
}

export interface RecountOptions extends WaitOptions {
  readonly onStep?: (step: string) => void;
  /** Default: the whole log. */
  readonly since?: Since | undefined;
  /** Default: all. */
  readonly partition?: number | undefined;
}

/** @throws TimeoutError when the pipeline is still behind, saying where. */
export async function recountLedger(options: RecountOptions): Promise<Recount> {
  const { kafka, config, stop, onStep = () => undefined } = options;
  const deadline = performance.now() + options.timeoutMs;
  onStep("waiting for the processor");
  const isWanted = (partition: number): boolean => options.partition === undefined || options.partition === partition;
  const progress = (await folded(options, deadline, isWanted)).filter(({ partition }) => isWanted(partition));
  const numbers = progress.map(({ partition }) => partition);
  onStep("looking for transactions that nobody ends");
  const stuck = await stuckTransactions(kafka, config, numbers);
  onStep("waiting for the sinks");
  await written(options, deadline, numbers);
  const beginning = options.since === undefined ? undefined : await beginningOf(options.since, { kafka, config, partitions: numbers });

  const partitions: PartitionResult[] = [];
  const mismatches: Mismatch[] = [...stuck];
  for (const each of progress) partitions.push(await recountPartition(options, each, beginning, mismatches));
  const claims = beginning === undefined ? progressMismatches(progress, partitions) : null;
  onStep("comparing the stores");
  const from = (role: TopicRole) => beginning?.outputs.get(role);
  const stores = [
    await compareView(config, stop),
    await compareTable(config, "windows", progress, from("windows")),
    await compareWindowSums(config, progress),
    await compareTable(config, "dlq", progress, from("dlq")),
    await compareRedis(options, progress, deadline),
  ];
  mismatches.push(...(claims ?? []), ...stores.flatMap((store) => store.mismatches));
  const totals = sumOf(partitions);
  return {
    verdict: judge(totals, mismatches),
    lane: config.lane,
    generation: config.generation,
    totals,
    redelivered: progress.reduce((sum, each) => sum + (each.progress?.counts.redelivered ?? 0), 0),
    mismatches,
    checks: [
      { name: "every offset of events.raw", verdict: judge(totals, []), detail: `${totals.raw} offsets` },
      claimsCheck(claims, totals.raw),
      { name: "open transactions", verdict: stuck.length > 0 ? "unbalanced" : "balanced", detail: `${stuck.length} that nobody ends` },
      ...stores.map(({ check }) => check),
    ],
    partitions,
  };
}

async function recountPartition(
  { kafka, config, stop, onStep = () => undefined }: RecountOptions,
  { partition, rawStart, rawEnd }: PartitionProgress,
  beginning: Beginning | undefined,
  mismatches: Mismatch[],
): Promise<PartitionResult> {
  const address = await kafkaOptions(config);
  const firstOffset = Math.min(rawEnd, Math.max(rawStart, beginning?.raw(partition) ?? 0));
  const recount = new PartitionRecount({ partition, firstOffset, endOffset: rawEnd, dedupHorizonMs: config.dedupHorizonMs });
  const open = (role: TopicRole, fromOffset = 0): Promise<IndependentStream> =>
    IndependentStream.open(address, { topic: topicName(config.lane, role), partition, fromOffset });
  const from = (role: TopicRole): number => beginning?.outputs.get(role)?.(partition) ?? 0;
  const [cleanStream, lateStream, letterStream, rawStream] = await Promise.all([
    open("clean", from("clean")),
    open("late", from("late")),
    open("dlq", from("dlq")),
    open("raw", firstOffset),
  ]);
  const cursor = <C>(role: TopicRole, stream: IndependentStream, how: Pick<CursorOptions<C>, "decode" | "key">): RowCursor<C> =>
    new RowCursor({ stream, name: `${topicName(config.lane, role)}, partition ${partition}`, generation: config.generation, ...how });
  const clean = cursor("clean", cleanStream, {
    decode: ({ value }) => wrap(decodeClean(value!)),
    key: ({ sourceOffset }, row) => sourceOffset[row]!,
  });
  const late = cursor("late", lateStream, {
    decode: ({ value }) => wrap(decodeLate(value!)),
    key: ({ sourceOffset }, row) => sourceOffset[row]!,
  });
  const letters = cursor("dlq", letterStream, {
    decode: ({ headers }) => ({ rows: 1, columns: sourceOffsetOf(headers[HEADERS.source]) }),
    key: (offset) => offset,
  });
  const facts: RowFacts = { logTimeMs: 0, eventTimeMs: 0, userLow: 0, userHigh: 0, value: 0, oseq: 0 };
  const raw = new RawReader(rawStream);
  try {
    await clean.upTo(firstOffset, ({ sourceOffset, eventId, logTimeMs }, i) =>
      recount.addKnown(sourceOffset[i]!, eventId, 16 * i, logTimeMs[i]!),
    );
    await late.upTo(firstOffset, ({ sourceOffset, eventId, logTimeMs }, i) =>
      recount.addKnown(sourceOffset[i]!, eventId, 16 * i, logTimeMs[i]!),
    );
    await letters.upTo(firstOffset, () => undefined);
    for (let first = firstOffset; first < rawEnd; first += recount.rangeSize) {
      stop?.throwIfAborted();
      const end = Math.min(rawEnd, first + recount.rangeSize);
      const step = (what: string): void => onStep(`partition ${partition}: ${what}, offsets ${first} to ${end} of ${rawEnd}`);
      recount.begin(first, end);
      step("reading the outputs");
      await clean.upTo(end, (columns, i, oseq) => {
        facts.logTimeMs = columns.logTimeMs[i]!;
        facts.eventTimeMs = columns.eventTimeMs[i]!;
        facts.userLow = columns.userId[2 * i]!;
        facts.userHigh = columns.userId[2 * i + 1]!;
        facts.value = columns.value[i]!;
        facts.oseq = oseq;
        recount.addClean(columns.sourceOffset[i]!, columns.eventId, 16 * i, facts);
      });
      await late.upTo(end, ({ sourceOffset, eventId, logTimeMs }, i) => recount.addLate(sourceOffset[i]!, eventId, 16 * i, logTimeMs[i]!));
      await letters.upTo(end, (offset) => recount.addDeadLetter(offset));
      step("reading ClickHouse");
      await readTableRows(config, { partition, first, end }, (offset, ids, at, found) => recount.addTableRow(offset, ids, at, found));
      step("reading events.raw");
      await raw.upTo(end, (offset, timestampMs, value) => recount.addRaw(offset, timestampMs, value));
      recount.finishRange();
    }
    for (const beyond of [await clean.peek(), await late.peek(), await letters.peek(), await lastTableOffset(config, partition)])
      if (beyond !== null && beyond >= rawEnd) recount.addBeyond(beyond);
    const now = await readProgress(kafka, config);
    mismatches.push(...clean.mismatches, ...late.mismatches, ...letters.mismatches);
    mismatches.push(...(await tornCuts(config, partition, recount.topicOnlyExamples)));
    return await recount.result(now[partition]!.rawEnd, (unresolved) =>
      firstOffset === 0 ? Promise.resolve(new Set()) : earlierOriginals(config, partition, unresolved),
    );
  } finally {
    recount.close();
    await Promise.all([clean.close(), late.close(), letters.close(), rawStream.close()]);
  }
}

function wrap<C extends { readonly rows: number }>(columns: C): { rows: number; columns: C } {
  return { rows: columns.rows, columns };
}

/** A dead letter without its origin is right nowhere. */
function sourceOffsetOf(source: Buffer | undefined): number {
  const offset = /\/(\d+)$/.exec(source?.toString() ?? "")?.[1];
  return offset === undefined ? Number.MAX_SAFE_INTEGER : Number(offset);
}

class RawReader {
  readonly #stream: IndependentStream;
  #records: Awaited<ReturnType<IndependentStream["next"]>> = [];
  #next = 0;

  constructor(stream: IndependentStream) {
    this.#stream = stream;
  }

  async upTo(end: number, visit: (offset: number, timestampMs: number, value: Uint8Array | null) => void): Promise<void> {
    while (this.#records !== null) {
      for (; this.#next < this.#records.length; this.#next++) {
        const { offset, timestampMs, value } = this.#records[this.#next]!;
        if (offset >= end) return;
        visit(offset, timestampMs, value);
      }
      this.#next = 0;
      this.#records = await this.#stream.next();
    }
  }
}

async function lastTableOffset(config: RecountOptions["config"], partition: number): Promise<number | null> {
  const [found] = await queryRows<{ readonly last: number | null }>(
    config,
    "SELECT maxOrNull(source_offset) AS last FROM events WHERE lane = {lane:String} AND gen = {generation:UInt32} AND p = {partition:UInt16}",
    { partition },
  );
  return found?.last ?? null;
}

/** Where a table lacks rows of a cut that it has others of, the block is torn: it was to be written whole or not at all. */
async function tornCuts(config: RecountOptions["config"], partition: number, missing: readonly number[]): Promise<Mismatch[]> {
  if (missing.length === 0) return [];
  const torn = await queryRows<{ readonly cut: number; readonly rows: number; readonly span: number }>(
    config,
    `SELECT toFloat64(cut) AS cut, toFloat64(count()) AS rows, toFloat64(max(oseq) - min(oseq) + 1) AS span FROM events
     WHERE lane = {lane:String} AND gen = {generation:UInt32} AND p = {partition:UInt16}
     GROUP BY cut HAVING min(source_offset) < {last:UInt64} AND max(source_offset) > {first:UInt64} AND rows < span ORDER BY cut LIMIT 10`,
    { partition, first: missing[0]!, last: missing.at(-1)! },
  );
  return torn.map(({ cut, rows, span }) => ({
    what: `ClickHouse's events, partition ${partition}: cut ${cut} is torn; rows`,
    recounted: span,
    claimed: rows,
  }));
}

/** Originals that retention has taken from the topics stand in the table still. */
async function earlierOriginals(
  config: RecountOptions["config"],
  partition: number,
  unresolved: readonly Unresolved[],
): Promise<ReadonlySet<number>> {
  const known = new Set<number>();
  for (let from = 0; from < unresolved.length; from += 1_000) {
    const some = unresolved.slice(from, from + 1_000);
    const rows = await queryRows<{ readonly id: string; readonly first: number }>(
      config,
      `SELECT toString(event_id) AS id, toFloat64(min(source_offset)) AS first FROM events WHERE lane = {lane:String} AND gen = {generation:UInt32}
         AND p = {partition:UInt16} AND event_id IN (${some.map(({ id }) => `'${uuid(id, 0)}'`).join(",")}) GROUP BY event_id`,
      { partition },
    );
    const firsts = new Map(rows.map(({ id, first }) => [id, first]));
    for (const { offset, id } of some) if ((firsts.get(uuid(id, 0)) ?? offset) < offset) known.add(offset);
  }
  return known;
}

/** Null: the progress speaks of other offsets than the recount. */
function progressMismatches(progress: readonly PartitionProgress[], results: readonly PartitionResult[]): Mismatch[] | null {
  let compared = 0;
  const mismatches = progress.flatMap(({ progress: claimed, rawStart, rawEnd }, i) => {
    // Only where both speak of the same offsets: nothing expired, nothing produced since.
    if (claimed === null || rawStart > 0 || claimed.hw + 1 !== rawEnd) return [];
    compared++;
    return compareProgress(results[i]!, claimed.counts);
  });
  return compared === 0 ? null : mismatches;
}

function claimsCheck(claims: readonly Mismatch[] | null, raw: number): Check {
  const name = "the processor's own counts";
  if (claims === null || raw === 0) return { name, verdict: "unknown", detail: "they speak of other offsets" };
  return { name, verdict: claims.length === 0 ? "balanced" : "unbalanced", detail: `${claims.length} findings` };
}
