/**
 * The second fold: partials of all partitions into minutes of the lane (docs/specs/second-stage.md). Pure. What comes out of a minute depends on the
 * partials alone, not on how the partitions interleave: they are added in the order of partitions, and within one in that of its log.
 */
import { assert } from "#shared/kernel/assert.ts";
import { CELL_WIDTH, FIRST_BUCKET, type PartialCells, VALUE_MAX, VALUE_MIN } from "#shared/events/partials.ts";

export interface PartitionMark {
  /** Every minute that begins before it is complete for this partition; -Infinity = nothing is known. */
  readonly markMs: number;
  /** Next record of metrics.partials to read. */
  readonly offset: number;
}

export interface MergeStart {
  /** Minutes that begin before it are closed; -Infinity = none is. */
  readonly closedMs: number;
  readonly partitions: readonly PartitionMark[];
}

export interface ClosedMinute {
  readonly minuteMs: number;
  /** In the order of source, then type. */
  readonly cells: readonly MergedCell[];
}

export interface MergedCell {
  readonly source: string;
  readonly type: string;
  /** CELL_WIDTH numbers (shared/events/partials.ts). */
  readonly numbers: Float64Array;
}

interface Waiting {
  readonly offset: number;
  readonly cells: PartialCells;
}

class PartitionPartials {
  markMs: number;
  offset: number;
  readonly waiting: Waiting[] = [];

  constructor({ markMs, offset }: PartitionMark) {
    this.markMs = markMs;
    this.offset = offset;
  }

  /** At the oldest record that an open minute needs, with what was known before it: a successor reads it and what follows again. */
  get position(): PartitionMark {
    const oldest = this.waiting[0];
    return oldest === undefined ? { markMs: this.markMs, offset: this.offset } : { markMs: oldest.cells.minuteMs, offset: oldest.offset };
  }
}

export class MinuteMerge {
  #closedMs: number;
  readonly #partitions: readonly PartitionPartials[];

  constructor({ closedMs, partitions }: MergeStart) {
    this.#closedMs = closedMs;
    this.#partitions = partitions.map((partition) => new PartitionPartials(partition));
  }

  get closedMs(): number {
    return this.#closedMs;
  }

  /** Next to read. */
  offset(partition: number): number {
    return this.#partitions[partition]!.offset;
  }

  /** Where a successor has to begin. */
  marks(): PartitionMark[] {
    return this.#partitions.map(({ position }) => position);
  }

  /** Partitions of which nothing is known yet. */
  silent(): number[] {
    return this.#partitions.flatMap(({ markMs }, partition) => (markMs === -Infinity ? [partition] : []));
  }

  /** A record of metrics.partials; `cells` null = only time went by. Records come in the order of their log, each once. */
  add(partition: number, record: { readonly offset: number; readonly markMs: number; readonly cells: PartialCells | null }): void {
    const into = this.#partitions[partition]!;
    assert(record.offset >= into.offset, "records come in the order of their log");
    into.offset = record.offset + 1;
    into.markMs = Math.max(into.markMs, record.markMs);
    if (record.cells !== null) into.waiting.push({ offset: record.offset, cells: record.cells });
  }

  /** Control batches and aborted records were passed. */
  skipTo(partition: number, offset: number): void {
    const into = this.#partitions[partition]!;
    into.offset = Math.max(into.offset, offset);
  }

  /** The first minute that may not be closed. `empty`: partitions that have never had an event. */
  dueMs(empty: ReadonlySet<number>): number {
    let dueMs = Infinity;
    for (const [partition, { markMs }] of this.#partitions.entries()) {
      if (markMs !== -Infinity || !empty.has(partition)) dueMs = Math.min(dueMs, markMs);
    }
    return dueMs === Infinity ? -Infinity : dueMs;
  }

  /** Of the minutes that wait; Infinity = none does. */
  oldestMs(): number {
    return Math.min(...this.#partitions.map(({ waiting }) => waiting[0]?.cells.minuteMs ?? Infinity));
  }

  /** Closes every minute that begins before `dueMs`; minutes without rows give none. */
  close(dueMs: number): ClosedMinute[] {
    if (dueMs <= this.#closedMs) return [];
    const minutes = new Map<number, Map<string, MergedCell>>();
    for (const { waiting } of this.#partitions) {
      while (waiting[0] !== undefined && waiting[0].cells.minuteMs < dueMs) {
        const { cells } = waiting.shift()!;
        // A partition whose broker's clock was behind when it began: counted in the first open minute instead of lost.
        const minuteMs = Math.max(cells.minuteMs, this.#closedMs);
        const into = minutes.get(minuteMs) ?? new Map<string, MergedCell>();
        minutes.set(minuteMs, into);
        addCells(into, cells);
      }
    }
    this.#closedMs = dueMs;
    return [...minutes]
      .toSorted(([a], [b]) => a - b)
      .map(([minuteMs, cells]) => ({ minuteMs, cells: [...cells.values()].toSorted(bySourceAndType) }));
  }
}

function addCells(into: Map<string, MergedCell>, { sources, types, numbers }: PartialCells): void {
  for (const [i, source] of sources.entries()) {
    const type = types[i]!;
    const key = `${source.length}:${source}${type}`;
    const from = numbers.subarray(i * CELL_WIDTH, (i + 1) * CELL_WIDTH);
    const cell = into.get(key);
    if (cell === undefined) into.set(key, { source, type, numbers: from.slice() });
    else addNumbers(cell.numbers, from);
  }
}

function addNumbers(into: Float64Array, from: Float64Array): void {
  for (let i = 0; i < VALUE_MIN; i++) into[i] = into[i]! + from[i]!;
  for (let i = FIRST_BUCKET; i < CELL_WIDTH; i++) into[i] = into[i]! + from[i]!;
  // NaN = none, and no comparison with it holds.
  if (!(into[VALUE_MIN]! <= from[VALUE_MIN]!) && !Number.isNaN(from[VALUE_MIN]!)) into[VALUE_MIN] = from[VALUE_MIN]!;
  if (!(into[VALUE_MAX]! >= from[VALUE_MAX]!) && !Number.isNaN(from[VALUE_MAX]!)) into[VALUE_MAX] = from[VALUE_MAX]!;
}

function bySourceAndType(a: MergedCell, b: MergedCell): number {
  return compare(a.source, b.source) || compare(a.type, b.type);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
