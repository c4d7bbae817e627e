/**
 * The validator's pure core: records of one partition in, the columns of one block out; one row per record, in order, rejects included.
 * The same code runs in the Lambda, its local twin, the tests and `weir check`. No clock: age is measured against the record's own Kafka time.
 *
 * What it holds on to is reused from block to block and grows only with the largest block seen.
 */
import { isUtf8 } from "node:buffer";
import { type EventColumns, VERDICT } from "#shared/events/columns.ts";
import { encodeHeaders } from "#shared/events/headers.ts";
import { KEPT_BYTES } from "#shared/events/kept-bytes.ts";
import { HEADERS } from "#shared/events/names.ts";
import { REASON_CODES, type ReasonCode } from "#shared/events/reasons.ts";
import { FIELD, KIND, type Plan } from "#shared/rules/plan.ts";
import type { UpcastPlan } from "#shared/rules/upcast-plan.ts";
import { utf8End } from "./bytes.ts";
import { Kernel } from "../kernel/kernel.ts";
import { BlockBuilder, FIXED_ROW_BYTES } from "./block-builder.ts";
import type { BytesBuilder } from "./column-builders.ts";
import { EventCheck } from "./event-check.ts";
import { fingerprint } from "./fingerprint.ts";
import { ESCAPED, JsonScanner } from "./json-scanner.ts";
import { RECORD, RECORD_SHIFT } from "./key-tree.ts";
import type { Limits } from "./limits.ts";
import { cutPointer, locatePointer } from "./locate.ts";
import { Upcaster } from "./upcaster.ts";
import { viewOf } from "./values.ts";

export type Headers = readonly (readonly [key: string, value: Uint8Array])[];

/** The scanner needs a byte behind the event that no JSON holds, and reads whole words. */
export const END_MARK_BYTES = 8;

// Constants of this module, since the compiler does not fold imported ones.
const SESSION_ID = FIELD.sessionId;
const DEVICE_INFO = FIELD.deviceInfo;
const GEO_LOCATION = FIELD.geoLocation;
const PROPERTIES = FIELD.properties;
const SHIFT = RECORD_SHIFT;
const START = RECORD.start;
const END = RECORD.end;
const KIND_OF = RECORD.kind;
const STRING = KIND.string;
const NULL = KIND.null;
const HAS_ESCAPES = ESCAPED;

/** Without a kernel; it grows with the largest batch. */
const INPUT_BYTES = 65_536;

const EMPTY = new Uint8Array(0);
const EMPTY_OBJECT = new TextEncoder().encode("{}");
const encoder = new TextEncoder();
const CODE_OF: ReadonlyMap<string, number> = new Map(REASON_CODES.map((code, i) => [code, i]));

export interface Validator {
  readonly plan: Plan;
  /** Rows since `begin`. */
  readonly rows: number;
  /** Of `rows`, those rejected. */
  readonly rejects: number;
  /** Accepted rows of the block by place of their version in the plan's `versions`; complete after `finish`, overwritten from the next `begin` on. */
  readonly versionRows: Uint32Array;
  /** About what the block will be encoded to. */
  sizeBytes(): number;
  begin(): void;
  /**
   * A buffer of at least so many bytes, the same until more are asked for. Records that stand in it when they are added are read in place, others
   * are copied first.
   */
  input(sizeBytes: number): Uint8Array;
  /**
   * Appends one row. `bytes` null = the record has no value, else the value is `bytes[start..end)`, read during the call only; {@link END_MARK_BYTES}
   * zero bytes behind it save a copy. `key` undefined = no key is expected. `timestampMs` is the record's time in Kafka, -1 = none. Offsets rise strictly. True = accepted.
   */
  add(
    bytes: Uint8Array | null,
    start: number,
    end: number,
    key: Uint8Array | null | undefined,
    headers: Headers | null,
    sourceOffset: number,
    timestampMs: number,
    /** Where in `key` it stands; default: all of it. */
    keyStart?: number,
    keyEnd?: number,
  ): boolean;
  /** Appends a reject that was decided outside, with the bytes to keep. */
  addReject(reason: ReasonCode, bytes: Uint8Array, key: Uint8Array | null, headers: Headers | null, sourceOffset: number): void;
  /** Views of the validator's buffers, valid until the next `begin`. */
  finish(): EventColumns;
}

