/** Waiting rows as records of the output topics, in order per role, none larger than the limit unless a single row is. */
import { encodeClean, encodeLate, encodeWindows } from "#shared/events/block.ts";
import { HEADERS, type OutputRole } from "#shared/events/names.ts";
import type { FoldOptions, OutputRecord } from "../model/ports.ts";
import type { CutSegment } from "../operators/cuts.ts";
import { MAX_WORDS } from "../operators/word-list.ts";
import { OutputArena } from "./output-arena.ts";
import type { RowFold } from "./row-fold.ts";

const DEFAULT_MAX_RECORD_BYTES = 900_000;
/** Schema, dictionaries of usual size, padding. */
const FRAME_BYTES = 8_192;

type Header = readonly [key: string, value: Uint8Array];

const encoder = new TextEncoder();
const ONE = encoder.encode("1");

export class OutputRecords {
  readonly #rows: RowFold;
  readonly #maxBytes: number;
  readonly #own: readonly Header[];
  readonly #arena: OutputArena | null;

  constructor(rows: RowFold, options: FoldOptions) {
    this.#rows = rows;
    this.#maxBytes = options.maxRecordBytes ?? DEFAULT_MAX_RECORD_BYTES;
    this.#arena = options.reuseOutputs === true ? new OutputArena() : null;
    this.#own = [number(HEADERS.generation, options.generation), number(HEADERS.partition, options.partition)];
  }

  /** `firstOseq` of a role is the number of its first waiting row. */
  encode(segments: readonly CutSegment[], firstOseq: (role: OutputRole) => number): OutputRecord[] {
    const { windows, late, deadLetters } = this.#rows;
    this.#arena?.reset();
    const records: OutputRecord[] = [];
    const cleanOseq = firstOseq("clean");
    for (const segment of segments) this.#cut(records, segment, cleanOseq);
    this.#rowsOf(records, "windows", windows, 0, windows.rows, firstOseq("windows"), (from, to) =>
      encodeWindows(windows.columns(from, to), this.#arena?.take),
    );
    const letterOseq = firstOseq("dlq");
    for (const [i, { key, value, headers }] of deadLetters.entries()) {
      records.push({ role: "dlq", key, value, headers: [...headers, ...this.#position(letterOseq + i, 1)] });
    }
    this.#rowsOf(records, "late", late, 0, late.rows, firstOseq("late"), (from, to) => encodeLate(late.late(from, to)));
    return records;
  }

  #cut(records: OutputRecord[], segment: CutSegment, firstOseq: number): void {
    const { clean } = this.#rows;
    const cut = number(HEADERS.cut, segment.cut);
    const end: readonly Header[] = segment.ends ? [cut, [HEADERS.cutEnd, ONE]] : [cut];
    if (segment.from === segment.to) {
      records.push({ role: "clean", key: null, value: null, headers: [...this.#position(firstOseq + segment.from, 0), ...end] });
      return;
    }
    const encode = (from: number, to: number): Uint8Array => encodeClean(clean.clean(from, to), this.#arena?.take);
    this.#rowsOf(records, "clean", clean, segment.from, segment.to, firstOseq, encode, (to) => (to === segment.to ? end : [cut]));
  }

  #rowsOf(
    records: OutputRecord[],
    role: OutputRole,
    buffer: { fit(from: number, to: number, maxBytes: number): number },
    begin: number,
    end: number,
    firstOseq: number,
    encode: (from: number, to: number) => Uint8Array,
    extra: (to: number) => readonly Header[] = () => [],
  ): void {
    for (let from = begin; from < end;) {
      let to = Math.min(buffer.fit(from, end, this.#maxBytes - FRAME_BYTES), from + MAX_WORDS);
      let value = encode(from, to);
      // The estimate leaves out what dictionaries of unusual size take.
      while (value.length > this.#maxBytes && to - from > 1) {
        to = from + ((to - from) >> 1);
        value = encode(from, to);
      }
      records.push({ role, key: null, value, headers: [...this.#position(firstOseq + from, to - from), ...extra(to)] });
      from = to;
    }
  }

  #position(oseq: number, rows: number): Header[] {
    return [...this.#own, number(HEADERS.oseq, oseq), number(HEADERS.count, rows)];
  }
}

function number(key: string, value: number): Header {
  return [key, encoder.encode(String(value))];
}
