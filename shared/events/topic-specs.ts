/** How every topic is made, from the one catalogue; infra and the local starter read the same. */
import { OUTPUT_ROLES, topicName, type TopicRole } from "./names.ts";

export interface TopicSpec {
  readonly topic: string;
  readonly partitions: number;
  readonly replicationFactor: number;
  readonly config: Readonly<Record<string, string>>;
}

const DAY_MS = 86_400_000;
/** The processor may write 900 KB a record; a dead letter carries an event of up to the largest record plus its headers. */
const MAX_RECORD_BYTES = 2 << 20;

const RETENTION_DAYS: Readonly<Partial<Record<TopicRole, number>>> = { dlq: 30 };

/** `replicationFactor` 3 (min ISR 2) in the cloud, 1 on one machine. */
export function topicSpecs(lane: string, partitions: number, options: { readonly replicationFactor: number }): TopicSpec[] {
  const roles: readonly TopicRole[] = ["raw", "valid", ...OUTPUT_ROLES, "minutes"];
  return roles.map((role) => ({
    topic: topicName(lane, role),
    // A minute is one for the whole lane.
    partitions: role === "minutes" ? 1 : partitions,
    replicationFactor: options.replicationFactor,
    config: {
      "cleanup.policy": "delete",
      "retention.ms": String((RETENTION_DAYS[role] ?? 7) * DAY_MS),
      "min.insync.replicas": String(Math.max(1, options.replicationFactor - 1)),
      "unclean.leader.election.enable": "false",
      "compression.type": "producer",
      "max.message.bytes": String(MAX_RECORD_BYTES),
      // Log time decides cuts, the duplicates' horizon and how plausible an event time is, and retention goes by it: no producer's clock may.
      "message.timestamp.type": "LogAppendTime",
    },
  }));
}
