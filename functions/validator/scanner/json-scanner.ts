/**
 * One pass over the bytes of one event: all of RFC 8259 and UTF-8, the limits, keys that come twice or are forbidden, numbers that a double
 * cannot hold. Notes where the values of the plan's fields stand. Makes no object per event; recursion is bounded by the depth limit, which
 * is checked before each step down.
 *
 * Every scan method takes the position where its part starts and returns the position behind it, or -1 after {@link JsonScanner.fail}.
 * Positions are not compared with the end: the byte behind the event is 0, which no token and no text may hold.
 */
import type { ReasonCode } from "#shared/events/reasons.ts";
import { FIELD, KIND, type Plan } from "#shared/rules/plan.ts";
import * as tables from "./bytes.ts";
import { hashKey } from "./key-hash.ts";
import { DECODED, KeySet } from "./key-set.ts";
import { KeyTree, RECORD, RECORD_SHIFT } from "./key-tree.ts";
import type { Limits } from "./limits.ts";
import { NUMBER, scanNumber } from "./number-scanner.ts";
import { decodeText } from "./text.ts";
import { parseTimestamp, parseUuid } from "./values.ts";

// The compiler folds a module's own constants, not imported ones: a sixth of the scan's time.
const { STOPS_TEXT, ESCAPES } = tables;
const QUOTE = 0x22;
const COMMA = 0x2c;
const MINUS = 0x2d;
const COLON = 0x3a;
const OPEN_ARRAY = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const STRING = KIND.string;
const INTEGER = KIND.integer;
const DECIMAL = KIND.decimal;
const OBJECT = KIND.object;
const ARRAY = KIND.array;
const EVENT_TIME = FIELD.eventTime;
const SHIFT = RECORD_SHIFT;
const START = RECORD.start;
const END = RECORD.end;
const KIND_OF = RECORD.kind;
const WORD_COUNT = RECORD.wordCount;
const LAST_MASK = RECORD.lastMask;
const NEXT = RECORD.next;
const WORDS = RECORD.words;

const encoder = new TextEncoder();
const FORBIDDEN = ["__proto__", "constructor", "prototype"].map((key) => encoder.encode(key));
const TRUE = encoder.encode("true");
const FALSE = encoder.encode("false");
const NULL = encoder.encode("null");

/** Answers of #resolveKey beside ids. */
const UNNAMED = -1;
const FAILED = -2;

/** Bits beside the kind of a string: it has escapes; it was parsed in passing, which shows that it is plain text. */
export const ESCAPED = 256;
export const PARSED = 512;
const PARSED_STRING = STRING | PARSED;
const TIMESTAMP_CHARACTERS = "2026-11-24T09:00:00.000Z".length;
const UUID_CHARACTERS = 36;

export class JsonScanner {
  readonly #limits: Limits;
  readonly #maxDepth: number;
  readonly #maxKeys: number;
  readonly #maxStringBytes: number;
  /** First id of the keys that no rule names. */
  readonly #learnedFrom: number;
  readonly #tree: KeyTree;
  readonly #keys = new KeySet();
  #bytes: Uint8Array = new Uint8Array(0);
  #view: DataView = new DataView(this.#bytes.buffer);
  #end = 0;
  #keyCount = 0;
  /** Of the last value: see KIND, and ESCAPED. */
  #kind = 0;

  /** Of the field parsed in passing, see PARSED. */
  readonly eventId = new Uint8Array(16);
  readonly eventTimeMs = new Float64Array(1);
  /** Number of this event. */
  event = 0;
  /** By field id: see RECORD. */
  readonly records: Int32Array;
  /** Position of the first member that no rule names, by node; valid when `unknownIn[node]` is this event. */
  readonly unknownAt: Int32Array;
  readonly unknownIn: Int32Array;

  failure: ReasonCode = "json.syntax";
  failureAt = 0;

