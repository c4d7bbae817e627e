/**
 * Who may do what in Kafka: one table for the policies of IAM principals (infra), for the ACLs of all others (functions/kafka-access) and for the
 * test that tries it on a broker. Only the processor reads events.valid; only it writes outputs.
 */
import { groupId, type PipelineId, TOPICS, type TopicRole, topicName, transactionalId } from "./names.ts";

export interface KafkaRights {
  readonly read: readonly string[];
  readonly write: readonly string[];
  /** Where it may see how far they reach, and nothing that is in them; whoever reads or writes may do so anyway. */
  readonly describe?: readonly string[];
  /** Consumer groups whose positions or members it keeps. */
  readonly groups: readonly string[];
  /** Consumer groups at whose positions it may look, and no more. */
  readonly describeGroups?: readonly string[];
  /** Of the transactional ids it may use. */
  readonly transactionalIdPrefix?: string;
}

export const KAFKA_PARTS = ["producer", "validator", "processor", "sinks", "rules-publisher", "redrive"] as const;
export type KafkaPart = (typeof KAFKA_PARTS)[number];

export function kafkaRights(id: PipelineId): Readonly<Record<KafkaPart, KafkaRights>> {
  const { lane } = id;
  const [raw, valid] = [topicName(lane, "raw"), topicName(lane, "valid")];
  const outputs = (Object.keys(TOPICS) as TopicRole[])
    .filter((role) => role !== "raw" && role !== "valid")
    .map((role) => topicName(lane, role));
  return {
    producer: { read: [], write: [raw], groups: [] },
    validator: { read: [raw], write: [valid], groups: [groupId(id, "validator")] },
    processor: {
      // events.raw only for its end: whether a quiet partition is idle or behind. events.valid also for ticks of its own.
      read: [raw, valid, ...outputs],
      write: [valid, ...outputs],
      groups: [groupId(id, "processor"), groupId(id, "processor-members"), groupId(id, "second-stage")],
      transactionalIdPrefix: transactionalId(id, 0).replace(/0$/, ""),
    },
    sinks: { read: outputs, write: [], groups: [groupId(id, "sink-clickhouse"), groupId(id, "sink-redis")] },
    // Control records; whoever writes may also see where the log ends.
    "rules-publisher": { read: [], write: [valid], groups: [] },
    // Dead letters and, for those cut short, the records they were made of; where each partition's watermark stands.
    redrive: {
      read: [topicName(lane, "dlq"), raw],
      write: [raw],
      describe: [valid],
      groups: [],
      describeGroups: [groupId(id, "validator"), groupId(id, "processor")],
    },
  };
}

/**
 * As a custom resource takes them (functions/kafka-access): spelled out, so that the next deployment knows what this one wrote, whatever the table
 * says by then.
 */
export function rightsProperties({
  read,
  write,
  describe = [],
  groups,
  describeGroups = [],
  transactionalIdPrefix,
}: KafkaRights): Record<string, unknown> {
  return {
    Read: read,
    Write: write,
    Describe: describe,
    Groups: groups,
    DescribeGroups: describeGroups,
    ...(transactionalIdPrefix === undefined ? {} : { TransactionalIdPrefix: transactionalIdPrefix }),
  };
}
