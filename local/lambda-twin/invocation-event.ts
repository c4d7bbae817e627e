/**
 * The event that Lambda hands to a function on a Kafka event source mapping, as JSON text: records by `topic-partition`, keys and values in
 * base64, header values as arrays of byte numbers. Limits: 10,000 records, 6 MB of text (Lambda's synchronous payload).
 */
import type { FetchedRecord } from "#shared/clients/kafka/types.ts";

export interface EventSource {
  readonly arn: string;
  readonly bootstrapServers: string;
  /** What `message.timestamp.type` of the topic says. */
  readonly timestampType: "CREATE_TIME" | "LOG_APPEND_TIME";
}

export const PAYLOAD_BYTES_MAX = 6 * 1024 * 1024;

/** One record as it stands in the event; without non-ASCII characters, so that its length is its size. */
export function encodeRecord(
  { topic, partition }: { topic: string; partition: number },
  record: FetchedRecord,
  source: EventSource,
): string {
  let text =
    `{"topic":${JSON.stringify(topic)},"partition":${partition},"offset":${record.offset},` +
    `"timestamp":${record.timestampMs},"timestampType":"${source.timestampType}"`;
  if (record.key !== null) text += `,"key":"${base64(record.key)}"`;
  if (record.value !== null) text += `,"value":"${base64(record.value)}"`;
  text += ',"headers":[';
  for (let i = 0; i < record.headers.length; i++) {
    const [name, value] = record.headers[i]!;
    text += `${i === 0 ? "" : ","}{${ascii(name)}:[${value.join(",")}]}`;
  }
  return `${text}]}`;
}

/** `encoded[i]` are the records of `slices[i]`, each by {@link encodeRecord}. */
export function encodeEvent(
  slices: readonly { readonly topic: string; readonly partition: number; readonly encoded: readonly string[] }[],
  source: EventSource,
): string {
  const records = slices.map(({ topic, partition, encoded }) => `${JSON.stringify(`${topic}-${partition}`)}:[${encoded.join(",")}]`);
  return `${eventHead(source)}${records.join(",")}}}`;
}

/** Size of everything but the records, for a caller that fills an event up to {@link PAYLOAD_BYTES_MAX}. */
export function envelopeBytes(source: EventSource, topic: string, partitions: number): number {
  return eventHead(source).length + 2 + partitions * (topic.length + 16);
}

function eventHead(source: EventSource): string {
  return `{"eventSource":"aws:kafka","eventSourceArn":${ascii(source.arn)},"bootstrapServers":${ascii(source.bootstrapServers)},"records":{`;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

function ascii(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
