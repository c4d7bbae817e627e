/**
 * What a well-formed event must be beside JSON: schema, nullability, range, time, key, in this order. Reads the positions that the scanner
 * noted, and leaves what it parsed for the columns; an event that fails half-way keeps what was read up to there.
 */
import type { ReasonCode } from "#shared/events/reasons.ts";
import { hashBytes, type NameTable } from "#shared/rules/name-table.ts";
import { matches } from "#shared/rules/pattern.ts";
import { FIELD, KIND, NULLABLE, type Plan, PRESENCE_FIELD_SHIFT, REQUIRED, type TypePlan, type ValueCheck } from "#shared/rules/plan.ts";
import type { UpcastPlan } from "#shared/rules/upcast-plan.ts";
import { ESCAPED, type JsonScanner, PARSED } from "./json-scanner.ts";
import { RECORD, RECORD_SHIFT } from "./key-tree.ts";
import type { Limits } from "./limits.ts";
import { parseNumber } from "./number-scanner.ts";
import { countCharacters, decodeText, isBlank } from "./text.ts";
import { isPlaceholder, parseEpoch, parseTimestamp, parseUserId, parseUuid, viewOf } from "./values.ts";

// Constants of this module, since the compiler does not fold imported ones.
const EVENT_ID = FIELD.eventId;
const EVENT_TIME = FIELD.eventTime;
const USER_ID = FIELD.userId;
const EVENT_TYPE = FIELD.eventType;
const SOURCE = FIELD.source;
const SESSION_ID = FIELD.sessionId;
const SCHEMA_VERSION = FIELD.schemaVersion;
const PROPERTIES = FIELD.properties;
const SHIFT = RECORD_SHIFT;
const START = RECORD.start;
const END = RECORD.end;
const KIND_OF = RECORD.kind;
const STRING = KIND.string;
const INTEGER = KIND.integer;
const NULL = KIND.null;
const NUMERIC = KIND.integer | KIND.decimal;
const MUST_BE = REQUIRED;
const MAY_BE_NULL = NULLABLE;
const FIELD_SHIFT = PRESENCE_FIELD_SHIFT;
const HAS_ESCAPES = ESCAPED;
const PARSED_STRING = KIND.string | PARSED;
/** Not an index of a name or field. */
const NONE = -1;

export class EventCheck {
  readonly #plan: Plan;
  readonly #limits: Limits;
  readonly #json: JsonScanner;
  /** Strings with escapes are decoded here; `#text` is the buffer in which the last string stands. */
  #scratch = new Uint8Array(1_024);
  #bytes: Uint8Array = new Uint8Array(0);
  #text: Uint8Array = new Uint8Array(0);
  #textStart = 0;
  #textEnd = 0;

  readonly #number = new Float64Array(1);

  hasEventId = false;
  readonly eventId: Uint8Array;
  readonly eventIdWords: Int32Array;
  readonly eventTimeMs: Float64Array;
  hasUserId = false;
  readonly userId = new Uint32Array(2);
  readonly value = new Float64Array(1);
  /** Place in the plan's names; -1 = none. */
  typeIndex = NONE;
  sourceIndex = NONE;
  #type: TypePlan | null = null;
  /** Of an event that was accepted: place of its version in the plan, and what makes it one of the newest; null = it stays as it is. */
  versionPlace = NONE;
  upcast: UpcastPlan | null = null;
  /** Most records of a partition come from the source of the one before. */
  #lastSource = NONE;

  failure: ReasonCode = "schema.required";
  /** Field that failed; -1 = see failureAt. */
  failedField = NONE;
  failureAt = 0;
  warning: ReasonCode | null = null;

  constructor(plan: Plan, limits: Limits, json: JsonScanner) {
    this.#plan = plan;
    this.#limits = limits;
    this.#json = json;
    this.eventId = json.eventId;
    this.eventIdWords = new Int32Array(json.eventId.buffer);
    this.eventTimeMs = json.eventTimeMs;
  }

  begin(): void {
    this.hasEventId = false;
    this.hasUserId = false;
    this.typeIndex = NONE;
    this.sourceIndex = NONE;
    this.versionPlace = NONE;
    this.upcast = null;
    this.value[0] = NaN;
    this.warning = null;
    this.failedField = NONE;
  }

