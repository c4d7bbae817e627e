/** From readings to Prometheus text and CloudWatch documents: nothing emitted that the catalogue lacks, nothing in it that is never emitted. */
import { expect, test } from "vitest";
import { processorSeries } from "#processor/observe/process-metrics.ts";
import { TaskMetrics } from "#processor/observe/task-metrics.ts";
import type { Progress } from "#shared/events/progress.ts";
import { FencedError, UnknownOutcomeError } from "#shared/kernel/errors.ts";
import { EmfMetrics } from "#shared/telemetry/emf.ts";
import { type Metric, METRICS } from "#shared/telemetry/metrics-catalogue.ts";
import { prometheusName, prometheusText } from "#shared/telemetry/prometheus.ts";
import { type Series, SeriesEmitter } from "#shared/telemetry/series.ts";
import { decodeMinuteRows } from "#sinks/minutes/minute-rows.ts";
import { QualityGauge } from "#sinks/minutes/quality-gauge.ts";
import { SinkMetrics } from "#sinks/runtime/sink-metrics.ts";
import { minuteBlock, qualityRow } from "#test/support/minute-blocks.ts";
import { blockOf } from "#test/support/observed-block.ts";
import { parsePrometheus } from "#test/support/prometheus-text.ts";

const NOW_MS = 1_800_000_000_000;

function progressAt(rows: number): Progress {
  return {
    v: 1,
    hw: rows - 1,
    oseq: { clean: rows * 0.9, windows: rows / 10, dlq: rows * 0.05, late: rows * 0.02, partials: 0, alerts: 0 },
    watermarkMs: NOW_MS - 7_000,
    logTimeMs: NOW_MS,
    hash: "0".repeat(16),
    foldVersion: 1,
    rulesVersion: 1,
    cut: 1,
    counts: { raw: rows, clean: rows * 0.9, deadLettered: rows * 0.05, duplicate: rows * 0.03, late: rows * 0.02, redelivered: rows },
  };
}

let steadyMs = 0;
const clock = { epochMs: () => NOW_MS, steadyMs: () => steadyMs };

/** A task that ran, committed 1,000 rows in 8 ms, wrote a snapshot, and has two blocks before it. */
function workedTask(partition: number): TaskMetrics {
  steadyMs = 0;
  const task = new TaskMetrics(partition, clock);
  task.recovering();
  steadyMs = 50;
  const fold = { memory: () => ({ ids: 1_000, session_30s: 24 }), progress: () => progressAt(1_000) };
  task.recovered({ offset: 10, replayedRecords: 4, fold });
  task.fetched([{ headers: [] }, blockOf(1_999, NOW_MS - 80)], 12);
  steadyMs = 60;
  task.fetched([], 14);
  task.copying();
  steadyMs = 62;
  task.copied();
  task.sent();
  steadyMs = 70;
  task.committed(12, progressAt(2_000));
  task.snapshotWritten({ storedBytes: 512, durationMs: 30 });
  steadyMs = 100;
  return task;
}

const FACTS = { residentBytes: 5_000_000, eventLoopDelayMs: 1.5 };
const seriesOf = (...tasks: readonly TaskMetrics[]): Series[] =>
  processorSeries([{ threadId: 0, spansDropped: 3, tasks: tasks.map((task) => task.read()) }], FACTS);
const valueOf = (series: readonly Series[], name: string, labels: object = {}): unknown =>
  series.find(
    (one) => one.name === name && Object.entries(labels).every(([key, value]) => (one.labels as Record<string, string>)[key] === value),
  )?.value;
const namesOf = (emitter: Metric["emitter"]): string[] =>
  Object.entries<Metric>(METRICS)
    .filter(([, metric]) => metric.emitter === emitter)
    .map(([name]) => name)
    .toSorted();