/** `kernel: false` leaves every event to the TypeScript twin, which says the same more slowly. */
export function createValidator(plan: Plan, limits: Limits, { kernel = true }: { readonly kernel?: boolean } = {}): Validator {
  return new BlockValidator(plan, limits, kernel ? Kernel.create(plan, limits) : null);
}

class BlockValidator implements Validator {
  readonly plan: Plan;
  readonly #limits: Limits;
  readonly #json: JsonScanner;
  readonly #check: EventCheck;
  readonly #upcaster: Upcaster;
  readonly #block: BlockBuilder;
  readonly #kernel: Kernel | null;
  #input: Uint8Array;
  #view: DataView = new DataView(EMPTY.buffer);
  #viewed: Uint8Array = EMPTY;
  /** For values that have no end mark behind them. */
  #copy = new Uint8Array(4_096);
  #key: Uint8Array | null | undefined;
  #keyStart = 0;
  #keyEnd = 0;
  #headers: Headers | null = null;
  #sourceOffset = 0;
  rejects = 0;

  constructor(plan: Plan, limits: Limits, kernel: Kernel | null) {
    this.plan = plan;
    this.#limits = limits;
    this.#kernel = kernel;
    this.#input = kernel?.input(1) ?? new Uint8Array(INPUT_BYTES);
    this.#json = new JsonScanner(plan, limits);
    this.#check = new EventCheck(plan, limits, this.#json);
    this.#upcaster = new Upcaster(plan, this.#json);
    this.#block = new BlockBuilder(plan);
  }

  get rows(): number {
    return this.#block.rows + (this.#kernel?.rows ?? 0);
  }

  get versionRows(): Uint32Array {
    return this.#block.versionRows;
  }

  sizeBytes(): number {
    const kernel = this.#kernel;
    return this.#block.sizeBytes() + (kernel === null ? 0 : kernel.rows * FIXED_ROW_BYTES + kernel.variableBytes);
  }

  begin(): void {
    this.rejects = 0;
    this.#block.begin();
    this.#kernel?.begin();
  }

