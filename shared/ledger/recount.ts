/**
 * The ledger's arithmetic for one partition, offset by offset: every offset of events.raw must be found exactly once, as a clean row, a dead letter
 * or a late event, or else its event_id must stand in an earlier one (a duplicate). What is found nowhere is lost, what is found more often is
 * doubled; a clean row must say the same in the topic and in the table, and carry the id of its raw record (docs/ARCHITECTURE.md).
 *
 * It works in ranges of offsets, so that memory does not grow with the log; ids are compared across ranges by {@link IdentitySpill}.
 * Order of calls: {@link PartitionRecount.begin} a range, its outputs in any order, its raw records, {@link PartitionRecount.finishRange}; after
 * the last range the result.
 */
import { assert } from "#shared/kernel/assert.ts";
import { readEventId, scanEventId } from "./event-id.ts";
import { IdentityIndex } from "./identity-index.ts";
import { ENTRY_BYTES, IdentitySpill } from "./identity-spill.ts";
import { MinuteCounts, type MinuteRow } from "./minute-counts.ts";
import { RangeRows, type RowFacts } from "./range-rows.ts";

/** How many offsets of each kind of finding are named. */
const EXAMPLES = 10;
/** Lost ones that the caller may look up elsewhere before they count as lost. */
const UNRESOLVED_MAX = 100_000;

/** Places where an offset may be found: 3 bits each in its mark, counting to 7. */
const PLACE = { table: 0, clean: 3, deadLetter: 6, late: 9 } as const;
const PLACE_MAX = 7;
const RAW = 1 << 12;

export interface RecountOptions {
  readonly partition: number;
  /** Of events.raw: where the recount begins, and the end of the log as it stood. */
  readonly firstOffset: number;
  readonly endOffset: number;
  /** An id that comes back later than this is another event by definition. */
  readonly dedupHorizonMs: number;
  /** Offsets in a range, at most. */
  readonly rangeSize?: number;
}

type NotedKind = "topicOnly" | "tableOnly" | "altered" | "foreign" | "disordered";
export type FindingKind = "lost" | "doubled" | NotedKind;
type OrderedPlace = "clean" | "late" | "deadLetter";

export interface PartitionResult {
  readonly partition: number;
  /** raw = clean + deadLettered + duplicate + late + lost, unless something is doubled. */
  readonly raw: number;
  /** Distinct offsets with a row in ClickHouse. */
  readonly clean: number;
  readonly deadLettered: number;
  readonly duplicate: number;
  readonly late: number;
  readonly lost: number;
  /** Offsets found in more than one place or more than once in one, and event ids with two rows, clean or late. */
  readonly doubled: number;
  /** Ids that came back after the de-duplication horizon: counted as events of their own. */
  readonly reused: number;
  /** Clean rows that only the topic or only the table has. */
  readonly topicOnly: number;
  readonly tableOnly: number;
  /** Rows that say something else in the table than in the topic. */
  readonly altered: number;
  /** Outputs with another id than the raw record of their offset. */
  readonly foreign: number;
  /** Outputs that stand in their topic behind a later source offset. */
  readonly disordered: number;
  /** Outputs that name an offset which events.raw does not have. */
  readonly unfounded: number;
  readonly examples: Readonly<Record<FindingKind, readonly number[]>>;
  readonly minutes: readonly MinuteRow[];
}

export interface Unresolved {
  readonly offset: number;
  readonly id: Uint8Array;
  readonly timestampMs: number;
}

const RANGE_SIZE = 524_288;