function sinkMetrics(): SinkMetrics {
  const metrics = new SinkMetrics();
  const records = [{ offset: 4, count: 30 }] as unknown as Parameters<ReturnType<SinkMetrics["around"]>["deliver"]>[0];
  const store = { resume: async () => ({ offset: 4, oseq: 7 }), deliver: async () => ({ offset: 5, oseq: 37 }) };
  const quality = new QualityGauge();
  quality.see(decodeMinuteRows("quality", minuteBlock("quality", [qualityRow({ total: 200, accurate: 199 })])), NOW_MS);
  metrics.also(() => quality.series(NOW_MS + 60_000));
  const counted = metrics.around(store, "clickhouse.clean", { topic: "events.clean", partition: 1 });
  return Object.assign(metrics, { run: async () => [await counted.resume(null), await counted.deliver(records)] });
}

test("a worked task shows its lags, its rows by fate, and what its commit and snapshot took", () => {
  const series = seriesOf(workedTask(3));
  expect(valueOf(series, "WatermarkLagSeconds", { partition: "3" })).toBe(7);
  expect(valueOf(series, "OffsetLag", { partition: "3" })).toBe(2);
  // The end passed 12 at 50 ms and reached 14 at 60: at 12 the line is at its beginning.
  expect(valueOf(series, "TimeLagSeconds", { partition: "3" })).toBe(0.05);
  expect(valueOf(series, "CheckpointAgeSeconds", { partition: "3" })).toBe(0.03);
  expect(valueOf(series, "RowsIn")).toBe(1_000);
  expect(valueOf(series, "Late")).toBe(20);
  expect(valueOf(series, "DeadLetters")).toBe(50);
  expect(valueOf(series, "Duplicates")).toBe(30);
  expect(valueOf(series, "RowsOut", { output: "clean" })).toBe(900);
  expect(valueOf(series, "StateBytes", { table: "ids" })).toBe(1_000);
  expect(valueOf(series, "CommitDurationMs")).toMatchObject({ count: 1, sumMs: 8 });
  expect(valueOf(series, "EpochDurationMs")).toMatchObject({ count: 1, sumMs: 20 });
  expect(valueOf(series, "EndToEndMs")).toMatchObject({ count: 1, sumMs: 80 });
  expect(valueOf(series, "RecoveryDurationMs")).toMatchObject({ count: 1, sumMs: 50 });
  expect(valueOf(series, "CheckpointPauseMs")).toMatchObject({ count: 1, sumMs: 2 });
  expect(valueOf(series, "ReplayedBlocks")).toBe(4);
});

test("failures count by what they were", () => {
  const task = workedTask(0);
  task.sessionLost(new UnknownOutcomeError("no answer", { code: "KAFKA_COMMIT_UNKNOWN" }));
  task.sessionLost(new FencedError("a newer owner", { code: "KAFKA_FENCED" }));
  const series = seriesOf(task);
  expect(["TxnUnknownOutcome", "Fenced", "SessionsLost"].map((name) => valueOf(series, name))).toEqual([1, 1, 1]);
});

test("a partition that was given up has no lag of ours, but its counts stay counted", () => {
  const gone = workedTask(1);
  gone.ended();
  const series = seriesOf(workedTask(0), gone);
  expect(valueOf(series, "PartitionsOwned")).toBe(1);
  expect(valueOf(series, "OffsetLag", { partition: "1" })).toBeUndefined();
  expect(valueOf(series, "RowsIn")).toBe(2_000);
});

test("a partition that refuses to start is a series of 1 among those that are well, and one number in CloudWatch", () => {
  const readings = [{ threadId: 0, spansDropped: 0, tasks: [workedTask(3).read()] }];
  const series = processorSeries(readings, FACTS, [5, 7]);
  expect(["3", "5", "7"].map((partition) => valueOf(series, "PartitionRefused", { partition }))).toEqual([0, 1, 1]);
  expect(valueOf(processorSeries(readings, FACTS, [3]), "PartitionRefused", { partition: "3" }), "while it is tried again").toBe(1);
  const documents: Record<string, unknown>[] = [];
  const write = (line: string): void => void documents.push(JSON.parse(line) as Record<string, unknown>);
  new SeriesEmitter(
    new EmfMetrics({ dimensions: { service: "s", environment: "e", lane: "l" }, intervalMs: 0, now: () => NOW_MS, write }),
  ).emit(series);
  expect(documents[0]).toMatchObject({ PartitionRefused: 2 });
});

