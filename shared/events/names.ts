/**
 * The one catalogue of topics, consumer groups and transactional ids. Code, infra and tests take the names from here.
 *
 * A *lane* is a whole pipeline of its own (topics, watermark, groups) over the same code and tables: `live` is the default and has no
 * prefix; history and tests run in lanes of their own, since each would make the other late or early.
 */

export const TOPICS = {
  raw: "events.raw",
  valid: "events.valid",
  clean: "events.clean",
  windows: "windows.results",
  partials: "metrics.partials",
  alerts: "alerts",
  dlq: "events.dlq",
  late: "events.late",
  /** Closed minutes of the whole lane (docs/specs/second-stage.md); one partition. */
  minutes: "metrics.minutes",
} as const;

export type TopicRole = keyof typeof TOPICS;

/** Topics that the processor writes inside its transaction, in the order in which their counters stand in {@link Progress.oseq}. */
export const OUTPUT_ROLES = ["clean", "windows", "dlq", "late", "partials", "alerts"] as const satisfies readonly TopicRole[];

export type OutputRole = (typeof OUTPUT_ROLES)[number];

/** `processor` and `second-stage` hold positions and have no members; `processor-members` has members and no positions. */
export type GroupRole = "validator" | "processor" | "processor-members" | "second-stage" | "sink-clickhouse" | "sink-redis";

export interface PipelineId {
  readonly lane: string;
  /** Grows by one when the partition count or the fold's meaning changes: nothing of two generations ever mixes. */
  readonly generation: number;
}

export function topicName(lane: string, role: TopicRole): string {
  return lane === "live" ? TOPICS[role] : `${lane}.${TOPICS[role]}`;
}

export function groupId(id: PipelineId, role: GroupRole): string {
  return `weir-${role}-${id.lane}-${id.generation}`;
}

export function transactionalId(id: PipelineId, partition: number): string {
  return `weir-${id.lane}-${id.generation}-${partition}`;
}

/** Begins as those of the partitions do, so that one prefix names all ids of the processor. */
export function secondStageTransactionalId(id: PipelineId): string {
  return `weir-${id.lane}-${id.generation}-minutes`;
}

/** Kafka header keys. Values are decimal text in UTF-8 unless said. */
export const HEADERS = {
  generation: "gen",
  partition: "p",
  /** events.valid: first and last source offset of the block, and its rows. */
  firstSourceOffset: "first",
  lastSourceOffset: "last",
  count: "count",
  rulesVersion: "rules",
  /** events.valid: sampled traces of the block's events, traceparents joined by commas (functions/validator/trace-links.ts); absent without one. */
  traces: "traces",
  /** events.valid: when events.raw took the block's oldest record (epoch milliseconds, Kafka's time), for the latency from end to end; absent when unknown. */
  oldest: "oldest",
  /** events.valid: `block` or a control record: `tick`, `rules`, `enrichment`, `drain`. Its value is JSON for control records. */
  kind: "kind",
  /** Outputs: position of the first row in the gap-free count of this output partition (first row ever = 1). */
  oseq: "oseq",
  /** events.clean: number of the cut the rows belong to, and "1" where the cut ends with this record. */
  cut: "cut",
  cutEnd: "cut-end",
  /** metrics.partials: no later record of this partition has rows of a minute that begins before it (epoch milliseconds). */
  mark: "mark",
  /** Progress as JSON, on the last record of each epoch's events.clean or, without one, of the last output. */
  progress: "progress",
  /** events.dlq: why, and `topic/partition/offset` of the record in events.raw. */
  reason: "weir-reason",
  pointer: "weir-pointer",
  source: "weir-source",
  letterRulesVersion: "weir-rules-version",
  /** events.raw and events.dlq: how often the event was replayed, and by which replay: `session/partition/offset` of the dead letter. */
  replays: "weir-replays",
  replay: "weir-replay",
  /** events.dlq: the parts (`value`, `key`, `headers`) of which only the beginning may be kept; the whole record is at {@link HEADERS.source}. */
  truncated: "weir-truncated",
  /** events.dlq: "1" when the original bytes were no longer there and the value was written anew from the columns. */
  reencoded: "weir-reencoded",
} as const;

/** Before the name of a producer's header that is one of ours. */
export const ORIGINAL_HEADER_PREFIX = "weir-original-";

/** Names that mean something in events.dlq: a producer's header of such a name stands there with the prefix, so that nobody forges a position or a reason. */
export function isReservedHeader(name: string): boolean {
  return RESERVED_HEADERS.has(name) || name.startsWith(ORIGINAL_HEADER_PREFIX);
}

const RESERVED_HEADERS: ReadonlySet<string> = new Set(Object.values(HEADERS));