  /** True = accepted. `key` undefined = the record has none and need not. */
  check(bytes: Uint8Array, key: Uint8Array | null | undefined, keyStart: number, keyEnd: number, timestampMs: number): boolean {
    this.#bytes = bytes;
    return (
      this.#checkIdentity() &&
      this.#checkUser() &&
      this.#checkType() &&
      this.#checkSource() &&
      this.#checkFields(this.#typeOfSource(this.#type!)) &&
      this.#checkTime() &&
      this.#checkAge(timestampMs) &&
      this.#checkKey(key, keyStart, keyEnd)
    );
  }

  #fail(reason: ReasonCode, field: number): false {
    this.failure = reason;
    this.failedField = field;
    return false;
  }

  /** 0 = absent. */
  #kindOf(field: number): number {
    return this.#json.records[field << SHIFT] === this.#json.event ? this.#json.records[(field << SHIFT) + KIND_OF]! & 255 : 0;
  }

  #startOf(field: number): number {
    return this.#json.records[(field << SHIFT) + START]!;
  }

  #endOf(field: number): number {
    return this.#json.records[(field << SHIFT) + END]!;
  }

  /** Sets #text to the content of a string field. */
  #openText(field: number): void {
    const { records } = this.#json;
    const start = records[(field << SHIFT) + START]! + 1;
    const end = records[(field << SHIFT) + END]! - 1;
    if ((records[(field << SHIFT) + KIND_OF]! & HAS_ESCAPES) === 0) {
      this.#text = this.#bytes;
      this.#textStart = start;
      this.#textEnd = end;
      return;
    }
    if (this.#scratch.length < end - start) this.#scratch = new Uint8Array(2 * (end - start));
    this.#text = this.#scratch;
    this.#textStart = 0;
    this.#textEnd = decodeText(this.#bytes, start, end, this.#scratch, 0);
  }

  /** A required string of the envelope, opened. */
  #requireText(field: number): boolean {
    const kind = this.#kindOf(field);
    if (kind === 0 || kind === NULL) return this.#fail("schema.required", field);
    if (kind !== STRING) return this.#fail("schema.type", field);
    this.#openText(field);
    return !isBlank(this.#text, this.#textStart, this.#textEnd) || this.#fail("schema.required", field);
  }

  /** Present, a string, nothing escaped: what nearly every event has, and needs no copy and no second look. */
  #isPlain(field: number): boolean {
    const { records, event } = this.#json;
    return records[field << SHIFT] === event && records[(field << SHIFT) + KIND_OF] === STRING;
  }

  #isParsed(field: number): boolean {
    const { records, event } = this.#json;
    return records[field << SHIFT] === event && records[(field << SHIFT) + KIND_OF] === PARSED_STRING;
  }

  #checkIdentity(): boolean {
    if (this.#isParsed(EVENT_ID)) {
      this.hasEventId = true;
      return true;
    }
    if (!this.#requireText(EVENT_ID)) return false;
    this.hasEventId = parseUuid(viewOf(this.#text), this.#textStart, this.#textEnd, this.eventId);
    return (
      this.hasEventId || this.#fail(isPlaceholder(this.#text, this.#textStart, this.#textEnd) ? "id.placeholder" : "id.format", EVENT_ID)
    );
  }

  #checkUser(): boolean {
    if (this.#kindOf(USER_ID) === INTEGER) {
      this.#text = this.#bytes;
      this.#textStart = this.#startOf(USER_ID);
      this.#textEnd = this.#endOf(USER_ID);
      if (this.#bytes[this.#textStart] === 0x2d) return this.#fail("schema.range", USER_ID);
    } else if (!this.#requireText(USER_ID)) return false;
    const reason = parseUserId(this.#text, this.#textStart, this.#textEnd, this.userId, 0);
    this.hasUserId = reason === null;
    return this.hasUserId || this.#fail(reason!, USER_ID);
  }

  #lookUp(table: NameTable): number {
    return table.find(this.#text, this.#textStart, this.#textEnd, hashBytes(this.#text, this.#textStart, this.#textEnd));
  }

  #findType(): number {
    if (!this.#isPlain(EVENT_TYPE)) return NONE;
    const bytes = this.#bytes;
    const start = this.#startOf(EVENT_TYPE) + 1;
    const end = this.#endOf(EVENT_TYPE) - 1;
    return this.#plan.typeNames.find(bytes, start, end, hashBytes(bytes, start, end));
  }

  #checkType(): boolean {
    this.typeIndex = this.#findType();
    if (this.typeIndex < 0) {
      if (!this.#requireText(EVENT_TYPE)) return false;
      this.typeIndex = this.#lookUp(this.#plan.typeNames);
      if (this.typeIndex < 0) return this.#fail("unknown_event", EVENT_TYPE);
    }
    const versions = this.#plan.types[this.typeIndex]!;
    const kind = this.#kindOf(SCHEMA_VERSION);
    // An event without the field is of the first version: producers from before there were versions.
    let wanted = 1;
    if (kind === INTEGER) {
      this.#readNumber(SCHEMA_VERSION);
      wanted = this.#number[0]!;
    } else if (kind !== 0) return this.#fail("schema.version", SCHEMA_VERSION);
    for (const version of versions) {
      if (version.schemaVersion === wanted) {
        this.#type = version;
        this.versionPlace = version.place;
        this.upcast = version.upcast;
        return true;
      }
    }
    return this.#fail("schema.version", SCHEMA_VERSION);
  }

  #checkSource(): boolean {
    const { sourceNames } = this.#plan;
    if (this.#isPlain(SOURCE)) {
      const start = this.#startOf(SOURCE) + 1;
      const end = this.#endOf(SOURCE) - 1;
      if (this.#lastSource < 0 || !sourceNames.equals(this.#lastSource, this.#bytes, start, end)) {
        this.#lastSource = sourceNames.find(this.#bytes, start, end, hashBytes(this.#bytes, start, end));
      }
      this.sourceIndex = this.#lastSource;
      return this.sourceIndex >= 0 || this.#fail("unknown_source", SOURCE);
    }
    const kind = this.#kindOf(SOURCE);
    if (kind !== STRING) return true; // absent, null or wrong: #checkFields knows
    this.#openText(SOURCE);
    this.sourceIndex = this.#lookUp(sourceNames);
    return this.sourceIndex >= 0 || this.#fail("unknown_source", SOURCE);
  }

  /** Known only now, since the source may stand behind the type. */
  #typeOfSource(type: TypePlan): TypePlan {
    return type.bySource === null ? type : type.bySource[this.sourceIndex + 1]!;
  }

  #checkFields(type: TypePlan): boolean {
    const { presence } = type;
    const { records, event } = this.#json;
    for (let i = 0; i < presence.length; i++) {
      const rule = presence[i]!;
      const field = rule >> FIELD_SHIFT;
      const kind = records[field << SHIFT] === event ? records[(field << SHIFT) + KIND_OF]! & 255 : 0;
      if (kind === 0 || kind === NULL) {
        if (kind === 0 ? (rule & MUST_BE) !== 0 : (rule & MAY_BE_NULL) === 0) {
          return this.#fail((rule & MUST_BE) !== 0 ? "schema.required" : "schema.null", field);
        }
      } else if ((kind & rule) === 0) return this.#fail("schema.type", field);
      else if (kind === STRING && (rule & MUST_BE) !== 0) {
        this.#openText(field);
        if (isBlank(this.#text, this.#textStart, this.#textEnd)) return this.#fail("schema.required", field);
      }
    }
    if ((type.rejectUnknown || type.flagUnknown) && !this.#checkUnknown(type)) return false;
    const session = SESSION_ID;
    if (this.#kindOf(session) === STRING && this.#endOf(session) - this.#startOf(session) - 2 > this.#limits.sessionIdBytes) {
      return this.#fail("size.field", session);
    }
    if (type.measure >= 0 && (this.#kindOf(type.measure) & NUMERIC) !== 0) {
      this.#readNumber(type.measure);
      this.value[0] = this.#number[0]!;
    }
    for (const check of type.checks) if (!this.#checkValue(check)) return false;
    return true;
  }

  /** Into #number: a double that a call returns would be an object. */
  #readNumber(field: number): void {
    this.#number[0] = parseNumber(this.#bytes, this.#startOf(field), this.#endOf(field));
  }

  #checkValue(check: ValueCheck): boolean {
    const kind = this.#kindOf(check.field);
    let reason: ReasonCode | null = null;
    if ((kind & NUMERIC) !== 0) {
      this.#readNumber(check.field);
      const value = this.#number[0]!;
      if (value < check.min || value > check.max) reason = "schema.range";
      else if (check.enumNumbers !== null && !check.enumNumbers.includes(value)) reason = "schema.enum";
    } else if (kind === STRING) {
      this.#openText(check.field);
      if (!this.#hasLength(check)) reason = "schema.length";
      else if (check.enumStrings !== null && this.#lookUp(check.enumStrings) < 0) reason = "schema.enum";
      else if (check.pattern !== null && !matches(check.pattern, this.#text, this.#textStart, this.#textEnd)) reason = "schema.pattern";
    }
    if (reason === null) return true;
    if (!check.flag) return this.#fail(reason, check.field);
    this.warning ??= "rule.flag";
    return true;
  }

  #hasLength({ minLength, maxLength }: ValueCheck): boolean {
    if (minLength === 0 && maxLength === Infinity) return true;
    const characters = countCharacters(this.#text, this.#textStart, this.#textEnd);
    return characters >= minLength && characters <= maxLength;
  }

  /** Members of the event and of `properties`: those that no rule names, and those that only other types' rules name. */
  #checkUnknown(type: TypePlan): boolean {
    const json = this.#json;
    for (let i = 0; i < 2; i++) {
      const node = i === 0 ? 0 : this.#plan.childNode[PROPERTIES]!;
      if (node >= 0 && json.unknownIn[node] === json.event) {
        this.failureAt = json.unknownAt[node]!;
        return this.#isUnknown(type, NONE);
      }
    }
    for (let field = 0; field < type.declared.length; field++) {
      if (type.declared[field] === 0 && json.records[field << SHIFT] === json.event) return this.#isUnknown(type, field);
    }
    return true;
  }

  #isUnknown(type: TypePlan, field: number): boolean {
    if (type.rejectUnknown) return this.#fail("schema.unknown_field", field);
    this.warning ??= "rule.unknown_field";
    return true;
  }

  #checkTime(): boolean {
    const field = EVENT_TIME;
    if (this.#kindOf(field) === INTEGER) {
      const reason = parseEpoch(this.#bytes, this.#startOf(field), this.#endOf(field), this.eventTimeMs);
      return reason === null || this.#fail(reason, field);
    }
    if (this.#isPlain(field) && parseTimestamp(this.#bytes, this.#startOf(field) + 1, this.#endOf(field) - 1, this.eventTimeMs) === null)
      return true;
    if (!this.#requireText(field)) return false;
    const reason = parseTimestamp(this.#text, this.#textStart, this.#textEnd, this.eventTimeMs);
    return reason === null || this.#fail(reason, field);
  }

  #checkAge(timestampMs: number): boolean {
    const timeMs = this.eventTimeMs[0]!;
    if (timeMs <= 0) return this.#fail("time.ancient", EVENT_TIME);
    if (!(timestampMs > 0)) {
      this.warning ??= "time.unchecked";
      return true;
    }
    if (timeMs > timestampMs + this.#limits.maxFutureSkewMs) return this.#fail("time.future", EVENT_TIME);
    if (timeMs >= timestampMs - this.#limits.maxAgeMs || this.#limits.historical) return true;
    return (this.sourceIndex >= 0 && this.#plan.sourceHistorical[this.sourceIndex] === 1) || this.#fail("time.ancient", EVENT_TIME);
  }

  /** Canonical text, so the digits of user_id are the key. */
  #checkKey(key: Uint8Array | null | undefined, keyStart: number, keyEnd: number): boolean {
    if (key === undefined) return true;
    if (key === null || keyEnd === keyStart) return this.#fail("key.missing", USER_ID);
    const isText = this.#kindOf(USER_ID) === STRING;
    if (isText) this.#openText(USER_ID);
    const text = isText ? this.#text : this.#bytes;
    const start = isText ? this.#textStart : this.#startOf(USER_ID);
    const end = isText ? this.#textEnd : this.#endOf(USER_ID);
    if (keyEnd - keyStart !== end - start) return this.#fail("key.mismatch", USER_ID);
    for (let i = 0; i < end - start; i++) if (key[keyStart + i] !== text[start + i]) return this.#fail("key.mismatch", USER_ID);
    return true;
  }
}
