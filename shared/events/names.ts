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
} as const;

export type TopicRole = keyof typeof TOPICS;

/** Topics that the processor writes inside its transaction, in the order in which their counters stand in {@link Progress.oseq}. */
export const OUTPUT_ROLES = ["clean", "windows", "dlq", "late", "partials", "alerts"] as const satisfies readonly TopicRole[];

export type OutputRole = (typeof OUTPUT_ROLES)[number];

export type GroupRole = "validator" | "processor" | "sink-clickhouse" | "sink-redis";

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

/** Kafka header keys. Values are decimal text in UTF-8 unless said. */
export const HEADERS = {
  generation: "gen",
  partition: "p",
  /** events.valid: first and last source offset of the block, and its rows. */
  firstSourceOffset: "first",
  lastSourceOffset: "last",
  count: "count",
  rulesVersion: "rules",
  /** events.valid: `block` or a control record: `tick`, `rules`, `drain`. Its value is JSON for control records. */
  kind: "kind",
  /** Outputs: position of the first row in the gap-free count of this output partition (first row ever = 1). */
  oseq: "oseq",
  /** events.clean: number of the cut the rows belong to, and "1" where the cut ends with this record. */
  cut: "cut",
  cutEnd: "cut-end",
  /** Progress as JSON, on the last record of each epoch's events.clean or, without one, of the last output. */
  progress: "progress",
  /** events.dlq and events.late. */
  reason: "weir-reason",
  pointer: "weir-pointer",
  source: "weir-source",
  replays: "weir-replays",
} as const;
