/** The newest committed output of a partition, read backwards: recovery asks for it when the committed offset is gone. */
import type { FetchedRecord, Kafka, TopicPartition } from "#shared/clients/kafka/types.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

const WINDOW_RECORDS = 16;

type HeaderTexts = ReadonlyMap<string, string>;

/** null: no committed record matches. Transaction markers and aborted records lie between the committed ones, hence the growing window. */
export async function findLastOutput(
  kafka: Kafka,
  at: TopicPartition,
  matches: (headers: HeaderTexts) => boolean,
): Promise<HeaderTexts | null> {
  const bounds = await logBounds(kafka, at);
  if (bounds === null) return null;
  const { start, end } = bounds;
  for (let width = WINDOW_RECORDS, from = end; from > start; width *= 4) {
    const to = from;
    from = Math.max(start, end - width);
    let last: HeaderTexts | null = null;
    for await (const record of recordsBetween(kafka, at, { from, to })) {
      const headers = headerTexts(record);
      if (matches(headers)) last = headers;
    }
    if (last !== null) return last;
  }
  return null;
}

/** null: the topic does not exist. */
async function logBounds(kafka: Kafka, at: TopicPartition): Promise<{ start: number; end: number } | null> {
  try {
    const start = await kafka.listOffset(at, "earliest", "read_committed");
    return { start, end: await kafka.listOffset(at, "latest", "read_committed") };
  } catch (thrown) {
    if (thrown instanceof OperatingError && thrown.code === "KAFKA_UNKNOWN_TOPIC") return null;
    throw thrown;
  }
}

async function* recordsBetween(
  kafka: Kafka,
  at: TopicPartition,
  range: { readonly from: number; readonly to: number },
): AsyncGenerator<FetchedRecord> {
  let offset = range.from;
  while (offset < range.to) {
    const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed" });
    for (const record of answer?.records ?? []) if (record.offset < range.to) yield record;
    // Below the last stable offset there is always something to pass, if only markers.
    if (answer === undefined || answer.nextOffset <= offset) return;
    offset = answer.nextOffset;
  }
}

const decoder = new TextDecoder();

function headerTexts(record: FetchedRecord): HeaderTexts {
  return new Map(record.headers.map(([key, value]) => [key, decoder.decode(value)]));
}
