/**
 * What one partition counts in the open minute of log time, by source and event type (shared/events/partials.ts). A block is counted behind its row
 * loop, column by column: per event nothing but array stores, and no double that goes from one function to another.
 *
 * An event fails one dimension at most, by its one reason: a duplicate or a late event by being one, whatever the validator flagged it for. Sums of
 * values are of clean events, in their order, so that they do not depend on how the log is cut into blocks.
 */
import { assert } from "#shared/kernel/assert.ts";
import type { DictionaryColumn, EventColumns } from "#shared/events/columns.ts";
import { CELL_WIDTH, COUNTER, encodePartial, decodePartial, FIRST_BUCKET, LATENCY_BUCKETS, MINUTE_MS, type PartialCells, rejectedIn, VALUE_MAX, VALUE_MIN } from "#shared/events/partials.ts"; // prettier-ignore
import { MAX_WORDS } from "./word-list.ts";
import { countBytes, countFailed, countLate, countTimes, countValues } from "./minute-passes.ts";
import { failedDimension, rejectedCounter } from "./reason-counters.ts";
import type { RowRuns } from "./row-runs.ts";

/** A minute that is over. */
export interface MinutePartial {
  readonly minuteMs: number;
  /** No later partial has rows of a minute that begins before it. */
  readonly markMs: number;
  /** null = only time went by. */
  readonly cells: PartialCells | null;
}

/** Texts of the open minute, numbered as they come; 0 is the empty one. */
class Names {
  readonly texts: string[] = [""];
  readonly #ids = new Map<string, number>([["", 0]]);

  idOf(text: string): number {
    let id = this.#ids.get(text);
    if (id === undefined) {
      id = this.texts.length;
      assert(id < MAX_WORDS, "the names of sources and types are those of the rules, and fit into a dictionary");
      this.texts.push(text);
      this.#ids.set(text, id);
    }
    return id;
  }

  clear(): void {
    this.texts.length = 1;
    this.#ids.clear();
    this.#ids.set("", 0);
  }
}

export class MinuteCells {
  /** Start of the open minute; NaN = no record has come yet. */
  #minuteMs = Number.NaN;
  readonly #sources = new Names();
  readonly #types = new Names();
  /** Cell of (source, type) at source * typeRoom + type; -1 = none yet. */
  #cellAt = new Int32Array(64).fill(-1);
  #sourceRoom = 4;
  #typeRoom = 16;
  /** Source and type of each cell. */
  #keys: number[] = [];
  #numbers = new Float64Array(8 * CELL_WIDTH);
  /** Of the block: code + 1 -> source * typeRoom, code + 1 -> type, code -> counter of the dimension that the reason fails. */
  #sourceOf: Int32Array = new Int32Array(16);
  #typeOf: Int32Array = new Int32Array(64);
  #failedBy = new Int32Array(64);
  /** First number of the cell of each row that is being counted. */
  #placed = new Int32Array(1_024);

