/**
 * Reads events.valid of one partition. The topic is a plain log: without transactions or compaction its offsets have no holes, so a hole is a
 * record that a client or a broker lost, and stops the task before the record is missed for ever.
 */
import type { FetchedRecord, Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

export interface InputBatch {
  readonly records: readonly FetchedRecord[];
  /** Offset behind the last record that a reader may see. */
  readonly logEnd: number;
  /** The records are folded: their memory serves the next ones. */
  readonly release: () => void;
}

const nothing = (): void => undefined;

export class InputLog {
  readonly #kafka: Kafka;
  readonly #at: TopicPartition;
  readonly #waitMs: number;

  constructor(kafka: Kafka, at: TopicPartition, options: { readonly waitMs: number }) {
    this.#kafka = kafka;
    this.#at = at;
    this.#waitMs = options.waitMs;
  }

  /** Records from `offset` on; none when none came in time. @throws CorruptStateError INPUT_HOLE */
  async read(offset: number): Promise<InputBatch> {
    const answers = await this.#kafka.fetch([{ ...this.#at, offset }], { isolation: "read_committed", maxWaitMs: this.#waitMs });
    const records = answers[0]?.records ?? [];
    let expected = offset;
    for (const record of records) {
      if (record.offset !== expected) {
        throw new CorruptStateError(`${this.#at.topic}/${this.#at.partition}: offset ${record.offset} came where ${expected} was due`, {
          code: "INPUT_HOLE",
          hint: "look for compaction, transactions or lost records on this topic: weir verify",
        });
      }
      expected += 1;
    }
    if (records.length === 0 && answers[0] !== undefined && answers[0].nextOffset > offset) {
      throw new CorruptStateError(`${this.#at.topic}/${this.#at.partition}: nothing but control batches from offset ${offset} on`, {
        code: "INPUT_HOLE",
      });
    }
    return { records, logEnd: answers[0]?.lastStableOffset ?? offset, release: answers[0]?.release ?? nothing };
  }

  async bounds(): Promise<{ readonly start: number; readonly end: number }> {
    const [start, end] = await Promise.all([
      this.#kafka.listOffset(this.#at, "earliest", "read_committed"),
      this.#kafka.listOffset(this.#at, "latest", "read_committed"),
    ]);
    return { start, end };
  }
}
