/** Waiting rows as records of the output topics, in order per role, none larger than the limit unless a single row is. */
import { encodeClean, encodeLate, encodeWindows } from "#shared/events/block.ts";
import { CELL_WIDTH, encodePartial } from "#shared/events/partials.ts";
import { HEADERS, type OutputRole } from "#shared/events/names.ts";
import type { FoldOptions, OutputRecord } from "../model/ports.ts";
import type { CutSegment } from "../operators/cuts.ts";
import type { MinutePartial } from "../operators/minute-cells.ts";
import { MAX_WORDS } from "../operators/word-list.ts";
import { OutputArena } from "./output-arena.ts";
import type { RowFold } from "./row-fold.ts";

const DEFAULT_MAX_RECORD_BYTES = 900_000;
/** Schema, dictionaries of usual size, padding. */
const FRAME_BYTES = 8_192;
/** Of a partial, with its names as they usually are. */
const CELL_BYTES = 450;

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
    const { windows, late, deadLetters, partials } = this.#rows;
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
    let partialOseq = firstOseq("partials");
    for (const partial of partials) partialOseq = this.#partial(records, partial, partialOseq);
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

  /** Only the last record of a minute says that it is over. @returns the next oseq. */
  #partial(records: OutputRecord[], { minuteMs, markMs, cells }: MinutePartial, oseq: number): number {
    const mark = (to: number): Header => number(HEADERS.mark, to);
    if (cells === null) {
      records.push({ role: "partials", key: null, value: null, headers: [...this.#position(oseq, 0), mark(markMs)] });
      return oseq;
    }
    const rows = cells.sources.length;
    const step = Math.max(1, Math.floor((this.#maxBytes - FRAME_BYTES) / CELL_BYTES));
    for (let from = 0; from < rows; from += step) {
      const to = Math.min(from + step, rows);
      const value = encodePartial({
        minuteMs,
        sources: cells.sources.slice(from, to),
        types: cells.types.slice(from, to),
        numbers: cells.numbers.subarray(from * CELL_WIDTH, to * CELL_WIDTH),
      });
      const headers = [...this.#position(oseq + from, to - from), mark(to === rows ? markMs : minuteMs)];
      records.push({ role: "partials", key: null, value, headers });
    }
    return oseq + rows;
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
