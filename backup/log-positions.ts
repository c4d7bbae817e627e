/** How far everybody has read the log when a backup begins, and the ClickHouse sink's going back there after a restore. */
import type { Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import { type GroupRole, groupId, OUTPUT_ROLES, topicName, type TopicRole } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import type { GroupPosition, LaneId } from "./manifest.ts";

const SINK_ROLES: readonly TopicRole[] = [...OUTPUT_ROLES, "minutes"];

/** Only the ClickHouse sink's are ever set back; the processor's stand for what its outputs in the log are, and the others are for people. */
const READERS: readonly { readonly group: GroupRole; readonly topics: readonly TopicRole[] }[] = [
  { group: "validator", topics: ["raw"] },
  { group: "processor", topics: ["valid"] },
  { group: "second-stage", topics: ["partials"] },
  { group: "sink-clickhouse", topics: SINK_ROLES },
  { group: "sink-redis", topics: SINK_ROLES },
];

function partitionsIn(role: TopicRole, { partitions }: LaneId): number {
  return role === "minutes" ? Math.min(1, partitions) : partitions;
}

type LogKafka = Pick<Kafka, "partitionCount" | "committedOffsets" | "commitOffsets" | "listOffset">;

/** 0 = the topics are gone. */
export async function partitionsOf(kafka: LogKafka, lane: string): Promise<number> {
  try {
    return await kafka.partitionCount(topicName(lane, "clean"));
  } catch (thrown) {
    if (thrown instanceof OperatingError && thrown.code === "KAFKA_UNKNOWN_TOPIC") return 0;
    throw thrown;
  }
}

export async function readPositions(kafka: LogKafka, lanes: readonly LaneId[]): Promise<GroupPosition[]> {
  const positions: GroupPosition[] = [];
  for (const id of lanes) {
    for (const { group, topics } of READERS) {
      const name = groupId(id, group);
      const of = topics.flatMap((role) =>
        Array.from({ length: partitionsIn(role, id) }, (_, partition) => ({ topic: topicName(id.lane, role), partition })),
      );
      if (of.length === 0) continue;
      for (const { topic, partition, offset, metadata } of await kafka.committedOffsets(name, of, { requireStable: false })) {
        if (offset >= 0) positions.push({ group: name, topic, partition, offset, metadata });
      }
    }
  }
  return positions;
}

export interface TableLimit {
  readonly lane: string;
  readonly generation: number;
  readonly partition: number;
  /** Last row of events.clean that was durable in ClickHouse; 0 = none. */
  readonly oseq: number;
}

/** Up to which row of each partition of events.clean the table counts: what is behind comes again from the log. Partitions whose log is gone have no limit. */
export function tableLimits(lanes: readonly LaneId[], positions: readonly GroupPosition[]): TableLimit[] {
  return lanes.flatMap((id) =>
    Array.from({ length: id.partitions }, (_, partition) => {
      const at = sinkPosition(id, positions, partition);
      return { lane: id.lane, generation: id.generation, partition, oseq: Number(/^\{"oseq":(\d+)\}$/.exec(at?.metadata ?? "")?.[1] ?? 0) };
    }),
  );
}

function sinkPosition(id: LaneId, positions: readonly GroupPosition[], partition: number): GroupPosition | undefined {
  const [group, topic] = [groupId(id, "sink-clickhouse"), topicName(id.lane, "clean")];
  return positions.find((at) => at.group === group && at.topic === topic && at.partition === partition);
}

export interface LogState {
  /** Set back to here. */
  readonly positions: readonly GroupPosition[];
  /** Records of the outputs between there and the log's end, markers of transactions included. */
  readonly toReplay: number;
  /** Where the log does not reach back to the position, or ends before it. */
  readonly holes: readonly string[];
}

/** What replaying the log into the restored tables would take. A sink that had committed nothing begins at the log's beginning, with row 1. */
export async function lookAtLog(kafka: LogKafka, lanes: readonly LaneId[], positions: readonly GroupPosition[]): Promise<LogState> {
  const holes: string[] = [];
  const targets: GroupPosition[] = [];
  let toReplay = 0;
  for (const id of lanes) {
    if (id.partitions === 0) continue;
    const group = groupId(id, "sink-clickhouse");
    const now = await partitionsOf(kafka, id.lane);
    if (now < id.partitions) {
      holes.push(`the topics of lane ${id.lane} have ${now} partitions, not ${id.partitions}`);
      continue;
    }
    for (const role of SINK_ROLES) {
      const topic = topicName(id.lane, role);
      for (let partition = 0; partition < partitionsIn(role, id); partition++) {
        const at: TopicPartition = { topic, partition };
        const [start, end] = await Promise.all([
          kafka.listOffset(at, "earliest", "read_committed"),
          kafka.listOffset(at, "latest", "read_committed"),
        ]);
        const held = positions.find((each) => each.group === group && each.topic === topic && each.partition === partition);
        if (held === undefined) {
          // Only where the sink has gone on meanwhile is there anything to take back.
          const [current] = await kafka.committedOffsets(group, [at], { requireStable: false });
          if (current === undefined || current.offset < 0) continue;
          if (start > 0) holes.push(`${topic}/${partition} begins at ${start}, the backup ends before its first record`);
          targets.push({ group, topic, partition, offset: start, metadata: JSON.stringify({ oseq: 0 }) });
          toReplay += end - start;
          continue;
        }
        if (held.offset < start) holes.push(`${topic}/${partition} begins at ${start}, the backup ends at ${held.offset}`);
        if (held.offset > end) holes.push(`${topic}/${partition} ends at ${end}, the backup at ${held.offset}`);
        targets.push(held);
        toReplay += Math.max(0, end - held.offset);
      }
    }
  }
  return { positions: targets, toReplay, holes };
}

export async function setPositions(kafka: LogKafka, positions: readonly GroupPosition[]): Promise<void> {
  for (const [group, of] of Map.groupBy(positions, (at) => at.group)) {
    await kafka.commitOffsets(
      group,
      of.map(({ topic, partition, offset, metadata }) => ({ topic, partition, offset, metadata })),
    );
  }
}
