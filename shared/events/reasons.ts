/**
 * Every reason code of the pipeline. A code is an interface: dead letters, alarms and `weir dlq` filter by it, so a code is never reused and
 * never renamed; `text` may change. Severity: error = dead letter, warning = kept and flagged, info = counted only.
 *
 * What stands beside a code as `pointer`: an RFC 6901 JSON pointer to the failing field ("" = the whole event), or, for bytes that are no
 * JSON, `@` and the position of the first bad byte. A pointer is empty or starts with `/`, so the two cannot be confused.
 */

export type Severity = "error" | "warning" | "info";
export type ReasonStage = "record" | "encoding" | "json" | "schema" | "identity" | "time" | "key" | "processor" | "rule";

export interface Reason {
  readonly severity: Severity;
  /** The checks run in the order record, encoding and json, schema and identity, time, key: an event has the code of the first that fails. */
  readonly stage: ReasonStage;
  readonly text: string;
}

export const REASONS = {
  "value.null": { severity: "error", stage: "record", text: "the record has no value (a tombstone)" },
  "value.base64": { severity: "error", stage: "record", text: "the record's value is not base64, the bytes kept are the text as it came" },
  "size.event": { severity: "error", stage: "record", text: "the event is larger than the limit" },
  "headers.size": { severity: "error", stage: "record", text: "the record's headers are larger in sum than the limit" },

  encoding: { severity: "error", stage: "encoding", text: "the bytes are not UTF-8" },
  "encoding.bom": { severity: "error", stage: "encoding", text: "the event starts with a byte order mark, which RFC 8259 forbids" },
  "encoding.surrogate": {
    severity: "error",
    stage: "encoding",
    text: "a \\u escape is half of a surrogate pair, which no UTF-8 text can hold",
  },
  format: {
    severity: "error",
    stage: "encoding",
    text: "the bytes look like a compressed or binary format (gzip, zstd, Avro, schema registry), not like JSON",
  },

  "json.empty": { severity: "error", stage: "json", text: "the event is empty or white space only" },
  "json.syntax": { severity: "error", stage: "json", text: "the event is not JSON (RFC 8259)" },
  "json.multiple": { severity: "error", stage: "json", text: "the record holds more than one JSON document" },
  "json.depth": { severity: "error", stage: "json", text: "the event is nested deeper than the limit" },
  "json.keys": { severity: "error", stage: "json", text: "the event has more keys than the limit" },
  "json.items": { severity: "error", stage: "json", text: "an array has more items than the limit" },
  "json.duplicate_key": { severity: "error", stage: "json", text: "an object has the same key twice" },
  forbidden_key: { severity: "error", stage: "json", text: "a key named __proto__, constructor or prototype" },
  "size.field": { severity: "error", stage: "json", text: "a string is longer than the limit" },
  "size.key": { severity: "error", stage: "json", text: "a key is longer than the limit" },
  "number.unsafe": { severity: "error", stage: "json", text: "an integer beyond 2^53 - 1 would be rounded: send it as a string" },
  "number.range": {
    severity: "error",
    stage: "json",
    text: "a number that a double cannot hold (overflow, underflow to zero, or too many digits)",
  },
  "text.nul": { severity: "error", stage: "json", text: "a string holds U+0000, which the stores refuse" },
  batch_not_allowed: { severity: "error", stage: "json", text: "an array of events in one record: send one record per event" },

  "schema.not_object": { severity: "error", stage: "schema", text: "the event is not a JSON object" },
  "schema.required": { severity: "error", stage: "schema", text: "a required field is missing, null or blank" },
  "schema.null": { severity: "error", stage: "schema", text: "a field is null that may be left out but not null" },
  "schema.type": { severity: "error", stage: "schema", text: "a field has another type than its schema says" },
  "schema.range": { severity: "error", stage: "schema", text: "a number lies outside the range of its rule" },
  "schema.enum": { severity: "error", stage: "schema", text: "a field is none of its allowed values" },
  "schema.length": { severity: "error", stage: "schema", text: "a string is longer or shorter than its rule allows" },
  "schema.pattern": { severity: "error", stage: "schema", text: "a string does not match the pattern of its rule" },
  "schema.unknown_field": { severity: "error", stage: "schema", text: "a field that the event type does not declare" },
  "schema.version": { severity: "error", stage: "schema", text: "a schema version that the event type does not have" },
  unknown_event: { severity: "error", stage: "schema", text: "an event type that no release of the rules declares (case matters)" },
  unknown_source: { severity: "error", stage: "schema", text: "a source that no release of the rules declares" },

  "id.format": { severity: "error", stage: "identity", text: "event_id is no UUID, or user_id no unsigned 64-bit number in decimal" },
  "id.placeholder": {
    severity: "error",
    stage: "identity",
    text: "an id that stands for none: all zeros, null, undefined, guest and the like",
  },

  "time.unparseable": { severity: "error", stage: "time", text: "event_time is neither RFC 3339 nor epoch milliseconds" },
  "time.zone": { severity: "error", stage: "time", text: "event_time has no time zone" },
  "time.unit": { severity: "error", stage: "time", text: "event_time looks like seconds, microseconds or nanoseconds: send milliseconds" },
  "time.future": { severity: "error", stage: "time", text: "event_time is too far ahead of the record's time in Kafka" },
  "time.ancient": { severity: "error", stage: "time", text: "event_time is too old (sources declared historical are exempt)" },
  "time.unchecked": { severity: "warning", stage: "time", text: "the record has no time in Kafka, so age and skew were not checked" },

  "key.missing": { severity: "error", stage: "key", text: "the record has no key" },
  "key.mismatch": { severity: "error", stage: "key", text: "the record's key is not user_id as decimal text, so its order is not kept" },

  "rule.flag": { severity: "warning", stage: "rule", text: "a rule with action flag did not hold" },
  "rule.unknown_field": {
    severity: "warning",
    stage: "rule",
    text: "a field that the event type does not declare, where its rules say to flag such fields",
  },

  "id.conflict": { severity: "error", stage: "processor", text: "an event with this event_id and other bytes came before" },
  duplicate: { severity: "info", stage: "processor", text: "the same event came before (same event_id, same bytes)" },
  late: { severity: "info", stage: "processor", text: "the event is behind the watermark: its window is closed" },
  "anomaly.score": { severity: "warning", stage: "processor", text: "the value is far from what is usual for the user (column score)" },
  "anomaly.reject": { severity: "error", stage: "processor", text: "an anomaly rule with action reject fired" },
} as const satisfies Record<string, Reason>;

export type ReasonCode = keyof typeof REASONS;

/** In the order of the table: the validator's internal code of a reason is its place here. */
export const REASON_CODES = Object.keys(REASONS) as readonly ReasonCode[];
