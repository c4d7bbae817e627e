/**
 * Every metric of the pipeline: what code emits, what dashboards draw and what alarms watch. A name is an interface: it is never reused and never
 * renamed. All carry the dimensions {@link BASE_DIMENSIONS}; a further one costs a time series per value, so its values must be few and known.
 */

/** In CloudWatch. */
export const METRICS_NAMESPACE = "Weir";

export const BASE_DIMENSIONS = ["service", "environment", "lane"] as const;

/** Units as CloudWatch spells them (docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html). */
export type MetricUnit = "Count" | "Bytes" | "Milliseconds" | "Seconds" | "Percent" | "None";

/** count: added up · sample: each value kept, for percentiles · gauge: the latest value. */
export type MetricKind = "count" | "sample" | "gauge";

export interface Metric {
  readonly kind: MetricKind;
  readonly unit: MetricUnit;
  /** Beside {@link BASE_DIMENSIONS}. */
  readonly dimension?: "reason";
  /** Prometheus has a series per value of these; in CloudWatch, where each costs money, they become one ({@link Metric.across}). */
  readonly labels?: readonly MetricLabel[];
  /** What becomes of a gauge's series when they become one. Counts are added up, samples are put together. */
  readonly across?: "max" | "sum";
  readonly emitter: MetricEmitter;
  readonly help: string;
}

export type MetricEmitter = "validator" | "processor" | "sinks" | "api";
export type MetricLabel = "partition" | "output" | "table" | "sink";

