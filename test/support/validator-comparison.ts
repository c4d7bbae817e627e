/** One record through the validator and through the reference; what differs, told in words. */
import { END_MARK_BYTES, type Validator } from "#functions/validator/scanner/validator.ts";
import type { EventColumns } from "#shared/events/columns.ts";
import { userIdAt, wordAt } from "./event-batch.ts";
import type { ReferenceRecord, ReferenceRow } from "./reference/validator.ts";
import { bytesAt, textAt, verdictOf } from "./validated-event.ts";

/** How a record's bytes lie in memory. */
export const LAYOUTS = ["alone", "marked", "between", "in place"] as const;
export type Layout = (typeof LAYOUTS)[number];

/** Behind an event that lies between others: an end mark and then what would change the verdict if anything read it. */
const BEHIND = Buffer.from('\0"}]}9e9"\\u0000,"a":');

export function addRecord(validator: Validator, record: ReferenceRecord, offset: number, layout: Layout = "alone"): boolean {
  const { value, key, timestampMs } = record;
  if (value === null) return validator.add(null, 0, 0, key, null, offset, timestampMs);
  if (layout === "in place") return addInPlace(validator, value, key, offset, timestampMs);
  if (layout === "alone") return validator.add(value, 0, value.length, key, null, offset, timestampMs);
  const before = layout === "marked" ? 0 : 3;
  const behind = layout === "marked" ? new Uint8Array(END_MARK_BYTES) : BEHIND;
  const bytes = Buffer.concat([Buffer.from('{"x').subarray(0, before), value, behind]);
  return validator.add(bytes, before, before + value.length, key, null, offset, timestampMs);
}

/** In the validator's own buffer, as the Lambda's decoder puts it there: value, end mark, key. */
function addInPlace(
  validator: Validator,
  value: Uint8Array,
  key: Uint8Array | null | undefined,
  offset: number,
  timestampMs: number,
): boolean {
  const keyAt = value.length + END_MARK_BYTES;
  const keyEnd = keyAt + (key?.length ?? 0);
  const bytes = validator.input(keyEnd + END_MARK_BYTES);
  bytes.set(value);
  bytes.fill(0, value.length, keyAt);
  if (key instanceof Uint8Array) bytes.set(key, keyAt);
  bytes.fill(0x37, keyEnd, keyEnd + END_MARK_BYTES);
  return validator.add(bytes, 0, value.length, key instanceof Uint8Array ? bytes : key, null, offset, timestampMs, keyAt, keyEnd);
}

export function rowOf(columns: EventColumns, row: number): ReferenceRow {
  const id = Buffer.from(columns.eventId.subarray(16 * row, 16 * row + 16)).toString("hex");
  const userId = userIdAt(columns.userId, row);
  const value = columns.value[row]!;
  const raw = bytesAt(columns.raw, row);
  const rawKey = bytesAt(columns.rawKey, row);
  return {
    ...(verdictOf(columns, row) as Pick<ReferenceRow, "verdict" | "reason" | "pointer">),
    eventId: /^0*$/.test(id) ? null : id,
    eventTimeMs: columns.eventTimeMs[row]!,
    // 0 is a user, and what stands on a reject without one: the two look the same.
    userId: userId === 0n ? null : userId,
    eventType: wordAt(columns.eventType, row),
    source: wordAt(columns.source, row),
    sessionId: textAt(columns.sessionId, row),
    value: Number.isNaN(value) ? null : value,
    deviceInfo: textAt(columns.deviceInfo, row),
    geoLocation: textAt(columns.geoLocation, row),
    properties: textAt(columns.properties, row),
    fingerprint: columns.fingerprint[row]!,
    raw: raw === null ? null : Buffer.from(raw).toString("hex"),
    rawKey: rawKey === null ? null : Buffer.from(rawKey).toString("hex"),
  };
}

const FIELDS = [
  ...([
    "verdict",
    "reason",
    "pointer",
    "eventId",
    "eventTimeMs",
    "userId",
    "eventType",
    "source",
    "sessionId",
    "value",
    "deviceInfo",
  ] as const),
  ...(["geoLocation", "properties", "fingerprint", "raw", "rawKey"] as const),
];

/** null = the same. */
export function difference(actual: ReferenceRow, expected: ReferenceRow): string | null {
  const wrong = FIELDS.filter((field) => {
    const wanted = field === "userId" && expected.userId === 0n ? null : expected[field];
    return !Object.is(actual[field], wanted);
  });
  if (wrong.length === 0) return null;
  return wrong.map((field) => `${field} is ${String(actual[field])}, the reference says ${String(expected[field])}`).join("; ");
}
