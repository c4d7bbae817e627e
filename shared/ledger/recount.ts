/**
 * The ledger's arithmetic for one partition, offset by offset and without I/O: every offset of events.raw must be found exactly once, as a
 * clean row, a dead letter or a late event, or else its event_id must stand in an earlier one (a duplicate). What is found nowhere is lost,
 * what is found more often is doubled (docs/ARCHITECTURE.md).
 *
 * What lies at or behind `endOffset` is ignored: a recount covers the log up to a point, and producers may go on meanwhile.
 *
 * Order of calls: outputs first ({@link PartitionRecount.addClean} and its like, in any order), then every raw record, then the result.
 */
import { assert } from "#shared/kernel/assert.ts";
import { IdentityIndex } from "./identity-index.ts";

/** How many offsets of each kind of finding are named. */
const EXAMPLES = 10;

/** Places where an offset may be found: 3 bits each in its mark, counting to 7. */
const PLACE = { table: 0, clean: 3, deadLetter: 6, late: 9 } as const;
const PLACE_MAX = 7;
const RAW = 1 << 12;

export interface RecountOptions {
  readonly partition: number;
  /** Of events.raw: the first offset that retention has left, and the end of the log. */
  readonly firstOffset: number;
  readonly endOffset: number;
  /** An id that comes back later than this is another event by definition. */
  readonly dedupHorizonMs: number;
}

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
  /** Outputs that name an offset which events.raw does not have. */
  readonly unfounded: number;
  readonly examples: {
    readonly lost: readonly number[];
    readonly doubled: readonly number[];
    readonly topicOnly: readonly number[];
    readonly tableOnly: readonly number[];
  };
}

export class PartitionRecount {
  readonly #options: RecountOptions;
  /** By offset - firstOffset. */
  readonly #marks: Uint16Array;
  readonly #identities = new IdentityIndex();
  #duplicate = 0;
  #reused = 0;
  #outermost = -1;
  #lost = 0;
  readonly #lostExamples: number[] = [];
  readonly #doubledIds = new Set<number>();

  constructor(options: RecountOptions) {
    assert(options.endOffset >= options.firstOffset, "the end must not lie before the start");
    this.#options = options;
    this.#marks = new Uint16Array(options.endOffset - options.firstOffset);
  }

  /** A row of ClickHouse's events. `at` counts bytes in `ids`. */
  addTableRow(sourceOffset: number, ids: Uint8Array, at: number, logTimeMs: number): void {
    const again = this.#mark(sourceOffset, PLACE.table);
    if (!again) this.#identify(ids, at, { sourceOffset, logTimeMs });
  }

  /** A row of the topic events.clean. */
  addClean(sourceOffset: number): void {
    this.#mark(sourceOffset, PLACE.clean);
  }

  addLate(sourceOffset: number, ids: Uint8Array, at: number, logTimeMs: number): void {
    const again = this.#mark(sourceOffset, PLACE.late);
    if (!again) this.#identify(ids, at, { sourceOffset, logTimeMs });
  }

  addDeadLetter(sourceOffset: number): void {
    this.#mark(sourceOffset, PLACE.deadLetter);
  }

  /** `readId` gives the record's event_id, null when it has none that can be read; asked only where no output has the offset. */
  addRaw(offset: number, readId: () => Uint8Array | null): void {
    const { firstOffset, endOffset } = this.#options;
    // Behind the end: produced meanwhile.
    if (offset < firstOffset || offset >= endOffset) return;
    const i = offset - firstOffset;
    const mark = this.#marks[i]!;
    if ((mark & RAW) !== 0) return;
    this.#marks[i] = mark | RAW;
    if (count(mark, PLACE.table) + count(mark, PLACE.deadLetter) + count(mark, PLACE.late) > 0) return;
    const id = readId();
    const row = id === null ? -1 : this.#identities.find(id, 0);
    if (row >= 0 && this.#identities.sourceOffset(row) < offset) this.#duplicate++;
    else if (this.#lost++ < EXAMPLES) this.#lostExamples.push(offset);
  }

  /** `endOffsetNow`: end of events.raw after the outputs were read; what they name must lie below. */
  result(endOffsetNow = this.#options.endOffset): PartitionResult {
    const { partition, firstOffset } = this.#options;
    const unfounded = this.#outermost >= endOffsetNow ? 1 : 0;
    const totals = { raw: 0, clean: 0, deadLettered: 0, late: 0, doubled: 0, topicOnly: 0, tableOnly: 0, unfounded };
    const examples = { doubled: [] as number[], topicOnly: [] as number[], tableOnly: [] as number[] };
    const note = (list: number[], i: number): void => {
      if (list.length < EXAMPLES) list.push(firstOffset + i);
    };
    for (let i = 0; i < this.#marks.length; i++) {
      const mark = this.#marks[i]!;
      if (mark === 0) continue;
      const [table, clean, deadLetter, late] = [
        count(mark, PLACE.table),
        count(mark, PLACE.clean),
        count(mark, PLACE.deadLetter),
        count(mark, PLACE.late),
      ];
      if ((mark & RAW) === 0) totals.unfounded++;
      else totals.raw++;
      if (table > 0) totals.clean++;
      if (deadLetter > 0) totals.deadLettered++;
      if (late > 0) totals.late++;
      if (clean > 0 && table === 0) {
        totals.topicOnly++;
        note(examples.topicOnly, i);
      } else if (table > 0 && clean === 0) {
        totals.tableOnly++;
        note(examples.tableOnly, i);
      }
      // The same row in the topic and in the table is one finding, twice in either is two.
      const found = Math.max(table, clean) + deadLetter + late;
      if (found > 1 || this.#doubledIds.has(firstOffset + i)) {
        totals.doubled += Math.max(1, found - 1);
        note(examples.doubled, i);
      }
    }
    return {
      partition,
      ...totals,
      duplicate: this.#duplicate,
      lost: this.#lost,
      reused: this.#reused,
      examples: { ...examples, lost: this.#lostExamples },
    };
  }

  /** True when this place had the offset before, or when the offset is not this recount's matter. */
  #mark(offset: number, place: number): boolean {
    const i = offset - this.#options.firstOffset;
    // Retention took the raw record: nothing to compare with.
    if (i < 0) return true;
    if (i >= this.#marks.length) {
      this.#outermost = Math.max(this.#outermost, offset);
      return true;
    }
    const mark = this.#marks[i]!;
    const before = count(mark, place);
    if (before < PLACE_MAX) this.#marks[i] = mark + (1 << place);
    return before > 0;
  }

  #identify(ids: Uint8Array, at: number, position: { readonly sourceOffset: number; readonly logTimeMs: number }): void {
    const row = this.#identities.add(ids, at, position);
    if (row < 0) return;
    const otherOffset = this.#identities.sourceOffset(row);
    if (Math.abs(position.logTimeMs - this.#identities.logTimeMs(row)) > this.#options.dedupHorizonMs) this.#reused++;
    else this.#doubledIds.add(Math.max(position.sourceOffset, otherOffset));
    // The earliest is the original that duplicates refer to.
    if (position.sourceOffset < otherOffset) this.#identities.move(row, position);
  }
}

function count(mark: number, place: number): number {
  return (mark >>> place) & PLACE_MAX;
}
