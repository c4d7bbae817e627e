/**
 * What Lambda hands over for a Kafka event source mapping (docs.aws.amazon.com/lambda/latest/dg/with-msk.html), checked. A wrong shape is a
 * wrong wiring, never bad data: it throws, once and clearly. What a producer can influence (value, key, headers, timestamp) is not checked here.
 */
import { OperatingError } from "#shared/kernel/errors.ts";

export interface InvocationRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestamp?: number;
  readonly timestampType?: string;
  /** Base64; absent or null = none. Anything else is a defect of the caller that one reject row shows. */
  readonly key?: unknown;
  readonly value?: unknown;
  /** One object per header; numbers are bytes, signed where a JVM wrote them. */
  readonly headers?: readonly Readonly<Record<string, readonly number[] | null>>[];
}

export interface PartitionBatch {
  readonly partition: number;
  /** In rising order of offsets, none twice. Not empty. */
  readonly records: readonly InvocationRecord[];
}

const SOURCES: ReadonlySet<unknown> = new Set(["aws:kafka", "SelfManagedKafka"]);

/**
 * Records of another topic are refused before any is validated: their offsets mean nothing on this lane, and a block of them would move the fold's
 * high-water mark over events of the right topic. They stay where they are, and the mapping, which retries for ever, shows the mistake.
 *
 * @throws OperatingError LAMBDA_EVENT_SHAPE, LAMBDA_WRONG_TOPIC.
 */
export function readInvocationEvent(event: unknown, topic: string): PartitionBatch[] {
  if (!isObject(event)) throw wrongShape("the event is no object");
  if (!SOURCES.has(event["eventSource"])) {
    throw wrongShape(`eventSource is ${JSON.stringify(event["eventSource"])}, this function takes events of a Kafka event source mapping`);
  }
  const { records } = event;
  if (!isObject(records)) throw wrongShape("records is missing");
  const batches: PartitionBatch[] = [];
  for (const [key, list] of Object.entries(records)) {
    if (!Array.isArray(list)) throw wrongShape(`records[${JSON.stringify(key)}] is no array`);
    if (list.length > 0) batches.push(readPartition(key, list, topic));
  }
  const twice = batches.find((batch, i) => batches.findIndex((other) => other.partition === batch.partition) !== i);
  if (twice !== undefined) throw wrongShape(`partition ${twice.partition} comes twice`);
  return batches;
}

function readPartition(key: string, list: readonly unknown[], topic: string): PartitionBatch {
  const dash = key.lastIndexOf("-");
  const partition = Number(key.slice(dash + 1));
  if (dash < 1 || !Number.isInteger(partition) || partition < 0) throw wrongShape(`${JSON.stringify(key)} is no topic-partition`);
  if (key.slice(0, dash) !== topic) {
    throw new OperatingError(
      `the mapping delivers records of topic ${key.slice(0, dash)}, this function validates ${topic}: none was taken`,
      {
        code: "LAMBDA_WRONG_TOPIC",
        hint: "point the event source mapping at the lane's raw topic, or set WEIR_LANE to the lane of the mapping's topic",
      },
    );
  }
  let rising = true;
  let previous = -1;
  for (const record of list) {
    if (!isObject(record)) throw wrongShape(`a record of ${key} is no object`);
    const { offset } = record;
    if (typeof offset !== "number" || !Number.isSafeInteger(offset) || offset < 0) throw wrongShape(`a record of ${key} has no offset`);
    if (record["partition"] !== partition || record["topic"] !== topic) {
      throw wrongShape(`a record of ${JSON.stringify(record["topic"])}-${String(record["partition"])} stands under ${key}`);
    }
    rising &&= offset > previous;
    previous = offset;
  }
  const records = list as readonly InvocationRecord[];
  return { partition, records: rising ? records : sortOnce(records) };
}

function sortOnce(records: readonly InvocationRecord[]): InvocationRecord[] {
  return [...new Map(records.map((record) => [record.offset, record])).values()].sort((a, b) => a.offset - b.offset);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrongShape(problem: string): OperatingError {
  return new OperatingError(`not an event of this function's event source mapping: ${problem}`, {
    code: "LAMBDA_EVENT_SHAPE",
    hint: "check the function's event source mapping: one topic, the raw events of this lane",
  });
}