  constructor(plan: Plan, limits: Limits) {
    this.#limits = limits;
    this.#tree = new KeyTree(plan);
    this.records = this.#tree.records;
    this.#maxDepth = limits.depth;
    this.#maxKeys = limits.keys;
    this.#maxStringBytes = limits.stringBytes;
    this.#learnedFrom = plan.fieldCount;
    this.unknownAt = new Int32Array(this.#tree.nodeCapacity);
    this.unknownIn = new Int32Array(this.#tree.nodeCapacity);
  }

  /** `bytes[end]` is 0 and seven more bytes follow; `view` covers `bytes`. False: see `failure` and `failureAt`. */
  scanEvent(bytes: Uint8Array, view: DataView, start: number, end: number): boolean {
    this.#bytes = bytes;
    this.#view = view;
    this.#end = end;
    this.#keyCount = 0;
    this.event = this.event === 0x3fffffff ? 1 : this.event + 1;
    this.#keys.begin(bytes);
    this.#tree.begin();
    let at = this.#skipSpace(start);
    if (at >= end) return this.fail("json.empty", start) >= 0;
    if (bytes[at] !== OPEN_OBJECT) return this.#refuseTop(at);
    at = this.#scanObject(at, 1, 0, 0);
    if (at < 0) return false;
    at = this.#skipSpace(at);
    return at === end || this.fail(startsDocument(bytes[at]!) ? "json.multiple" : "json.syntax", at) >= 0;
  }

  fail(reason: ReasonCode, at: number): -1 {
    this.failure = reason;
    this.failureAt = Math.min(at, this.#end);
    return -1;
  }

  /** Whatever is no object: malformed text keeps the reason of its first bad byte. */
  #refuseTop(start: number): false {
    const opened = this.#bytes[start] === OPEN_ARRAY && this.#bytes[this.#skipSpace(start + 1)] === OPEN_OBJECT;
    let at = this.#scanValue(start, 1, -1, 0);
    if (at >= 0) {
      at = this.#skipSpace(at);
      if (at < this.#end) this.fail(startsDocument(this.#bytes[at]!) ? "json.multiple" : "json.syntax", at);
      else this.fail(opened ? "batch_not_allowed" : "schema.not_object", start);
    } else if (opened && (this.failure === "json.items" || this.failure === "json.keys")) this.fail("batch_not_allowed", start);
    return false;
  }

  #skipSpace(start: number): number {
    const bytes = this.#bytes;
    let at = start;
    for (let byte = bytes[at]!; byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = bytes[at]!) at++;
    return at;
  }

  /** `node`: where this value's members stand in the key tree, -1 = nowhere; `base`: keys of the enclosing objects in the key set. */
  #scanValue(start: number, depth: number, node: number, base: number): number {
    const byte = this.#bytes[start]!;
    if (byte === QUOTE) return this.#scanString(start);
    if (byte === MINUS || (byte >= 0x30 && byte <= 0x39)) return this.#scanNumber(start, false);
    if (byte === OPEN_OBJECT) return this.#scanObject(start, depth, node, base);
    if (byte === OPEN_ARRAY) return this.#scanArray(start, depth, base);
    return this.#scanLiteral(start, byte);
  }

  #scanObject(start: number, depth: number, node: number, base: number): number {
    if (depth > this.#maxDepth) return this.fail("json.depth", start);
    const bytes = this.#bytes;
    const tree = this.#tree;
    const { records, event } = this;
    const learnedFrom = this.#learnedFrom;
    let at = start + 1;
    if (bytes[at]! <= 0x20) at = this.#skipSpace(at);
    if (bytes[at] === CLOSE_OBJECT) {
      this.#kind = OBJECT;
      return at + 1;
    }
    let unnamed = 0;
    /** Only an object with keys that have no place in the tree needs one. */
    let serial = 0;
    let previous = node < 0 ? 0 : tree.capacity + node;
    for (;;) {
      if (bytes[at] !== QUOTE) return this.fail("json.syntax", at);
      if (++this.#keyCount > this.#maxKeys) return this.fail("json.keys", at);
      const keyAt = at;
      let id = node < 0 ? UNNAMED : records[(previous << SHIFT) + NEXT]!;
      if (id >= 0) at = this.#matchKey(id, keyAt + 1);
      if (id < 0 || at < 0) {
        const keyEnd = this.#scanString(keyAt);
        if (keyEnd < 0) return -1;
        at = bytes[keyEnd]! <= 0x20 ? this.#skipSpace(keyEnd) : keyEnd;
        // Before the key is judged: a key twice is found here or below, and both must say the same of one without a colon.
        if (bytes[at] !== COLON) return this.fail("json.syntax", at);
        at++;
        if (serial === 0) serial = this.#keys.openObject();
        id = this.#resolveKey(keyAt + 1, keyEnd - 1, node, serial, base, unnamed);
        if (id === FAILED) return -1;
        if (id === UNNAMED) unnamed++;
        else records[(previous << SHIFT) + NEXT] = id;
      }
      if (bytes[at]! <= 0x20) at = this.#skipSpace(at);
      if (id >= 0) {
        const record = id << SHIFT;
        if (records[record] === event) return this.fail("json.duplicate_key", keyAt);
        records[record] = event;
        records[record + START] = at;
        if (id >= learnedFrom) this.#noteUnknown(node, keyAt);
        previous = id;
        at = this.#scanMember(at, id, depth, base + unnamed);
        if (at < 0) return -1;
        records[record + END] = at;
        records[record + KIND_OF] = this.#kind;
      } else {
        at = this.#scanValue(at, depth + 1, -1, base + unnamed);
        if (at < 0) return -1;
      }
      if (bytes[at]! <= 0x20) at = this.#skipSpace(at);
      if (bytes[at] === COMMA) {
        at++;
        if (bytes[at]! <= 0x20) at = this.#skipSpace(at);
      } else if (bytes[at] === CLOSE_OBJECT) {
        this.#kind = OBJECT;
        return at + 1;
      } else return this.fail("json.syntax", at);
    }
  }

  /** The position behind `key":` if that is what stands at `start`, else -1. */
  #matchKey(id: number, start: number): number {
    const { records } = this;
    const view = this.#view;
    const record = id << SHIFT;
    let word = record + WORDS;
    const last = word + records[record + WORD_COUNT]! - 1;
    let at = start;
    for (; word < last; word++, at += 4) if (view.getInt32(at, true) !== records[word]) return -1;
    const mask = records[record + LAST_MASK]!;
    if (last < word || (view.getInt32(at, true) & mask) !== records[word]) return -1;
    return at + 4 - (Math.clz32(mask) >> 3);
  }

  #scanMember(start: number, id: number, depth: number, base: number): number {
    const byte = this.#bytes[start]!;
    if (byte === QUOTE) return id <= EVENT_TIME ? this.#scanIdentity(start, id) : this.#scanString(start);
    // An unsafe integer in event_time is a wrong unit (nanoseconds), which says more than the rule on numbers.
    if (byte === MINUS || (byte >= 0x30 && byte <= 0x39)) return this.#scanNumber(start, id === EVENT_TIME);
    if (byte === OPEN_OBJECT) return this.#scanObject(start, depth + 1, this.#tree.openChild(id), base);
    return this.#scanValue(start, depth + 1, -1, base);
  }