test("the processor emits every metric of its own in the catalogue, and no other", () => {
  expect([...new Set(seriesOf(workedTask(0)).map(({ name }) => name))].toSorted()).toEqual(namesOf("processor"));
});

test("the sinks emit every metric of theirs in the catalogue, and no other", async () => {
  const metrics = sinkMetrics() as SinkMetrics & { run(): Promise<unknown> };
  await metrics.run();
  await metrics.look({ listOffset: () => Promise.resolve(9) });
  const series = metrics.series();
  expect([...new Set(series.map(({ name }) => name))].toSorted()).toEqual(namesOf("sinks"));
  expect(valueOf(series, "SinkRows", { sink: "clickhouse.clean" })).toBe(30);
  expect([valueOf(series, "QualityAccuracy"), valueOf(series, "QualityUniqueness")]).toEqual([99.5, 100]);
  expect(valueOf(series, "SinkOffsetLag", { sink: "clickhouse.clean", partition: "1" })).toBe(4);
});

test("a gauge or count by label says so in the catalogue, and a gauge says what becomes of its series in CloudWatch", () => {
  for (const { name, labels } of seriesOf(workedTask(0))) {
    const metric: Metric = METRICS[name];
    expect(Object.keys(labels).toSorted(), name).toEqual([...(metric.labels ?? [])].toSorted());
    if (metric.kind === "gauge" && metric.labels !== undefined) expect(metric.across, name).toBeDefined();
  }
});

test("Prometheus text reads back: names by its rules, base units, one family at a time, buckets that add up", () => {
  const text = prometheusText(seriesOf(workedTask(0), workedTask(1)), { lane: 'li"ve\\\n' });
  const families = parsePrometheus(text);
  expect([...families.keys()].toSorted()).toEqual(
    namesOf("processor")
      .map((name) => prometheusName(name as keyof typeof METRICS))
      .toSorted(),
  );
  expect(families.get("weir_watermark_lag_seconds")).toMatchObject({ type: "gauge" });
  expect(
    families.get("weir_watermark_lag_seconds")!.samples.map(({ labels, value }) => [labels["lane"], labels["partition"], value]),
  ).toEqual([
    ['li"ve\\\n', "0", 7],
    ['li"ve\\\n', "1", 7],
  ]);
  expect(families.get("weir_txn_unknown_outcome_total")).toMatchObject({ type: "counter" });
  const commits = families.get("weir_commit_duration_seconds")!;
  expect(commits.type).toBe("histogram");
  const buckets = commits.samples.filter(({ name }) => name.endsWith("_bucket"));
  expect(buckets.at(-1)).toMatchObject({ labels: { le: "+Inf" }, value: 2 });
  expect(commits.samples.find(({ name }) => name.endsWith("_sum"))!.value).toBeCloseTo(0.016);
  expect(buckets.map(({ value }) => value)).toEqual(buckets.map(({ value }) => value).toSorted((a, b) => a - b));
});

test("CloudWatch gets what came since its last document, partitions as one: the largest lag, the sum of rows", () => {
  const lines: string[] = [];
  const dimensions = { service: "processor", environment: "test", lane: "live" };
  const emitter = new SeriesEmitter(new EmfMetrics({ dimensions, intervalMs: 0, now: () => NOW_MS, write: (line) => lines.push(line) }));
  const [first, second] = [workedTask(0), workedTask(1)];
  emitter.emit(seriesOf(first, second));
  second.sent();
  steadyMs += 16;
  second.committed(14, progressAt(2_500));
  emitter.emit(seriesOf(first, second));
  const [before, after] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(before).toMatchObject({ RowsIn: 2_000, Epochs: 2, WatermarkLagSeconds: 7, StateBytes: 2_048, OffsetLag: 2 });
  expect(after).toMatchObject({ RowsIn: 500, Epochs: 1, OffsetLag: 2 });
  expect(after!["CommitDurationMs"]).toHaveLength(1);
  expect((after!["CommitDurationMs"] as number[])[0]! / 16).toBeCloseTo(1, 1);
});
