import { describe, expect, test } from "vitest";
import { lookAtLog, partitionsOf, readPositions, setPositions } from "#backup/log-positions.ts";
import type { GroupPosition } from "#backup/manifest.ts";
import type { CommittedOffset, TopicPartition } from "#shared/clients/kafka/types.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

const SINK = "weir-sink-clickhouse-live-1";
const LANES = [{ lane: "live", generation: 1, partitions: 1 }];

interface Log {
  readonly start: number;
  readonly end: number;
  readonly partitions?: number;
  readonly committed?: readonly (CommittedOffset & { readonly group: string })[];
}

function kafkaOf({ start, end, partitions = 1, committed = [] }: Log) {
  const set: (CommittedOffset & { readonly group: string })[] = [];
  return {
    set,
    partitionCount: async (topic: string): Promise<number> => {
      if (partitions === 0) throw new OperatingError(`no ${topic}`, { code: "KAFKA_UNKNOWN_TOPIC" });
      return partitions;
    },
    listOffset: async ({ topic }: TopicPartition, where: "earliest" | "latest"): Promise<number> =>
      topic === "events.clean" ? (where === "earliest" ? start : end) : 0,
    committedOffsets: async (group: string, of: readonly TopicPartition[]): Promise<CommittedOffset[]> =>
      of.map(
        ({ topic, partition }) =>
          committed.find((at) => at.group === group && at.topic === topic && at.partition === partition) ?? {
            topic,
            partition,
            offset: -1,
            metadata: "",
          },
      ),
    commitOffsets: async (group: string, offsets: readonly CommittedOffset[]): Promise<void> => {
      for (const at of offsets) set.push({ group, ...at });
    },
  };
}

const at = (offset: number): GroupPosition => ({ group: SINK, topic: "events.clean", partition: 0, offset, metadata: '{"oseq":7}' });

describe("what the log has left of a backup's positions", () => {
  test("all: the sink goes back to exactly where it was, and what it reads again is counted", async () => {
    const kafka = kafkaOf({ start: 3, end: 50 });
    const log = await lookAtLog(kafka, LANES, [at(10)]);
    expect(log).toEqual({ positions: [at(10)], toReplay: 40, holes: [] });
    await setPositions(kafka, log.positions);
    expect(kafka.set).toEqual([at(10)]);
  });

  test("retention has taken records that the backup lacks: a hole", async () => {
    expect((await lookAtLog(kafkaOf({ start: 11, end: 50 }), LANES, [at(10)])).holes).toEqual([
      "events.clean/0 begins at 11, the backup ends at 10",
    ]);
    // The next record is there: none.
    expect((await lookAtLog(kafkaOf({ start: 10, end: 50 }), LANES, [at(10)])).holes).toEqual([]);
  });

  test("a log that ends before the backup is another log", async () => {
    expect((await lookAtLog(kafkaOf({ start: 0, end: 9 }), LANES, [at(10)])).holes).toEqual(["events.clean/0 ends at 9, the backup at 10"]);
    expect((await lookAtLog(kafkaOf({ start: 0, end: 0, partitions: 0 }), LANES, [at(10)])).holes).toHaveLength(1);
  });

  test("a sink that had committed nothing begins with row 1, unless that row is gone", async () => {
    const committed = [{ group: SINK, topic: "events.clean", partition: 0, offset: 20, metadata: '{"oseq":15}' }];
    const log = await lookAtLog(kafkaOf({ start: 0, end: 50, committed }), LANES, []);
    expect(log).toMatchObject({ positions: [{ offset: 0, metadata: '{"oseq":0}' }], toReplay: 50, holes: [] });
    expect((await lookAtLog(kafkaOf({ start: 5, end: 50, committed }), LANES, [])).holes).toHaveLength(1);
    // It still has none: nothing to take back.
    expect(await lookAtLog(kafkaOf({ start: 0, end: 50 }), LANES, [])).toEqual({ positions: [], toReplay: 0, holes: [] });
  });

  test("a lane whose topics were gone when the backup was made is left alone", async () => {
    const kafka = kafkaOf({ start: 0, end: 0, partitions: 0 });
    expect(await partitionsOf(kafka, "old")).toBe(0);
    expect(await lookAtLog(kafka, [{ lane: "old", generation: 1, partitions: 0 }], [])).toEqual({ positions: [], toReplay: 0, holes: [] });
  });
});

test("positions of every reader are read as they are; of a group without any nothing is claimed", async () => {
  const committed = [
    { group: SINK, topic: "events.clean", partition: 0, offset: 20, metadata: '{"oseq":15}' },
    { group: "weir-processor-live-1", topic: "events.valid", partition: 0, offset: 4, metadata: "{}" },
  ];
  const found = await readPositions(kafkaOf({ start: 0, end: 50, committed }), LANES);
  expect(found.toSorted((a, b) => a.offset - b.offset)).toEqual([committed[1], committed[0]]);
});