export class PartitionRecount {
  readonly rangeSize: number;
  readonly #options: RecountOptions;
  readonly #marks: Uint16Array;
  readonly #rows: RangeRows;
  readonly #identities: IdentitySpill;
  readonly #minutes = new MinuteCounts();
  readonly #counts = { raw: 0, clean: 0, deadLettered: 0, duplicate: 0, late: 0, lost: 0, doubled: 0, reused: 0, unfounded: 0 };
  readonly #found: Record<NotedKind, number> = {
    topicOnly: 0,
    tableOnly: 0,
    altered: 0,
    foreign: 0,
    disordered: 0,
  };
  readonly #examples: Record<FindingKind, number[]> = {
    lost: [],
    doubled: [],
    topicOnly: [],
    tableOnly: [],
    altered: [],
    foreign: [],
    disordered: [],
  };
  readonly #last: Record<OrderedPlace, number> = { clean: -1, late: -1, deadLetter: -1 };
  readonly #rawId = new Uint8Array(16);
  #first = 0;
  #end = 0;
  #outermost = -1;

  constructor(options: RecountOptions) {
    const { firstOffset, endOffset, rangeSize = RANGE_SIZE } = options;
    assert(endOffset >= firstOffset, "the end must not lie before the start");
    this.#options = options;
    const size = Math.min(rangeSize, endOffset - firstOffset);
    this.rangeSize = Math.max(1, size);
    this.#marks = new Uint16Array(size);
    this.#rows = new RangeRows(size);
    this.#identities = new IdentitySpill(endOffset - firstOffset);
  }

  /** Ids of outputs before the first offset: duplicates may refer to them. */
  addKnown(sourceOffset: number, ids: Uint8Array, at: number, logTimeMs: number): void {
    if (sourceOffset < this.#options.firstOffset) this.#identities.add(ids, at, sourceOffset, logTimeMs);
  }

  begin(first: number, end: number): void {
    assert(end - first <= this.#marks.length, "a range is as long as was said at most");
    this.#first = first;
    this.#end = end;
    this.#marks.fill(0);
  }

  /** A row of the topic events.clean. `at` counts bytes in `ids`. */
  addClean(sourceOffset: number, ids: Uint8Array, at: number, facts: RowFacts): void {
    this.#order("clean", sourceOffset);
    if (this.#mark(sourceOffset, PLACE.clean)) return;
    this.#identities.add(ids, at, sourceOffset, facts.logTimeMs);
    this.#rows.keep(sourceOffset - this.#first, ids, at, facts);
  }

  /** After the topic's rows of the range. */
  addTableRow(sourceOffset: number, ids: Uint8Array, at: number, facts: RowFacts): void {
    if (this.#mark(sourceOffset, PLACE.table)) return;
    const i = sourceOffset - this.#first;
    if (count(this.#marks[i]!, PLACE.clean) === 0) {
      this.#identities.add(ids, at, sourceOffset, facts.logTimeMs);
      this.#rows.keep(i, ids, at, facts);
    } else if (!this.#rows.equals(i, ids, at, facts)) this.#note("altered", sourceOffset);
  }

  addLate(sourceOffset: number, ids: Uint8Array, at: number, logTimeMs: number): void {
    this.#order("late", sourceOffset);
    if (this.#mark(sourceOffset, PLACE.late)) return;
    this.#identities.add(ids, at, sourceOffset, logTimeMs);
    this.#rows.keepId(sourceOffset - this.#first, ids, at);
  }

  addDeadLetter(sourceOffset: number): void {
    this.#order("deadLetter", sourceOffset);
    this.#mark(sourceOffset, PLACE.deadLetter);
  }

  /** An output behind the last range: right only if events.raw has grown so far. */
  addBeyond(sourceOffset: number): void {
    this.#outermost = Math.max(this.#outermost, sourceOffset);
  }

  addRaw(offset: number, timestampMs: number, value: Uint8Array | null): void {
    // Behind the end: produced meanwhile.
    if (offset < this.#first || offset >= this.#end) return;
    const i = offset - this.#first;
    const mark = this.#marks[i]!;
    if ((mark & RAW) !== 0) return;
    this.#marks[i] = mark | RAW;
    this.#minutes.add(timestampMs, "raw");
    const isTable = count(mark, PLACE.table) > 0;
    if (isTable) this.#minutes.add(timestampMs, "table");
    if (isTable || count(mark, PLACE.late) > 0) {
      this.#minutes.add(timestampMs, isTable ? "clean" : "late");
      this.#compareId(offset, i, value);
      return;
    }
    if (count(mark, PLACE.deadLetter) > 0) {
      this.#minutes.add(timestampMs, "deadLettered");
      return;
    }
    const id = readEventId(value);
    // Minus one, so that an offset of 0 has a sign too.
    if (id !== null) this.#identities.add(id, 0, -1 - offset, timestampMs);
    else this.#lose(offset, timestampMs);
  }

  finishRange(): void {
    for (let i = 0; i < this.#end - this.#first; i++) {
      const mark = this.#marks[i]!;
      if (mark === 0) continue;
      const table = count(mark, PLACE.table);
      const clean = count(mark, PLACE.clean);
      const deadLetter = count(mark, PLACE.deadLetter);
      const late = count(mark, PLACE.late);
      if ((mark & RAW) === 0) this.#counts.unfounded++;
      else this.#counts.raw++;
      if (table > 0) this.#counts.clean++;
      if (deadLetter > 0) this.#counts.deadLettered++;
      if (late > 0) this.#counts.late++;
      if (clean > 0 && table === 0) this.#note("topicOnly", this.#first + i);
      else if (table > 0 && clean === 0) this.#note("tableOnly", this.#first + i);
      // The same row in the topic and in the table is one finding, twice in either is two.
      const found = Math.max(table, clean) + deadLetter + late;
      if (found > 1) this.#double(this.#first + i, found - 1);
    }
  }

  /**
   * `endOffsetNow`: end of events.raw after the outputs were read; what they name must lie below. `lookUp`: originals that lie before all that was
   * read, by offset of the one that repeats them. Frees what was spilled.
   */
  async result(
    endOffsetNow = this.#options.endOffset,
    lookUp: (unresolved: readonly Unresolved[]) => Promise<ReadonlySet<number>> = () => Promise.resolve(new Set()),
  ): Promise<PartitionResult> {
    if (this.#outermost >= endOffsetNow) this.#counts.unfounded++;
    const unresolved: Unresolved[] = [];
    for (const entries of this.#identities.entries()) this.#resolve(entries, unresolved);
    this.#identities.close();
    const known = unresolved.length === 0 ? new Set<number>() : await lookUp(unresolved);
    for (const { offset, timestampMs } of unresolved.toSorted((a, b) => a.offset - b.offset)) {
      if (known.has(offset)) this.#repeat(timestampMs);
      else this.#lose(offset, timestampMs);
    }
    for (const list of Object.values(this.#examples)) list.sort((a, b) => a - b).splice(EXAMPLES);
    return {
      partition: this.#options.partition,
      ...this.#counts,
      ...this.#found,
      examples: this.#examples,
      minutes: this.#minutes.rows(),
    };
  }

  /** Rows of the topic that the table lacks, first ones; after the last range. */
  get topicOnlyExamples(): readonly number[] {
    return this.#examples.topicOnly;
  }

  close(): void {
    this.#identities.close();
  }

  #resolve(entries: Buffer, unresolved: Unresolved[]): void {
    const index = new IdentityIndex();
    for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
      const sourceOffset = entries.readDoubleLE(at + 16);
      if (sourceOffset < 0) continue;
      const position = { sourceOffset, logTimeMs: entries.readDoubleLE(at + 24) };
      const row = index.add(entries, at, position);
      if (row < 0) continue;
      const otherOffset = index.sourceOffset(row);
      if (Math.abs(position.logTimeMs - index.logTimeMs(row)) > this.#options.dedupHorizonMs) this.#counts.reused++;
      else this.#double(Math.max(sourceOffset, otherOffset), 1);
      // The earliest is the original that duplicates refer to.
      if (sourceOffset < otherOffset) index.move(row, position);
    }
    for (let at = 0; at < entries.length; at += ENTRY_BYTES) {
      const position = entries.readDoubleLE(at + 16);
      if (position >= 0) continue;
      const offset = -1 - position;
      const timestampMs = entries.readDoubleLE(at + 24);
      const row = index.find(entries, at);
      if (row >= 0 && index.sourceOffset(row) < offset) this.#repeat(timestampMs);
      else if (unresolved.length < UNRESOLVED_MAX)
        unresolved.push({ offset, id: Uint8Array.from(entries.subarray(at, at + 16)), timestampMs });
      else this.#lose(offset, timestampMs);
    }
  }

  /** True when this place had the offset before, or when the offset is not this range's matter. */
  #mark(offset: number, place: number): boolean {
    const i = offset - this.#first;
    // Retention took the raw record: nothing to compare with.
    if (i < 0) return true;
    if (offset >= this.#end) {
      this.addBeyond(offset);
      return true;
    }
    const mark = this.#marks[i]!;
    const before = count(mark, place);
    if (before < PLACE_MAX) this.#marks[i] = mark + (1 << place);
    return before > 0;
  }

  #order(place: OrderedPlace, offset: number): void {
    if (offset <= this.#last[place]) this.#note("disordered", offset);
    else this.#last[place] = offset;
  }

  /** A record whose id the recount cannot read (an older layout that the rules lift) is taken as it is. */
  #compareId(offset: number, i: number, value: Uint8Array | null): void {
    if (value !== null && scanEventId(value, this.#rawId) && this.#rows.hasId(i, this.#rawId, 0)) return;
    const id = readEventId(value);
    if (id !== null && !this.#rows.hasId(i, id, 0)) this.#note("foreign", offset);
  }

  #note(kind: NotedKind, offset: number): void {
    if (this.#found[kind]++ < EXAMPLES) this.#examples[kind].push(offset);
  }

  #double(offset: number, times: number): void {
    this.#counts.doubled += times;
    name(this.#examples.doubled, offset);
  }

  #lose(offset: number, timestampMs: number): void {
    this.#counts.lost++;
    this.#minutes.add(timestampMs, "lost");
    name(this.#examples.lost, offset);
  }

  #repeat(timestampMs: number): void {
    this.#counts.duplicate++;
    this.#minutes.add(timestampMs, "duplicate");
  }
}

function count(mark: number, place: number): number {
  return (mark >>> place) & PLACE_MAX;
}

/** Ids come in the order of their buckets: the smallest offsets are kept. */
function name(examples: number[], offset: number): void {
  if (examples.length < EXAMPLES) examples.push(offset);
  else {
    const largest = examples.indexOf(Math.max(...examples));
    if (examples[largest]! > offset) examples[largest] = offset;
  }
}
