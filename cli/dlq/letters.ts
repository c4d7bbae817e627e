/** Reads events.dlq, partition after partition, each in order: the one order in which replays send. */
import type { FetchedRecord, FetchRequest, Isolation, Kafka } from "#shared/clients/kafka/types.ts";
import { TransientError } from "#shared/kernel/errors.ts";
import { type Letter, readLetter } from "./letter.ts";

const FETCH_WAIT_MS = 100;
const STALLED_AFTER_MS = 30_000;

/** Of one partition of events.dlq: [from, until). */
export interface LetterRange {
  readonly partition: number;
  readonly from: number;
  readonly until: number;
}

/** What the topic holds now. */
export async function letterRanges(kafka: Kafka, topic: string): Promise<LetterRange[]> {
  const partitions = await kafka.partitionCount(topic);
  return Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const at = { topic, partition };
      const [from, until] = await Promise.all([
        kafka.listOffset(at, "earliest", "read_committed"),
        kafka.listOffset(at, "latest", "read_committed"),
      ]);
      return { partition, from, until };
    }),
  );
}

export async function* readLetters(
  kafka: Pick<Kafka, "fetch" | "listOffset">,
  topic: string,
  ranges: readonly LetterRange[],
): AsyncGenerator<Letter> {
  for (const { partition, from, until } of ranges) {
    if (from >= until) continue;
    const at = { topic, partition };
    // Retention may have moved the start since a replay began.
    const start = Math.max(from, await kafka.listOffset(at, "earliest", "read_committed"));
    for await (const record of readRecords(kafka, { ...at, offset: start }, until, "read_committed")) yield readLetter(partition, record);
  }
}

/** Every record of a partition in [offset, until), which must lie below the log's end. @throws TransientError when nothing comes for long. */
export async function* readRecords(
  kafka: Pick<Kafka, "fetch">,
  from: FetchRequest,
  until: number,
  isolation: Isolation,
): AsyncGenerator<FetchedRecord> {
  let movedAtMs = performance.now();
  for (let { offset } = from; offset < until;) {
    const [answer] = await kafka.fetch([{ ...from, offset }], { isolation, maxWaitMs: FETCH_WAIT_MS });
    if (answer !== undefined && answer.nextOffset > offset) {
      for (const record of answer.records) if (record.offset < until) yield record;
      offset = answer.nextOffset;
      movedAtMs = performance.now();
    } else if (performance.now() - movedAtMs > STALLED_AFTER_MS) {
      // To take this for the end would leave letters out without a word.
      throw new TransientError(`${from.topic}/${from.partition} gives nothing at ${offset}, its end being ${until}`, {
        code: "KAFKA_READER_STALLED",
      });
    }
  }
}
