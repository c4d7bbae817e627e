/**
 * Rows of events.clean or events.late that wait for the end of the epoch, as columns. A block's chosen rows are copied run by run after the
 * row loop, which has written the columns that only it knows (place 0 = first waiting row): nothing per event but array stores.
 */
import type { ReasonCode } from "#shared/events/reasons.ts";
import type { CleanColumns, EventColumns, LateColumns } from "#shared/events/columns.ts";
import { BytesBuffer } from "./bytes-buffer.ts";
import type { Enrichment } from "./enrichment.ts";
import type { RollingHash } from "./rolling-hash.ts";
import { RowRuns } from "./row-runs.ts";
import { widen } from "./widen.ts";
import { WordList } from "./word-list.ts";

/** Bytes of a row's fixed columns in an Arrow batch, offsets of the four texts and bitmaps included. */
const FIXED_ROW_BYTES = 131;
const FLAG: ReasonCode = "anomaly.score";

export class EventBuffer {
  readonly runs = new RowRuns();
  /** Written by the row loop at rows + runs.rows, before runs.add. */
  windowEvents = new Uint32Array(0);
  sessionEvents = new Uint32Array(0);
  sessionStartMs = new Float64Array(0);
  /** NaN = none. */
  score = new Float64Array(0);
  lateKind = new Uint8Array(0);
  lateWindowStartMs = new Float64Array(0);

  #rows = 0;
  #sourceOffset = new Float64Array(0);
  #eventId = new Int32Array(0);
  #eventTimeMs = new Float64Array(0);
  #userId = new Int32Array(0);
  #value = new Float64Array(0);
  #logTimeMs = new Float64Array(0);
  #eventType = new Int32Array(0);
  #source = new Int32Array(0);
  #reason = new Int32Array(0);
  #enrichment = new Int32Array(0);
  /** Places of rows to flag for their score. */
  #flagged: number[] = [];
  readonly #eventTypes = new WordList();
  readonly #sources = new WordList();
  readonly #reasons = new WordList();
  readonly #attributes = new WordList();
  readonly #sessionId = new BytesBuffer();
  readonly #deviceInfo = new BytesBuffer();
  readonly #geoLocation = new BytesBuffer();
  readonly #properties = new BytesBuffer();

  get rows(): number {
    return this.#rows;
  }