  /** When the open minute is over; Infinity = none is open. */
  get endMs(): number {
    return Number.isNaN(this.#minuteMs) ? Infinity : this.#minuteMs + MINUTE_MS;
  }

  /** A record has come, at a log time that does not go back. Returns the minute that it ends, if it does. */
  arrive(logTimeMs: number): MinutePartial | null {
    if (logTimeMs < this.#minuteMs + MINUTE_MS) return null;
    const markMs = Math.floor(logTimeMs / MINUTE_MS) * MINUTE_MS;
    const ended = Number.isNaN(this.#minuteMs) ? null : { minuteMs: this.#minuteMs, markMs, cells: this.#cells() };
    this.#clear();
    this.#minuteMs = markMs;
    return ended;
  }

  /** Before its rows are counted. */
  begin(block: EventColumns): void {
    this.#sourceOf = idsOf(block.source, this.#sources, this.#sourceOf);
    this.#typeOf = idsOf(block.eventType, this.#types, this.#typeOf);
    this.#makeRoom();
    const sources = block.source.values.length + 1;
    for (let i = 0; i < sources; i++) this.#sourceOf[i] = this.#sourceOf[i]! * this.#typeRoom;
    const reasons = block.reason.values;
    if (this.#failedBy.length < reasons.length) this.#failedBy = new Int32Array(reasons.length * 2);
    for (let i = 0; i < reasons.length; i++) this.#failedBy[i] = failedDimension(reasons[i]!);
  }

  /** Counts the rows in `runs`, which are all clean or all late. */
  addRows(block: EventColumns, runs: RowRuns, logTimeMs: number, isLate: boolean): void {
    if (runs.rows === 0) return;
    this.#place(block, runs);
    const { sessionId, deviceInfo, geoLocation, properties } = block;
    const bytesAt = isLate ? COUNTER.late_bytes : COUNTER.clean_bytes;
    countTimes(this.#numbers, this.#placed, block.eventTimeMs, runs, logTimeMs);
    countBytes(this.#numbers, this.#placed, runs, bytesAt, sessionId.offsets, deviceInfo.offsets, geoLocation.offsets, properties.offsets);
    if (isLate) countLate(this.#numbers, this.#placed, runs);
    else {
      countValues(this.#numbers, this.#placed, block.value, runs);
      if (block.reason.values.length > 0) countFailed(this.#numbers, this.#placed, block.reason.codes, this.#failedBy, runs);
    }
  }

  /** Where each row of `runs` is counted. A pass of its own: what opens cells would make the others read every array anew for each event. */
  #place(block: EventColumns, runs: RowRuns): void {
    if (this.#placed.length < runs.rows) this.#placed = new Int32Array(runs.rows * 2);
    const sourceCodes = block.source.codes;
    const typeCodes = block.eventType.codes;
    const sourceOf = this.#sourceOf;
    const typeOf = this.#typeOf;
    const cellAt = this.#cellAt;
    const placed = this.#placed;
    let to = 0;
    for (let run = 0; run < runs.count; run++) {
      for (let row = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; row < end; row++) {
        const place = sourceOf[sourceCodes[row]! + 1]! + typeOf[typeCodes[row]! + 1]!;
        const cell = cellAt[place]!;
        placed[to++] = (cell >= 0 ? cell : this.#open(place)) * CELL_WIDTH;
      }
    }
  }

  addDuplicate(block: EventColumns, row: number): void {
    this.#add(this.#at(block, row), COUNTER.duplicate, 1);
  }

  /** A clean row that the fold flagged for its score; one that the validator flagged has its reason already. */
  addFlagged(block: EventColumns, row: number): void {
    if (block.reason.codes[row]! < 0) this.#add(this.#at(block, row), COUNTER.inaccurate, 1);
  }

  addDeadLetter(block: EventColumns, row: number, reason: string, sizeBytes: number): void {
    const at = this.#at(block, row);
    this.#add(at, rejectedCounter(reason), 1);
    this.#add(at, failedDimension(reason), 1);
    this.#add(at, COUNTER.dead_letter_bytes, sizeBytes);
  }

  /** For a snapshot; empty = nothing is counted yet. */
  encode(): Uint8Array {
    const cells = this.#cells();
    return cells === null ? new Uint8Array(0) : encodePartial(cells);
  }

  /** Goes on with what {@link encode} gave at that log time; 0 = no record had come. @throws CorruptStateError */
  restore(encoded: Uint8Array, logTimeMs: number): void {
    if (logTimeMs > 0) this.#minuteMs = Math.floor(logTimeMs / MINUTE_MS) * MINUTE_MS;
    if (encoded.length === 0) return;
    const { minuteMs, sources, types, numbers } = decodePartial(encoded);
    assert(minuteMs === this.#minuteMs, "the open minute is that of the log time");
    for (const source of sources) this.#sources.idOf(source);
    for (const type of types) this.#types.idOf(type);
    this.#makeRoom();
    for (let i = 0; i < sources.length; i++) this.#open(this.#sources.idOf(sources[i]!) * this.#typeRoom + this.#types.idOf(types[i]!));
    this.#numbers.set(numbers);
  }

  #at(block: EventColumns, row: number): number {
    const place = this.#sourceOf[block.source.codes[row]! + 1]! + this.#typeOf[block.eventType.codes[row]! + 1]!;
    const cell = this.#cellAt[place]!;
    return (cell >= 0 ? cell : this.#open(place)) * CELL_WIDTH;
  }

  #add(at: number, counter: number, count: number): void {
    this.#numbers[at + counter] = this.#numbers[at + counter]! + count;
  }

  #open(place: number): number {
    const cell = this.#keys.length;
    this.#keys.push(place);
    this.#cellAt[place] = cell;
    if ((cell + 1) * CELL_WIDTH > this.#numbers.length) {
      const wider = new Float64Array(this.#numbers.length * 2);
      wider.set(this.#numbers);
      this.#numbers = wider;
    }
    const at = cell * CELL_WIDTH;
    this.#numbers.fill(0, at, at + CELL_WIDTH);
    this.#numbers[at + VALUE_MIN] = Number.NaN;
    this.#numbers[at + VALUE_MAX] = Number.NaN;
    return cell;
  }

  /** For the names that there are. */
  #makeRoom(): void {
    const sources = this.#sources.texts.length;
    const types = this.#types.texts.length;
    if (sources <= this.#sourceRoom && types <= this.#typeRoom) return;
    const old = this.#typeRoom;
    while (this.#sourceRoom < sources) this.#sourceRoom *= 2;
    while (this.#typeRoom < types) this.#typeRoom *= 2;
    this.#keys = this.#keys.map((place) => Math.floor(place / old) * this.#typeRoom + (place % old));
    this.#cellAt = new Int32Array(this.#sourceRoom * this.#typeRoom).fill(-1);
    for (const [cell, place] of this.#keys.entries()) this.#cellAt[place] = cell;
  }

  /** In the order of source and type, whatever came first. null = nothing was counted. */
  #cells(): PartialCells | null {
    if (this.#keys.length === 0) return null;
    const named = this.#keys.map((place, cell) => ({
      cell,
      source: this.#sources.texts[Math.floor(place / this.#typeRoom)]!,
      type: this.#types.texts[place % this.#typeRoom]!,
    }));
    named.sort((a, b) => compare(a.source, b.source) || compare(a.type, b.type));
    const numbers = new Float64Array(named.length * CELL_WIDTH);
    for (const [i, { cell }] of named.entries()) {
      const into = numbers.subarray(i * CELL_WIDTH, (i + 1) * CELL_WIDTH);
      into.set(this.#numbers.subarray(cell * CELL_WIDTH, (cell + 1) * CELL_WIDTH));
      countOutcomes(into);
    }
    return {
      minuteMs: this.#minuteMs,
      sources: named.map(({ source }) => source),
      types: named.map(({ type }) => type),
      numbers,
    };
  }

  #clear(): void {
    for (const place of this.#keys) this.#cellAt[place] = -1;
    this.#keys = [];
    this.#sources.clear();
    this.#types.clear();
  }
}

/** What follows from the rest is not counted per event: a clean or late event is in one bucket. */
function countOutcomes(cell: Float64Array): void {
  let timed = 0;
  for (let i = 0; i < LATENCY_BUCKETS; i++) timed += cell[FIRST_BUCKET + i]!;
  cell[COUNTER.clean] = timed - cell[COUNTER.late]!;
  cell[COUNTER.total] = timed + cell[COUNTER.duplicate]! + rejectedIn(cell);
}

function idsOf({ values }: DictionaryColumn, names: Names, into: Int32Array): Int32Array {
  const ids = into.length > values.length ? into : new Int32Array((values.length + 1) * 2);
  ids[0] = 0;
  for (let i = 0; i < values.length; i++) ids[i + 1] = names.idOf(values[i]!);
  return ids;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
