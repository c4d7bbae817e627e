/** Reads the records of metrics.minutes by column: the stores take them as they are. */
import { decodeColumns } from "#shared/events/arrow/reader.ts";
import { type ArrowColumn, defineSchema } from "#shared/events/arrow/schema.ts";
import type { DictionaryColumn } from "#shared/events/columns.ts";
import { MINUTE_FIELDS, type MinuteKind } from "#shared/events/minutes.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";

const SCHEMAS = {
  metrics: defineSchema(MINUTE_FIELDS.metrics),
  quality: defineSchema(MINUTE_FIELDS.quality),
  cost: defineSchema(MINUTE_FIELDS.cost),
};

export interface MinuteRows {
  readonly kind: MinuteKind;
  readonly rows: number;
  /** In the order of {@link MINUTE_FIELDS}. */
  readonly columns: readonly ArrowColumn[];
}

/** @throws CorruptStateError on another kind, or on anything but such a block. */
export function decodeMinuteRows(kind: string | undefined, bytes: Uint8Array): MinuteRows {
  if (kind === undefined || !isMinuteKind(kind))
    throw new CorruptStateError(`a record of closed minutes is of kind ${JSON.stringify(kind ?? null)}`, {
      code: "OUTPUT_UNPLACED",
      hint: "see who else writes to this topic: only the processor may",
    });
  const { rows, columns } = decodeColumns(SCHEMAS[kind], bytes);
  return { kind, rows, columns };
}

function isMinuteKind(kind: string): kind is MinuteKind {
  return Object.hasOwn(SCHEMAS, kind);
}

/** Numbers of the column named `name`: counts, milliseconds or measures. */
export function numbersOf({ kind, columns }: MinuteRows, name: string): Float64Array {
  return columns[indexOf(kind, name)] as Float64Array;
}

/** Null is the empty text, as in the tables. */
export function textAt({ kind, columns }: MinuteRows, name: string, row: number): string {
  const { codes, values } = columns[indexOf(kind, name)] as DictionaryColumn;
  return values[codes[row]!] ?? "";
}

function indexOf(kind: MinuteKind, name: string): number {
  return MINUTE_FIELDS[kind].findIndex((field) => field.name === name);
}
