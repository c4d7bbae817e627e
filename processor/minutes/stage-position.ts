/** What a transaction of the second stage commits with the position of each partition: all that a successor needs. */
import type { CommittedOffset } from "#shared/clients/kafka/types.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

const VERSION = 1;

export interface StagePosition {
  /** Minutes that begin before it are closed. */
  readonly closedMs: number;
  /** Of this partition; -Infinity = nothing is known. */
  readonly markMs: number;
  /** Last used in metrics.minutes. */
  readonly oseq: number;
}

export function encodeStagePosition({ closedMs, markMs, oseq }: StagePosition): string {
  return JSON.stringify({ v: VERSION, closedMs, markMs: markMs === -Infinity ? null : markMs, oseq });
}

/** @throws CorruptStateError on anything that this version has not written. */
export function decodeStagePosition(place: CommittedOffset | undefined, partition: number): StagePosition & { readonly offset: number } {
  const fields = place === undefined || place.offset < 0 ? {} : parse(place.metadata);
  const { v, closedMs, markMs, oseq } = fields;
  const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);
  if (v === VERSION && isWhole(closedMs) && isWhole(oseq) && (markMs === null || isWhole(markMs)))
    return { closedMs, oseq, markMs: markMs ?? -Infinity, offset: place!.offset };
  throw new CorruptStateError(`the position of the second stage in partition ${partition} of metrics.partials is not readable`, {
    code: "SECOND_STAGE_POSITION",
    hint: "a newer version of weir may have written it: upgrade this processor",
  });
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
