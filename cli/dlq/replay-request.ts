/** What a replay is asked to do. Fixed when it begins and stored: whoever goes on with it decides each letter alike. */
import { createHash } from "node:crypto";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import type { Edit } from "./event-edit.ts";
import type { LetterFilter } from "./filter.ts";
import type { LetterRange } from "./letters.ts";

export interface ReplayWish {
  readonly filter: LetterFilter;
  readonly edits: readonly Edit[];
  /** The record's key becomes the text of this member; null = it stays. */
  readonly keyFrom: string | null;
  readonly target: string;
  /** Letters sent at most; null = all. */
  readonly limit: number | null;
  /** Letters that a replay has sent before, too. */
  readonly again: boolean;
  /** Letters that would be rejected again, too. */
  readonly evenRejected: boolean;
}

export interface ReplayRequest extends ReplayWish {
  /** Of events.dlq as it was when the replay began: what the replay itself leads to is not among it. */
  readonly ranges: readonly LetterRange[];
  readonly rulesVersion: number;
  /** The events count as produced at this time. */
  readonly atMs: number;
}

/** Of the words as given: `--since 1h` is the same command a minute later. */
export function commandHash(words: Readonly<Record<string, unknown>>): string {
  const sorted = Object.entries(words)
    .filter(([, value]) => value !== undefined && value !== false)
    .toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(sorted)).digest("hex").slice(0, 32);
}

/** @throws OperatingError DLQ_TARGET. */
export async function allowedTarget(kafka: Kafka, config: Config, wanted: string | undefined): Promise<string> {
  const own = topicName(config.lane, "raw");
  if (wanted === undefined || wanted === own) return own;
  if (config.dlqReplayTargets.split(",").includes(wanted)) return wanted;
  const [, lane] = /^(?:([a-z][a-z0-9-]{0,40})\.)?events\.raw$/.exec(wanted) ?? [null, null];
  if (lane !== null && (await exists(kafka, topicName(lane ?? "live", "raw"))) && (await exists(kafka, topicName(lane ?? "live", "valid"))))
    return wanted;
  throw new OperatingError(`dead letters are not replayed into ${JSON.stringify(wanted)}: it is the events.raw of no lane here`, {
    code: "DLQ_TARGET",
    hint: "name the events.raw of a lane, or add the topic to WEIR_DLQ_REPLAY_TARGETS",
  });
}

async function exists(kafka: Kafka, topic: string): Promise<boolean> {
  try {
    return (await kafka.partitionCount(topic)) > 0;
  } catch (thrown) {
    if (thrown instanceof OperatingError && thrown.code === "KAFKA_UNKNOWN_TOPIC") return false;
    throw thrown;
  }
}
