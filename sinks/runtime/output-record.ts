/** A record of an output topic with the headers that place it (HEADERS): which rows it holds, and of which cut. */
import type { FetchedRecord } from "#shared/clients/kafka/types.ts";
import { HEADERS } from "#shared/events/names.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

export interface OutputRecord {
  readonly offset: number;
  /** When the broker appended it, epoch milliseconds. */
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: FetchedRecord["headers"];
  readonly generation: number;
  /** Number of its first row, and how many rows it holds (0: a mark only, `oseq` is then the next row's). */
  readonly oseq: number;
  readonly count: number;
  /** events.clean only. */
  readonly cut: number;
  readonly endsCut: boolean;
}

const decoder = new TextDecoder();

export function headerText(headers: FetchedRecord["headers"], key: string): string | undefined {
  const found = headers.find(([name]) => name === key);
  return found === undefined ? undefined : decoder.decode(found[1]);
}

/** @throws CorruptStateError OUTPUT_UNPLACED when a header is missing: nobody but the processor may write this topic. */
export function toOutputRecord(record: FetchedRecord, where: string): OutputRecord {
  const number = (key: string, fallback?: number): number => {
    const text = headerText(record.headers, key);
    const value = text === undefined ? fallback : Number(text);
    if (value !== undefined && Number.isSafeInteger(value)) return value;
    throw new CorruptStateError(`record ${where}/${record.offset} has ${text === undefined ? "no" : "a wrong"} header ${key}`, {
      code: "OUTPUT_UNPLACED",
      hint: "see who else writes to this topic: only the processor may",
    });
  };
  return {
    offset: record.offset,
    timestampMs: record.timestampMs,
    key: record.key,
    value: record.value,
    headers: record.headers,
    generation: number(HEADERS.generation),
    oseq: number(HEADERS.oseq),
    count: number(HEADERS.count),
    cut: number(HEADERS.cut, 0),
    endsCut: headerText(record.headers, HEADERS.cutEnd) === "1",
  };
}