export const METRICS = {
  BatchesValidated: { kind: "count", unit: "Count", emitter: "validator", help: "invocations whose blocks are all acknowledged" },
  BatchFailures: {
    kind: "count",
    unit: "Count",
    emitter: "validator",
    help: "invocations that threw, by infrastructure or wiring only: their batch comes again",
  },
  EventsIn: { kind: "count", unit: "Count", emitter: "validator", help: "records validated, repeated deliveries included" },
  EventsRejected: { kind: "count", unit: "Count", emitter: "validator", help: "of EventsIn, those that become dead letters" },
  EventsFlagged: { kind: "count", unit: "Count", emitter: "validator", help: "of EventsIn, those kept with a warning" },
  RejectsByReason: {
    kind: "count",
    unit: "Count",
    dimension: "reason",
    emitter: "validator",
    help: "EventsRejected by reason code (docs/REASONS.md); only reasons that occurred",
  },
  BytesIn: { kind: "count", unit: "Bytes", emitter: "validator", help: "values of the records of EventsIn" },
  BlocksProduced: { kind: "count", unit: "Count", emitter: "validator", help: "blocks acknowledged by events.valid" },
  BlockBytes: { kind: "count", unit: "Bytes", emitter: "validator", help: "size of BlocksProduced" },
  BatchDurationMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "validator",
    help: "an invocation, first line to last acknowledgement",
  },
  ProduceDurationMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "validator",
    help: "slowest acknowledgement of an invocation, waiting for a connection included",
  },
  RecordAgeMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "validator",
    help: "how long the oldest record of an invocation had been in events.raw: the lag of this stage in time",
  },
  ProduceRetries: {
    kind: "count",
    unit: "Count",
    emitter: "validator",
    help: "produces repeated after an answer that was lost or a login refused",
  },
  ColdStarts: { kind: "count", unit: "Count", emitter: "validator", help: "first invocations of a runtime" },
  InitDurationMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "validator",
    help: "process start to the function ready, connection and rules included",
  },
  RulesVersion: { kind: "gauge", unit: "None", emitter: "validator", help: "version of the rules release in use" },
  RulesAgeSeconds: {
    kind: "gauge",
    unit: "Seconds",
    emitter: "validator",
    help: "since the release in use was last confirmed to be the published one",
  },
  RulesFailingSeconds: {
    kind: "gauge",
    unit: "Seconds",
    emitter: "validator",
    help: "since when every look for a newer release has failed; 0 = it works",
  },
  OlderSchemaEvents: {
    kind: "count",
    unit: "Count",
    emitter: "validator",
    help: "accepted events of a schema version older than their type's newest; the log line names the versions",
  },
  PartitionsOwned: { kind: "gauge", unit: "Count", emitter: "processor", help: "partitions that a task of this process has" },
  PartitionsRunning: { kind: "gauge", unit: "Count", emitter: "processor", help: "of PartitionsOwned, those past their recovery" },
  PartitionRefused: {
    kind: "gauge",
    unit: "Count",
    labels: ["partition"],
    across: "sum",
    emitter: "processor",
    help: "1 = assigned to this process, and cannot start safely: it waits for a person (docs/runbooks/partition-refused.md)",
  },
  WatermarkLagSeconds: {
    kind: "gauge",
    unit: "Seconds",
    labels: ["partition"],
    across: "max",
    emitter: "processor",
    help: "now minus the committed watermark: how far behind windows close; on a historical lane the age of its data",
  },
  OffsetLag: {
    kind: "gauge",
    unit: "Count",
    labels: ["partition"],
    across: "max",
    emitter: "processor",
    help: "blocks of events.valid behind the committed position",
  },
  TimeLagSeconds: {
    kind: "gauge",
    unit: "Seconds",
    labels: ["partition"],
    across: "max",
    emitter: "processor",
    help: "since when the log has held something behind the committed position, between two looks by straight line; 0 = nothing",
  },
  CheckpointAgeSeconds: {
    kind: "gauge",
    unit: "Seconds",
    labels: ["partition"],
    across: "max",
    emitter: "processor",
    help: "since the newest snapshot, or since the task runs: what a recovery would have to replay",
  },
  CheckpointDurationMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "processor",
    help: "packing, writing and tidying up of a snapshot",
  },
  CheckpointPauseMs: { kind: "sample", unit: "Milliseconds", emitter: "processor", help: "how long the fold stood still to be copied" },
  CheckpointBytes: { kind: "count", unit: "Bytes", emitter: "processor", help: "snapshots as stored, compressed" },
  Checkpoints: { kind: "count", unit: "Count", emitter: "processor", help: "snapshots written" },
  CheckpointFailures: {
    kind: "count",
    unit: "Count",
    emitter: "processor",
    help: "snapshots that could not be written; the one before stays good",
  },
  Epochs: { kind: "count", unit: "Count", emitter: "processor", help: "transactions committed" },
  CommitDurationMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "processor",
    help: "a transaction, first produce to the coordinator's answer",
  },
  EndToEndMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "processor",
    help: "events.raw took the oldest event of an epoch to its outputs committed, whole pipeline included: no event of the epoch took longer",
  },
  EpochDurationMs: { kind: "sample", unit: "Milliseconds", emitter: "processor", help: "an epoch, its first block fetched to its commit" },
  BlocksIn: { kind: "count", unit: "Count", emitter: "processor", help: "records of events.valid folded, control records included" },
  RowsIn: {
    kind: "count",
    unit: "Count",
    emitter: "processor",
    help: "events committed: the sum of clean, dead-lettered, duplicate and late",
  },
  RowsOut: { kind: "count", unit: "Count", labels: ["output"], emitter: "processor", help: "rows committed, by output" },
  Late: { kind: "count", unit: "Count", emitter: "processor", help: "events behind the watermark, their window closed" },
  DeadLetters: { kind: "count", unit: "Count", emitter: "processor", help: "events that cannot be processed" },
  Duplicates: { kind: "count", unit: "Count", emitter: "processor", help: "events sent twice by their producer" },
  Redelivered: { kind: "count", unit: "Count", emitter: "processor", help: "events trimmed because the mapping delivered them again" },
  Fenced: { kind: "count", unit: "Count", emitter: "processor", help: "tasks ended by a newer owner of their partition" },
  TxnUnknownOutcome: { kind: "count", unit: "Count", emitter: "processor", help: "commits without an answer, decided by recovery" },
  SessionsLost: { kind: "count", unit: "Count", emitter: "processor", help: "tasks sent back to recovery by a failure" },
  Recoveries: { kind: "count", unit: "Count", emitter: "processor", help: "partitions brought back to their committed position" },
  RecoveryDurationMs: {
    kind: "sample",
    unit: "Milliseconds",
    emitter: "processor",
    help: "fence to standing at the committed position again",
  },
  ReplayedBlocks: { kind: "count", unit: "Count", emitter: "processor", help: "records of events.valid folded again by recoveries" },
  StateBytes: {
    kind: "gauge",
    unit: "Bytes",
    labels: ["table"],
    across: "sum",
    emitter: "processor",
    help: "memory of the state tables of all partitions of this process",
  },
  ResidentBytes: { kind: "gauge", unit: "Bytes", emitter: "processor", help: "memory of the process" },
  EventLoopDelayMs: {
    kind: "gauge",
    unit: "Milliseconds",
    emitter: "processor",
    help: "99th percentile of how late the main thread comes to its work, since the last look",
  },
  SpansDropped: {
    kind: "count",
    unit: "Count",
    emitter: "processor",
    help: "spans thrown away because the collector did not take them in time",
  },

  SinkRows: { kind: "count", unit: "Count", labels: ["sink"], emitter: "sinks", help: "rows of committed output delivered to their store" },
  SinkDeliveries: { kind: "count", unit: "Count", labels: ["sink"], emitter: "sinks", help: "batches delivered" },
  SinkRetries: {
    kind: "count",
    unit: "Count",
    labels: ["sink"],
    emitter: "sinks",
    help: "batches that a store did not take, delivered again",
  },
  SinkOffsetLag: {
    kind: "gauge",
    unit: "Count",
    labels: ["sink", "partition"],
    across: "max",
    emitter: "sinks",
    help: "records of the output topic behind what was delivered",
  },
  SinkDurationMs: { kind: "sample", unit: "Milliseconds", emitter: "sinks", help: "a delivery, until the store has taken it" },
  QualityCompleteness: {
    kind: "gauge",
    unit: "Percent",
    emitter: "sinks",
    help: "of the events of the newest closed minute, those that lack nothing (docs/QUALITY.md)",
  },
  QualityConsistency: {
    kind: "gauge",
    unit: "Percent",
    emitter: "sinks",
    help: "likewise: those that contradict neither schema nor rules",
  },
  QualityTimeliness: {
    kind: "gauge",
    unit: "Percent",
    emitter: "sinks",
    help: "likewise: those that came soon enough after they happened",
  },
  QualityUniqueness: { kind: "gauge", unit: "Percent", emitter: "sinks", help: "likewise: those that had not come before" },
  QualityAccuracy: {
    kind: "gauge",
    unit: "Percent",
    emitter: "sinks",
    help: "likewise: those whose values are in range and not out of the ordinary",
  },

  Reads: { kind: "count", unit: "Count", emitter: "api", help: "requests that were answered, with a value or that there is none" },
  ReadMisses: { kind: "count", unit: "Count", emitter: "api", help: "of Reads, those that Redis could not answer" },
  ReadsDegraded: {
    kind: "count",
    unit: "Count",
    emitter: "api",
    help: "of Reads, those that one store answered while the other was down or behind",
  },
} as const satisfies Record<string, Metric>;

export type MetricName = keyof typeof METRICS;

/** Metrics without a dimension of their own. */
export type PlainMetricName = { [N in MetricName]: (typeof METRICS)[N] extends { readonly dimension: string } ? never : N }[MetricName];
export type DimensionedMetricName = Exclude<MetricName, PlainMetricName>;