  /** event_id and event_time in their usual form need no look at single characters. */
  #scanIdentity(start: number, id: number): number {
    const end = start + 1 + (id === EVENT_TIME ? TIMESTAMP_CHARACTERS : UUID_CHARACTERS);
    if (end < this.#end && this.#bytes[end] === QUOTE) {
      const parsed =
        id === EVENT_TIME
          ? parseTimestamp(this.#bytes, start + 1, end, this.eventTimeMs) === null
          : parseUuid(this.#view, start + 1, end, this.eventId);
      if (parsed) {
        this.#kind = PARSED_STRING;
        return end + 1;
      }
    }
    return this.#scanString(start);
  }

  /** Id in the key tree, UNNAMED or FAILED. */
  #resolveKey(start: number, end: number, node: number, serial: number, base: number, unnamed: number): number {
    if (end - start > this.#limits.keyBytes) return this.#failKey("size.key", start - 1);
    let bytes = this.#bytes;
    let from = start;
    let to = end;
    let mark = 0;
    if ((this.#kind & ESCAPED) !== 0) {
      this.#keys.reserveDecoded(end - start);
      from = this.#keys.decodedLength;
      bytes = this.#keys.decoded;
      to = decodeText(this.#bytes, start, end, bytes, from);
      this.#keys.decodedLength = to;
      mark = DECODED;
    }
    const length = to - from;
    if ((length === 9 || length === 11) && isForbidden(bytes, from, to)) return this.#failKey("forbidden_key", start - 1);
    const hash = hashKey(bytes, from, to);
    if (node >= 0) {
      const id = this.#tree.resolve(node, bytes, from, to, hash);
      if (id >= 0) return id;
      this.#noteUnknown(node, start - 1);
    }
    if (this.#keys.add(serial, base, unnamed, hash, from | mark, to | mark)) return UNNAMED;
    return this.#failKey("json.duplicate_key", start - 1);
  }

  #failKey(reason: ReasonCode, at: number): typeof FAILED {
    this.fail(reason, at);
    return FAILED;
  }

  #noteUnknown(node: number, at: number): void {
    if (this.unknownIn[node] === this.event) return;
    this.unknownIn[node] = this.event;
    this.unknownAt[node] = at;
  }

  #scanArray(start: number, depth: number, base: number): number {
    if (depth > this.#maxDepth) return this.fail("json.depth", start);
    const bytes = this.#bytes;
    let at = this.#skipSpace(start + 1);
    if (bytes[at] === CLOSE_ARRAY) {
      this.#kind = ARRAY;
      return at + 1;
    }
    for (let items = 1; ; items++) {
      if (items > this.#limits.items) return this.fail("json.items", at);
      at = this.#scanValue(at, depth + 1, -1, base);
      if (at < 0) return -1;
      at = this.#skipSpace(at);
      if (bytes[at] === COMMA) at = this.#skipSpace(at + 1);
      else if (bytes[at] === CLOSE_ARRAY) {
        this.#kind = ARRAY;
        return at + 1;
      } else return this.fail("json.syntax", at);
    }
  }

  #scanString(start: number): number {
    const bytes = this.#bytes;
    const stops = STOPS_TEXT;
    let at = start + 1;
    while (stops[bytes[at]!] === 0) at++;
    this.#kind = STRING;
    return bytes[at] === QUOTE && at - start <= this.#maxStringBytes ? at + 1 : this.#scanRichString(start, at);
  }

  /** A string whose first byte of note, at `plainEnd`, is no closing quote; or one that is too long. */
  #scanRichString(start: number, plainEnd: number): number {
    const bytes = this.#bytes;
    const stops = STOPS_TEXT;
    let at = plainEnd;
    for (;;) {
      while (stops[bytes[at]!] === 0) at++;
      const byte = bytes[at]!;
      if (byte === QUOTE) break;
      if (byte === BACKSLASH) {
        this.#kind = STRING | ESCAPED;
        at = this.#scanEscape(at);
        if (at < 0) return -1;
      } else if (byte >= 0x80) {
        const next = tables.utf8End(bytes, at, this.#end);
        if (next < 0) return this.fail("encoding", at);
        at = next;
      } else return this.fail("json.syntax", at);
    }
    return at - start - 1 > this.#maxStringBytes ? this.fail("size.field", start) : at + 1;
  }

  #scanEscape(start: number): number {
    const bytes = this.#bytes;
    const end = this.#end;
    const letter = bytes[start + 1]!;
    if (letter !== 0x75) return ESCAPES[letter] === 0 ? this.fail("json.syntax", start) : start + 2;
    const code = tables.hex4(bytes, start + 2, end);
    if (code < 0) return this.fail("json.syntax", start);
    if (code === 0) return this.fail("text.nul", start);
    if (code < 0xd800 || code > 0xdfff) return start + 6;
    const low = bytes[start + 6] === BACKSLASH && bytes[start + 7] === 0x75 ? tables.hex4(bytes, start + 8, end) : -1;
    return code > 0xdbff || low < 0xdc00 || low > 0xdfff ? this.fail("encoding.surrogate", start) : start + 12;
  }

  #scanNumber(start: number, unsafeAllowed: boolean): number {
    const result = scanNumber(this.#bytes, start, this.#end);
    const at = result >> 3;
    this.#kind = INTEGER;
    switch (result & 7) {
      case NUMBER.integer:
        return at;
      case NUMBER.decimal:
        this.#kind = DECIMAL;
        return at;
      case NUMBER.unsafe:
        return unsafeAllowed ? at : this.fail("number.unsafe", start);
      case NUMBER.range:
        return this.fail("number.range", start);
      default:
        return this.fail("json.syntax", at);
    }
  }

  #scanLiteral(start: number, first: number): number {
    const literal = first === 0x74 ? TRUE : first === 0x66 ? FALSE : first === 0x6e ? NULL : null;
    if (literal === null) return this.fail("json.syntax", start);
    for (let i = 1; i < literal.length; i++) if (this.#bytes[start + i] !== literal[i]) return this.fail("json.syntax", start + i);
    this.#kind = literal === TRUE ? KIND.true : literal === FALSE ? KIND.false : KIND.null;
    return start + literal.length;
  }
}

function startsDocument(byte: number): boolean {
  return byte === OPEN_OBJECT || byte === OPEN_ARRAY;
}

function isForbidden(bytes: Uint8Array, start: number, end: number): boolean {
  return FORBIDDEN.some((key) => key.length === end - start && key.every((byte, i) => bytes[start + i] === byte));
}