  finish(): EventColumns {
    const kernel = this.#kernel;
    if (kernel !== null && kernel.rows > 0) {
      if (this.#block.rows === 0) return kernel.finish(this.#block);
      kernel.drain(this.#block);
    }
    return this.#block.finish();
  }

  input(sizeBytes: number): Uint8Array {
    if (sizeBytes > this.#input.length) this.#input = this.#kernel?.input(sizeBytes) ?? new Uint8Array(2 * sizeBytes);
    return this.#input;
  }

  add(
    bytes: Uint8Array | null,
    start: number,
    end: number,
    key: Uint8Array | null | undefined,
    headers: Headers | null,
    sourceOffset: number,
    timestampMs: number,
    keyStart = 0,
    keyEnd = key?.length ?? 0,
  ): boolean {
    const isSmall =
      bytes !== null && end - start <= this.#limits.eventBytes && (headers === null || headerBytes(headers) <= this.#limits.headerBytes);
    if (isSmall && this.#passes(bytes, start, end, key, keyStart, keyEnd, timestampMs, sourceOffset)) {
      this.#keepHeaders(headers, this.rows - 1);
      return true;
    }
    this.#openRecord(key, keyStart, keyEnd, headers, sourceOffset);
    if (bytes === null) return this.#reject("value.null", "", EMPTY, 0, -1);
    if (end - start > this.#limits.eventBytes) return this.#reject("size.event", "", bytes, start, end);
    if (headers !== null && headerBytes(headers) > this.#limits.headerBytes) return this.#reject("headers.size", "", bytes, start, end);
    if (end + END_MARK_BYTES <= bytes.length && bytes[end] === 0) return this.#scan(bytes, start, end, timestampMs);
    const size = end - start;
    if (this.#copy.length < size + END_MARK_BYTES) this.#copy = new Uint8Array(2 * size + END_MARK_BYTES);
    this.#copy.set(bytes.subarray(start, end));
    this.#copy.fill(0, size, size + END_MARK_BYTES);
    return this.#scan(this.#copy, 0, size, timestampMs);
  }

  /** Whether the kernel takes the record: nothing is wrong with it. */
  #passes(
    bytes: Uint8Array,
    start: number,
    end: number,
    key: Uint8Array | null | undefined,
    keyStart: number,
    keyEnd: number,
    timestampMs: number,
    sourceOffset: number,
  ): boolean {
    const kernel = this.#kernel;
    if (kernel === null || key === null) return false;
    if (bytes === this.#input && bytes[end] === 0 && (key === bytes || key === undefined)) {
      return kernel.accept(start, end, key === undefined ? -1 : keyStart, keyEnd, timestampMs, sourceOffset, this.#block);
    }
    const size = end - start;
    const keyBytes = key === undefined ? 0 : keyEnd - keyStart;
    const keyAt = size + END_MARK_BYTES;
    const input = this.input(keyAt + keyBytes + END_MARK_BYTES);
    // What stands in the input itself is not to be moved over other records in it.
    if (bytes === input || key === input) return false;
    input.set(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
    input.fill(0, size, keyAt);
    if (key !== undefined) input.set(key.subarray(keyStart, keyEnd), keyAt);
    return kernel.accept(0, size, key === undefined ? -1 : keyAt, keyAt + keyBytes, timestampMs, sourceOffset, this.#block);
  }

  addReject(reason: ReasonCode, bytes: Uint8Array, key: Uint8Array | null, headers: Headers | null, sourceOffset: number): void {
    this.#openRecord(key, 0, key?.length ?? 0, headers, sourceOffset);
    this.#reject(reason, "", bytes, 0, bytes.length);
  }

  #openRecord(key: Uint8Array | null | undefined, keyStart: number, keyEnd: number, headers: Headers | null, sourceOffset: number): void {
    this.#key = key;
    this.#keyStart = keyStart;
    this.#keyEnd = keyEnd;
    this.#headers = headers;
    this.#sourceOffset = sourceOffset;
    this.#check.begin();
    this.#kernel?.drain(this.#block);
  }

  /** `bytes[end]` is the end mark. */
  #scan(bytes: Uint8Array, start: number, end: number, timestampMs: number): boolean {
    if (bytes !== this.#viewed) {
      this.#viewed = bytes;
      this.#view = viewOf(bytes);
    }
    const check = this.#check;
    if (!this.#json.scanEvent(bytes, this.#view, start, end)) return this.#rejectText(bytes, start, end);
    if (!check.check(bytes, this.#key, this.#keyStart, this.#keyEnd, timestampMs)) {
      const pointer =
        check.failedField >= 0
          ? this.plan.fieldPointers[check.failedField]!
          : locatePointer(bytes.subarray(0, end), start, check.failureAt);
      return this.#reject(check.failure, cutPointer(pointer), bytes, start, end);
    }
    this.#accept(bytes, start, end);
    this.#keepHeaders(this.#headers, this.#block.rows - 1);
    return true;
  }

  /** What later stages continue: the trace, and how often the record was replayed. */
  #keepHeaders(headers: Headers | null, row: number): void {
    if (headers === null || !headers.some(([name]) => name === "traceparent" || name === HEADERS.replays)) return;
    const encoded = encodeHeaders(headers);
    this.#block.headers.appendSlice(row, encoded, 0, encoded.length);
  }

  #accept(bytes: Uint8Array, start: number, end: number): void {
    const block = this.#block;
    const check = this.#check;
    const row = block.openRow(this.#sourceOffset, fingerprint(this.#view, start, end));
    const id = check.eventIdWords;
    const ids = block.eventIdWords;
    for (let i = 0, at = 4 * row; i < 4; i++, at++) ids[at] = id[i]!;
    block.eventTimeMs[row] = check.eventTimeMs[0]!;
    block.userId[2 * row] = check.userId[0]!;
    block.userId[2 * row + 1] = check.userId[1]!;
    block.value[row] = check.value[0]!;
    block.versionRows[check.versionPlace]!++;
    block.eventType.set(row, check.typeIndex);
    block.source.set(row, check.sourceIndex);
    let reason = -1;
    block.verdict[row] = VERDICT.ok;
    if (check.warning !== null) {
      block.verdict[row] = VERDICT.warning;
      reason = CODE_OF.get(check.warning)!;
    }
    block.reason.set(row, reason);
    this.#copyField(SESSION_ID, block.sessionId, row, bytes);
    this.#copyField(DEVICE_INFO, block.deviceInfo, row, bytes);
    this.#copyField(GEO_LOCATION, block.geoLocation, row, bytes);
    if (check.upcast !== null && this.#upcast(check.upcast, row, bytes)) return;
    if (!this.#copyField(PROPERTIES, block.properties, row, bytes)) block.properties.appendSlice(row, EMPTY_OBJECT, 0, 2);
  }

  /** True: the row has other properties than the event. */
  #upcast(upcast: UpcastPlan, row: number, bytes: Uint8Array): boolean {
    const upcaster = this.#upcaster;
    const isChanged = upcaster.apply(upcast, bytes);
    this.#block.value[row] = upcaster.value[0]!;
    if (isChanged) this.#block.properties.appendWords(row, upcaster.out, upcaster.view, 0, upcaster.length);
    return isChanged;
  }

  /** JSON as it stands, or the content of a plain string. An empty session id is none. False = absent or null. */
  #copyField(field: number, column: BytesBuilder, row: number, bytes: Uint8Array): boolean {
    const json = this.#json;
    const { records } = json;
    const record = field << SHIFT;
    if (records[record] !== json.event) return false;
    const kind = records[record + KIND_OF]!;
    if (kind === NULL) return false;
    const start = records[record + START]!;
    const end = records[record + END]!;
    if ((kind & STRING) === 0) column.appendWords(row, bytes, this.#view, start, end);
    else if (end - start === 2 && field === SESSION_ID) return false;
    else if ((kind & HAS_ESCAPES) === 0) column.appendWords(row, bytes, this.#view, start + 1, end - 1);
    else column.appendText(row, bytes, start + 1, end - 1);
    return true;
  }

  /** What is no JSON: says first whether the bytes are text at all. */
  #rejectText(bytes: Uint8Array, start: number, end: number): false {
    const { failure, failureAt } = this.#json;
    const at = `@${failureAt - start}`;
    const binary = failure === "json.syntax" || failure === "encoding" ? binaryReason(bytes, start, end) : null;
    if (binary !== null) return this.#reject(binary, "@0", bytes, start, end);
    if (failure === "json.syntax" && !isUtf8(bytes.subarray(start, end))) {
      return this.#reject("encoding", `@${invalidUtf8At(bytes, start, end)}`, bytes, start, end);
    }
    const isPosition = failure === "json.syntax" || failure === "json.multiple" || failure === "json.empty" || failure === "encoding";
    const pointer = isPosition ? at : locatePointer(bytes.subarray(0, end), start, failureAt);
    return this.#reject(failure, pointer, bytes, start, end);
  }

  /** `end` < `start` = no value. Answers false, for the caller to pass on. */
  #reject(reason: ReasonCode, pointer: string, bytes: Uint8Array, start: number, end: number): false {
    const block = this.#block;
    const check = this.#check;
    const row = block.openRow(this.#sourceOffset, end < start ? 0 : fingerprint(viewOf(bytes), start, end));
    this.rejects++;
    if (check.hasEventId) block.eventId.set(check.eventId, 16 * row);
    else block.eventId.fill(0, 16 * row, 16 * row + 16);
    block.userId[2 * row] = check.hasUserId ? check.userId[0]! : 0;
    block.userId[2 * row + 1] = check.hasUserId ? check.userId[1]! : 0;
    block.eventTimeMs[row] = 0;
    block.value[row] = NaN;
    block.eventType.set(row, check.typeIndex);
    block.source.set(row, check.sourceIndex);
    block.verdict[row] = VERDICT.reject;
    block.reason.set(row, CODE_OF.get(reason)!);
    block.properties.appendSlice(row, EMPTY, 0, 0);
    const pointerBytes = encoder.encode(pointer);
    block.pointer.appendSlice(row, pointerBytes, 0, pointerBytes.length);
    if (end >= start) block.raw.appendSlice(row, bytes, start, Math.min(end, start + KEPT_BYTES.value));
    const key = this.#key;
    if (key !== null && key !== undefined) {
      block.rawKey.appendSlice(row, key, this.#keyStart, Math.min(this.#keyEnd, this.#keyStart + KEPT_BYTES.key));
    }
    const headers = this.#headers;
    if (headers !== null && headers.length > 0) {
      const encoded = encodeHeaders(keptHeaders(headers));
      block.headers.appendSlice(row, encoded, 0, encoded.length);
    }
    return false;
  }
}

function headerBytes(headers: Headers): number {
  let size = 0;
  for (const [name, value] of headers) size += name.length + value.length;
  return size;
}

/** As many from the front as fit. */
function keptHeaders(headers: Headers): Headers {
  let room = KEPT_BYTES.headers;
  const first = headers.findIndex(([name, value]) => (room -= 8 + 3 * name.length + value.length) < 0);
  return first < 0 ? headers : headers.slice(0, first);
}

/** First bytes of what producers send by mistake. */
const FORMATS: readonly (readonly number[])[] = [
  [0x1f, 0x8b], // gzip
  [0x28, 0xb5, 0x2f, 0xfd], // zstd
  [0x04, 0x22, 0x4d, 0x18], // lz4 frame
  [0x82, 0x53, 0x4e, 0x41], // snappy (xerial)
  [0x4f, 0x62, 0x6a, 0x01], // Avro container
  [0x50, 0x41, 0x52, 0x31], // Parquet
  [0xff, 0xff, 0xff, 0xff], // Arrow stream
  [0x00], // schema registry: magic byte 0, then the schema id
];

function binaryReason(bytes: Uint8Array, start: number, end: number): ReasonCode | null {
  const byte = (i: number): number => (start + i < end ? bytes[start + i]! : -1);
  if (byte(0) === 0xef && byte(1) === 0xbb && byte(2) === 0xbf) return "encoding.bom";
  const marked = (byte(0) === 0xfe && byte(1) === 0xff) || (byte(0) === 0xff && byte(1) === 0xfe);
  const unmarked = (byte(0) === 0x7b && byte(1) === 0 && byte(3) === 0) || (byte(0) === 0 && byte(1) === 0x7b && byte(2) === 0);
  if (marked || unmarked) return "encoding"; // UTF-16
  const known = FORMATS.some((magic) => magic.every((expected, i) => byte(i) === expected));
  return known ? "format" : null;
}

function invalidUtf8At(bytes: Uint8Array, start: number, end: number): number {
  for (let at = start; at < end;) {
    const next = bytes[at]! < 0x80 ? at + 1 : utf8End(bytes, at, end);
    if (next < 0) return at - start;
    at = next;
  }
  return end - start;
}
