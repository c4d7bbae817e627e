/** The four calls of Kafka that the mapping makes, over arrays: long polls, bounded answers, commits. */
import type { CommittedOffset, FetchedRecord, Kafka } from "#shared/clients/kafka/types.ts";
import { TransientError } from "#shared/kernel/errors.ts";

export class MemoryLog {
  readonly partitions: FetchedRecord[][];
  readonly committed = new Map<number, number>();
  readonly commits: CommittedOffset[] = [];
  /** So many next commits fail. */
  failingCommits = 0;
  #listeners: (() => void)[] = [];

  constructor(partitions: number) {
    this.partitions = Array.from({ length: partitions }, () => []);
  }

  append(
    partition: number,
    value: string,
    options: { key?: string | null; headers?: readonly (readonly [string, Uint8Array])[] } = {},
  ): void {
    const log = this.partitions[partition]!;
    const { key = "1", headers = [] } = options;
    log.push({
      offset: log.length,
      timestampMs: 1_000 + log.length,
      key: key === null ? null : Buffer.from(key),
      value: Buffer.from(value),
      headers,
    });
    for (const listener of this.#listeners.splice(0)) listener();
  }

  get kafka(): Kafka {
    const unused = (): never => {
      throw new Error("not part of this log");
    };
    return {
      partitionCount: async () => this.partitions.length,
      listOffset: async (_at, where) => (where === "earliest" ? 0 : unused()),
      committedOffsets: async (_group, of) => of.map((at) => ({ ...at, offset: this.committed.get(at.partition) ?? -1, metadata: "" })),
      commitOffsets: async (_group, offsets) => {
        if (this.failingCommits-- > 0) throw new TransientError("coordinator moved", { code: "KAFKA_NOT_COORDINATOR" });
        for (const offset of offsets) {
          this.commits.push(offset);
          this.committed.set(offset.partition, offset.offset);
        }
      },
      fetch: async (requests, { maxWaitMs = 100 }) => {
        const ready = (): boolean => requests.some(({ partition, offset }) => this.partitions[partition]!.length > offset);
        if (!ready()) {
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, maxWaitMs);
            this.#listeners.push(() => {
              clearTimeout(timer);
              resolve();
            });
          });
        }
        return requests.map(({ topic, partition, offset }) => {
          const log = this.partitions[partition]!;
          const records = log.slice(offset, offset + 1_000);
          return {
            topic,
            partition,
            highWatermarkOffset: log.length,
            lastStableOffset: log.length,
            logStartOffset: 0,
            records,
            nextOffset: offset + records.length,
          };
        });
      },
      produce: unused,
      initProducer: unused,
      close: async () => undefined,
    };
  }
}
