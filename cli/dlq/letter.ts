/** A record of events.dlq taken apart: what the producer sent, and what the pipeline says of it. */
import type { FetchedRecord, Kafka, RecordHeader } from "#shared/clients/kafka/types.ts";
import { HEADERS, isReservedHeader, ORIGINAL_HEADER_PREFIX } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";

export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** As the producer sent it. */
export interface OriginalRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

export interface Letter extends OriginalRecord {
  /** In events.dlq. */
  readonly partition: number;
  readonly offset: number;
  readonly atMs: number;
  readonly reason: string;
  readonly pointer: string;
  /** In events.raw; null in a record that the pipeline did not write. */
  readonly source: Place | null;
  readonly rulesVersion: number;
  readonly replays: number;
  /** `session/partition/offset` of the dead letter that this is a replay of; "" = none. */
  readonly replay: string;
  /** Parts that may be cut short. */
  readonly truncated: readonly string[];
  /** The value was written anew from columns. */
  readonly reencoded: boolean;
}

const decoder = new TextDecoder();

export function readLetter(partition: number, record: FetchedRecord): Letter {
  const ours = new Map<string, string>();
  const headers: RecordHeader[] = [];
  for (const header of record.headers) {
    const [name, value] = header;
    if (!isReservedHeader(name)) headers.push(header);
    else if (name.startsWith(ORIGINAL_HEADER_PREFIX)) headers.push([name.slice(ORIGINAL_HEADER_PREFIX.length), value]);
    else ours.set(name, decoder.decode(value));
  }
  const truncated = ours.get(HEADERS.truncated);
  return {
    partition,
    offset: record.offset,
    atMs: record.timestampMs,
    key: record.key,
    value: record.value,
    headers,
    reason: ours.get(HEADERS.reason) ?? "unknown",
    pointer: ours.get(HEADERS.pointer) ?? "",
    source: placeOf(ours.get(HEADERS.source)),
    rulesVersion: Number(ours.get(HEADERS.letterRulesVersion) ?? ours.get(HEADERS.rulesVersion) ?? 0),
    replays: Number(ours.get(HEADERS.replays) ?? 0),
    replay: ours.get(HEADERS.replay) ?? "",
    truncated: truncated === undefined ? [] : truncated.split(","),
    reencoded: ours.has(HEADERS.reencoded),
  };
}

function placeOf(text: string | undefined): Place | null {
  const [, topic, partition, offset] = /^(.+)\/(\d+)\/(\d+)$/.exec(text ?? "") ?? [];
  return topic === undefined ? null : { topic, partition: Number(partition), offset: Number(offset) };
}

/**
 * What the producer sent, whole. Where the letter keeps less, the record is read in events.raw once more; null when retention took it. A value
 * written anew from columns will do then.
 */
export async function wholeRecord(kafka: Kafka, letter: Letter): Promise<OriginalRecord | null> {
  if (letter.truncated.length === 0 && !letter.reencoded) return letter;
  const found = letter.source === null ? null : await recordAt(kafka, letter.source);
  if (found !== null) return { key: found.key, value: found.value, headers: sentHeaders(found.headers) };
  return letter.truncated.length === 0 ? letter : null;
}

/** Of a record of events.raw, without what an earlier replay put there. */
function sentHeaders(headers: readonly RecordHeader[]): RecordHeader[] {
  return headers.filter(([name]) => name !== HEADERS.replays && name !== HEADERS.replay);
}

async function recordAt(kafka: Kafka, at: Place): Promise<FetchedRecord | null> {
  try {
    const [answer] = await kafka.fetch([at], { isolation: "read_committed", maxWaitMs: 0 });
    return answer?.records.find(({ offset }) => offset === at.offset) ?? null;
  } catch (thrown) {
    if (thrown instanceof OperatingError && (thrown.code === "KAFKA_OFFSET_OUT_OF_RANGE" || thrown.code === "KAFKA_UNKNOWN_TOPIC"))
      return null;
    throw thrown;
  }
}