  /** Makes room for `rows` more. */
  reserve(rows: number): void {
    const needed = this.#rows + rows;
    if (needed <= this.#sourceOffset.length) return;
    const wider = Math.max(needed, this.#sourceOffset.length * 2, 1024);
    this.windowEvents = widen(this.windowEvents, new Uint32Array(wider));
    this.sessionEvents = widen(this.sessionEvents, new Uint32Array(wider));
    this.sessionStartMs = widen(this.sessionStartMs, new Float64Array(wider));
    this.score = widen(this.score, new Float64Array(wider));
    this.lateKind = widen(this.lateKind, new Uint8Array(wider));
    this.lateWindowStartMs = widen(this.lateWindowStartMs, new Float64Array(wider));
    this.#sourceOffset = widen(this.#sourceOffset, new Float64Array(wider));
    this.#eventId = widen(this.#eventId, new Int32Array(wider * 4));
    this.#eventTimeMs = widen(this.#eventTimeMs, new Float64Array(wider));
    this.#userId = widen(this.#userId, new Int32Array(wider * 2));
    this.#value = widen(this.#value, new Float64Array(wider));
    this.#logTimeMs = widen(this.#logTimeMs, new Float64Array(wider));
    this.#eventType = widen(this.#eventType, new Int32Array(wider));
    this.#source = widen(this.#source, new Int32Array(wider));
    this.#reason = widen(this.#reason, new Int32Array(wider));
    this.#enrichment = widen(this.#enrichment, new Int32Array(wider));
  }

  /** Flags the row to be appended at that place, unless the validator has. Rare, so an array of numbers will do. */
  flag(place: number): void {
    this.#flagged.push(place);
  }

  /** Takes over the rows in {@link runs}. `eventId` and `userId` are the block's columns as words. */
  append(block: EventColumns, eventId: Int32Array, userId: Int32Array, logTimeMs: number, enrichment: Enrichment | null): void {
    const { runs } = this;
    const at = this.#rows;
    copyRuns(this.#sourceOffset, at, block.sourceOffset, runs, 1);
    copyRuns(this.#eventTimeMs, at, block.eventTimeMs, runs, 1);
    copyRuns(this.#value, at, block.value, runs, 1);
    copyRuns(this.#eventId, at, eventId, runs, 4);
    copyRuns(this.#userId, at, userId, runs, 2);
    this.#logTimeMs.fill(logTimeMs, at, at + runs.rows);
    mapRuns(this.#eventType, at, block.eventType.codes, this.#eventTypes.map(block.eventType), runs);
    mapRuns(this.#source, at, block.source.codes, this.#sources.map(block.source), runs);
    mapRuns(this.#reason, at, block.reason.codes, this.#reasons.map(block.reason), runs);
    for (const place of this.#flagged) if (this.#reason[place]! < 0) this.#reason[place] = this.#reasons.codeOf(FLAG);
    this.#flagged.length = 0;
    if (enrichment === null) this.#enrichment.fill(-1, at, at + runs.rows);
    else enrichment.append(block, runs, this.#enrichment, at, this.#attributes);
    this.#sessionId.append(block.sessionId, runs, at);
    this.#deviceInfo.append(block.deviceInfo, runs, at);
    this.#geoLocation.append(block.geoLocation, runs, at);
    this.#properties.append(block.properties, runs, at);
    this.#rows = at + runs.rows;
    runs.clear();
  }

  /** Chains rows from.. into the hash. */
  hash(into: RollingHash, role: number, from: number): void {
    const offsets = wordsOf(this.#sourceOffset);
    const times = wordsOf(this.#eventTimeMs);
    const starts = wordsOf(this.sessionStartMs);
    const lateStarts = wordsOf(this.lateWindowStartMs);
    const scores = wordsOf(this.score);
    const id = this.#eventId;
    const user = this.#userId;
    for (let i = from; i < this.#rows; i++) {
      const w0 = offsets[i * 2]! ^ id[i * 4]!;
      const w1 = offsets[i * 2 + 1]! ^ id[i * 4 + 1]!;
      const w2 = times[i * 2]! ^ id[i * 4 + 2]!;
      const w3 = times[i * 2 + 1]! ^ id[i * 4 + 3]!;
      const w4 = starts[i * 2]! ^ user[i * 2]! ^ lateStarts[i * 2]!;
      const w5 = starts[i * 2 + 1]! ^ user[i * 2 + 1]! ^ lateStarts[i * 2 + 1]!;
      const w6 = this.windowEvents[i]! ^ Math.imul(this.lateKind[i]!, 0x9e3779b1);
      const distance = this.score[i]!;
      // Bits of NaN differ between machines and compilers.
      const w7 =
        distance === distance
          ? this.sessionEvents[i]! ^ Math.imul(scores[i * 2]! ^ scores[i * 2 + 1]!, 0x27d4eb2f)
          : this.sessionEvents[i]!;
      into.add(
        role,
        Math.imul(w0, 0x9e3779b1) +
          Math.imul(w1, 0x85ebca77) +
          Math.imul(w2, 0xc2b2ae3d) +
          Math.imul(w3, 0x27d4eb2f) +
          Math.imul(w4 + w6, 0x165667b1) +
          w5,
        Math.imul(w4, 0xd6e8feb9) +
          Math.imul(w5, 0xa2b4c5d7) +
          Math.imul(w6, 0x94d049bb) +
          Math.imul(w7, 0xbf58476d) +
          Math.imul(w1 + w3, 0x2545f491) +
          w0,
      );
    }
  }

  /** First row behind `from` that no longer fits in a record of `maxBytes`; at least one row fits. */
  fit(from: number, to: number, maxBytes: number): number {
    let size = 0;
    for (let i = from; i < to; i++) {
      size += FIXED_ROW_BYTES + this.#textBytes(i, i + 1);
      if (size > maxBytes && i > from) return i;
    }
    return to;
  }

  #textBytes(from: number, to: number): number {
    return (
      this.#sessionId.size(from, to) + this.#deviceInfo.size(from, to) + this.#geoLocation.size(from, to) + this.#properties.size(from, to)
    );
  }

  /** Views, valid until the next append or clear. */
  clean(from: number, to: number): CleanColumns {
    return {
      rows: to - from,
      sourceOffset: this.#sourceOffset.subarray(from, to),
      eventId: new Uint8Array(this.#eventId.buffer, from * 16, (to - from) * 16),
      eventTimeMs: this.#eventTimeMs.subarray(from, to),
      userId: new Uint32Array(this.#userId.buffer, from * 8, (to - from) * 2),
      eventType: this.#eventTypes.column(this.#eventType, from, to),
      source: this.#sources.column(this.#source, from, to),
      sessionId: this.#sessionId.column(from, to),
      value: this.#value.subarray(from, to),
      deviceInfo: this.#deviceInfo.column(from, to),
      geoLocation: this.#geoLocation.column(from, to),
      properties: this.#properties.column(from, to),
      reason: this.#reasons.column(this.#reason, from, to),
      logTimeMs: this.#logTimeMs.subarray(from, to),
      windowEvents: this.windowEvents.subarray(from, to),
      sessionStartMs: this.sessionStartMs.subarray(from, to),
      sessionEvents: this.sessionEvents.subarray(from, to),
      score: this.score.subarray(from, to),
      enrichment: this.#attributes.column(this.#enrichment, from, to),
    };
  }

  late(from: number, to: number): LateColumns {
    return {
      ...this.clean(from, to),
      lateKind: this.lateKind.subarray(from, to),
      lateWindowStartMs: this.lateWindowStartMs.subarray(from, to),
    };
  }

  clear(): void {
    this.#rows = 0;
    for (const words of [this.#eventTypes, this.#sources, this.#reasons, this.#attributes]) words.clear();
    for (const bytes of [this.#sessionId, this.#deviceInfo, this.#geoLocation, this.#properties]) bytes.clear();
  }
}

function wordsOf(column: Float64Array): Int32Array {
  return new Int32Array(column.buffer, column.byteOffset, column.length * 2);
}

/** Below this many elements a loop beats making a view. */
const LOOP_LIMIT = 32;

function copyRuns<T extends Float64Array | Int32Array>(target: T, at: number, source: T, runs: RowRuns, width: number): void {
  let to = at * width;
  for (let run = 0; run < runs.count; run++) {
    const from = runs.bounds[run * 2]! * width;
    const length = runs.bounds[run * 2 + 1]! * width - from;
    if (length > LOOP_LIMIT) target.set(source.subarray(from, from + length), to);
    else for (let i = 0; i < length; i++) target[to + i] = source[from + i]!;
    to += length;
  }
}

function mapRuns(target: Int32Array, at: number, codes: Int16Array, mapped: Int32Array, runs: RowRuns): void {
  let to = at;
  for (let run = 0; run < runs.count; run++) {
    for (let i = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; i < end; i++) target[to++] = mapped[codes[i]! + 1]!;
  }
}
