/** One event through the validator's core, told in words that a test can compare. */
import { DEFAULT_LIMITS, type Limits } from "#functions/validator/scanner/limits.ts";
import { createValidator, type Headers, type Validator } from "#functions/validator/scanner/validator.ts";
import { type BytesColumn, type EventColumns, VERDICT } from "#shared/events/columns.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { parseRelease, type ReleaseInput } from "#shared/rules/release.ts";

/** The records' time in Kafka, and the time of {@link goodEvent}. */
export const NOW_MS = Date.parse("2026-11-24T09:00:00Z");

/** Accepted as it is. */
export function goodEvent(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    event_id: "0190f2a6-7b1c-4d3e-8f00-0123456789ab",
    event_time: "2026-11-24T09:00:00.000Z",
    user_id: 42,
    event_type: "purchase",
    source: "web",
    session_id: "s-1",
    device_info: { os: "Android" },
    geo_location: { country: "DE" },
    schema_version: 1,
    properties: { amount: 12.5, currency: "EUR" },
    ...changes,
  };
}

export interface RecordInput {
  readonly value: string | Uint8Array | null;
  /** Default: the text of the good event's user. */
  readonly key?: string | Uint8Array | null;
  readonly headers?: Headers | null;
  readonly timestampMs?: number;
}

export interface Verdict {
  readonly verdict: "ok" | "warning" | "reject";
  readonly reason: string | null;
  readonly pointer: string | null;
}

export function seedValidator(limits: Partial<Limits> = {}, engine: { readonly kernel?: boolean } = {}): Validator {
  return createValidator(compilePlan(loadSeedRelease()), { ...DEFAULT_LIMITS, ...limits }, engine);
}

export function validatorOf(release: ReleaseInput, limits: Partial<Limits> = {}): Validator {
  return createValidator(compilePlan(parseRelease(release, "in the test")), { ...DEFAULT_LIMITS, ...limits });
}

export function validateRecords(validator: Validator, records: readonly RecordInput[]): EventColumns {
  validator.begin();
  for (const [offset, record] of records.entries()) {
    const value = typeof record.value === "string" ? Buffer.from(record.value) : record.value;
    const key = typeof record.key === "string" ? Buffer.from(record.key) : record.key === undefined ? Buffer.from("42") : record.key;
    validator.add(value, 0, value?.length ?? 0, key, record.headers ?? null, offset, record.timestampMs ?? NOW_MS);
  }
  return validator.finish();
}

export function verdictOf(columns: EventColumns, row = 0): Verdict {
  const code = columns.reason.codes[row]!;
  const verdict = columns.verdict[row];
  return {
    verdict: verdict === VERDICT.ok ? "ok" : verdict === VERDICT.warning ? "warning" : "reject",
    reason: code < 0 ? null : columns.reason.values[code]!,
    pointer: textAt(columns.pointer, row),
  };
}

export function bytesAt(column: BytesColumn, row: number): Uint8Array | null {
  if (column.validity !== null && (column.validity[row >> 3]! & (1 << (row & 7))) === 0) return null;
  return column.bytes.slice(column.offsets[row], column.offsets[row + 1]);
}

export function textAt(column: BytesColumn, row: number): string | null {
  const bytes = bytesAt(column, row);
  return bytes === null ? null : Buffer.from(bytes).toString("utf8");
}
