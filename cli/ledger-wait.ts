/** A recount covers what was there when it began: waits until the processor has accounted for it and the sinks have written it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { TimeoutError } from "./command.ts";
import { type PartitionProgress, readProgress } from "./progress.ts";

export interface WaitOptions {
  readonly kafka: Kafka;
  readonly config: Config;
  /** For the pipeline to get there; the recount itself takes what it takes. */
  readonly timeoutMs: number;
  readonly stop?: AbortSignal | undefined;
}

const POLL_MS = 100;
/** Outputs whose rows stand in a table. */
const WRITTEN_ROLES = ["clean", "windows", "dlq"] as const;

export async function pause(stop: AbortSignal | undefined): Promise<void> {
  await sleep(POLL_MS, undefined, stop === undefined ? {} : { signal: stop });
}

/** Progress whose high-water mark has reached what events.raw held when this began. @throws TimeoutError saying where it has not. */
export async function folded(
  { kafka, config, stop, timeoutMs }: WaitOptions,
  deadline: number,
  wanted: (partition: number) => boolean,
): Promise<PartitionProgress[]> {
  const first = await readProgress(kafka, config);
  for (let current = first; ; current = await readProgress(kafka, config)) {
    const behind = first.filter(
      ({ partition, rawStart, rawEnd }) => wanted(partition) && rawEnd > rawStart && (current[partition]?.progress?.hw ?? -1) + 1 < rawEnd,
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
    await pause(stop);
  }
}

/** The ClickHouse sink has committed everything that its topics held when the processor had got there. */
export async function written(
  { kafka, config, stop, timeoutMs }: WaitOptions,
  deadline: number,
  partitions: readonly number[],
): Promise<void> {
  const group = groupId(config, "sink-clickhouse");
  const places = WRITTEN_ROLES.flatMap((role) => partitions.map((partition) => ({ topic: topicName(config.lane, role), partition })));
  const ends = await Promise.all(places.map((place) => lastRecord(kafka, place)));
  for (;;) {
    const committed = await kafka.committedOffsets(group, places, { requireStable: false });
    const behind = places.filter(({ topic, partition }, i) => {
      const at = committed.find((each) => each.topic === topic && each.partition === partition)?.offset ?? -1;
      return ends[i]! >= 0 && at <= ends[i]!;
    });
    if (behind.length === 0) return;
    if (performance.now() > deadline) {
      const where = behind.map(({ topic, partition }) => `partition ${partition} of ${topic}`).join(", ");
      throw new TimeoutError(`the ClickHouse sink is behind after ${timeoutMs / 1_000} s: ${where}`, {
        code: "VERIFY_SINK_BEHIND",
        hint: "weir status",
      });
    }
    await pause(stop);
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
