/**
 * Rows of one cut as Arrow, one batch per month of event time: what the table's partitions are, so that each insert is one part (decision
 * 0004). A function of the logged rows alone: every retry and every zombie builds the same bytes.
 */
import type { ArrowColumn, ArrowField } from "#shared/events/arrow/schema.ts";
import { defineSchema } from "#shared/events/arrow/schema.ts";
import { encodeColumns } from "#shared/events/arrow/writer.ts";
import { assert } from "#shared/kernel/assert.ts";
import { CLEAN_FIELDS } from "#shared/events/block.ts";
import type { BytesColumn, CleanColumns, DictionaryColumn } from "#shared/events/columns.ts";

export interface Provenance {
  readonly lane: string;
  readonly generation: number;
  readonly partition: number;
}

/** The rows of one record: its columns and the number of its first row. */
export interface RowSource {
  readonly columns: CleanColumns;
  readonly oseq: number;
}

export interface MonthBlock {
  /** 202611 */
  readonly month: number;
  readonly rows: number;
  readonly bytes: Uint8Array;
}

/** Where a row comes from, behind the columns of its topic. */
export const PROVENANCE_FIELDS: readonly ArrowField[] = [
  { name: "lane", type: "dictionary16" },
  { name: "gen", type: "uint16" },
  { name: "p", type: "uint16" },
  { name: "oseq", type: "int64" },
];

const SCHEMA = defineSchema([...CLEAN_FIELDS, ...PROVENANCE_FIELDS, { name: "cut", type: "int64" }]);

/** Consecutive rows of one source. Where months do not alternate there is one run a record, and columns are copied whole. */
interface Run {
  readonly source: number;
  readonly from: number;
  readonly to: number;
}

/** What one month takes, in order. */
interface Selection {
  readonly rows: number;
  readonly runs: readonly Run[];
}

export function monthBlocks(sources: readonly RowSource[], cut: number, provenance: Provenance): MonthBlock[] {
  return [...selectMonths(sources)]
    .toSorted(([a], [b]) => a - b)
    .map(([month, selection]) => ({ month, rows: selection.rows, bytes: encodeRows(sources, selection, cut, provenance) }));
}

function selectMonths(sources: readonly RowSource[]): Map<number, Selection> {
  const months = new Map<number, { rows: number; runs: Run[] }>();
  for (let source = 0; source < sources.length; source++) {
    const { rows, eventTimeMs } = sources[source]!.columns;
    for (let from = 0; from < rows;) {
      const month = monthOf(eventTimeMs[from]!);
      let to = from + 1;
      while (to < rows && monthOf(eventTimeMs[to]!) === month) to++;
      let selection = months.get(month);
      if (selection === undefined) months.set(month, (selection = { rows: 0, runs: [] }));
      selection.rows += to - from;
      selection.runs.push({ source, from, to });
      from = to;
    }
  }
  return months;
}

/** The last answer is remembered: rows of one month come in long runs. */
let knownFromMs = 1;
let knownToMs = 0;
let knownMonth = 0;

function monthOf(timeMs: number): number {
  if (timeMs >= knownFromMs && timeMs < knownToMs) return knownMonth;
  const date = new Date(timeMs);
  const year = date.getUTCFullYear();
  const month = date.getUTCMonth();
  knownFromMs = Date.UTC(year, month);
  knownToMs = Date.UTC(year, month + 1);
  knownMonth = year * 100 + month + 1;
  return knownMonth;
}

function encodeRows(
  sources: readonly RowSource[],
  selection: Selection,
  cut: number,
  { lane, generation, partition }: Provenance,
): Uint8Array {
  const { rows, runs } = selection;
  const doubles = (from: (columns: CleanColumns) => Float64Array): Float64Array => {
    const target = new Float64Array(rows);
    let at = 0;
    for (const run of runs) at = copy(target, at, from(sources[run.source]!.columns), run, 1);
    return target;
  };
  const words = (width: 1 | 2, from: (columns: CleanColumns) => Uint32Array): Uint32Array => {
    const target = new Uint32Array(rows * width);
    let at = 0;
    for (const run of runs) at = copy(target, at, from(sources[run.source]!.columns), run, width);
    return target;
  };
  const eventId = new Uint8Array(rows * 16);
  const oseq = new Float64Array(rows);
  let at = 0;
  for (const run of runs) {
    const source = sources[run.source]!;
    copy(eventId, at * 16, source.columns.eventId, run, 16);
    for (let row = run.from; row < run.to; row++) oseq[at++] = source.oseq + row;
  }
  const bytes = (from: (columns: CleanColumns) => BytesColumn): BytesColumn =>
    gatherBytes(
      selection,
      sources.map(({ columns }) => from(columns)),
    );
  const codes = (from: (columns: CleanColumns) => DictionaryColumn): DictionaryColumn =>
    gatherDictionary(
      selection,
      sources.map(({ columns }) => from(columns)),
    );
  const columns: ArrowColumn[] = [
    doubles((c) => c.sourceOffset),
    eventId,
    doubles((c) => c.eventTimeMs),
    words(2, (c) => c.userId),
    codes((c) => c.eventType),
    codes((c) => c.source),
    bytes((c) => c.sessionId),
    doubles((c) => c.value),
    bytes((c) => c.deviceInfo),
    bytes((c) => c.geoLocation),
    bytes((c) => c.properties),
    codes((c) => c.reason),
    doubles((c) => c.logTimeMs),
    words(1, (c) => c.windowEvents),
    doubles((c) => c.sessionStartMs),
    words(1, (c) => c.sessionEvents),
    doubles((c) => c.score),
    codes((c) => c.enrichment),
    { codes: new Int16Array(rows), values: [lane] },
    new Uint16Array(rows).fill(generation),
    new Uint16Array(rows).fill(partition),
    oseq,
    new Float64Array(rows).fill(cut),
  ];
  return encodeColumns(SCHEMA, rows, columns);
}

/** Returns where the next run goes. */
function copy<T extends Uint8Array | Uint32Array | Float64Array>(
  target: T,
  at: number,
  values: T,
  { from, to }: Run,
  width: number,
): number {
  target.set(values.subarray(from * width, to * width), at);
  return at + (to - from) * width;
}

function gatherBytes({ rows, runs }: Selection, from: readonly BytesColumn[]): BytesColumn {
  let size = 0;
  for (const run of runs) size += from[run.source]!.offsets[run.to]! - from[run.source]!.offsets[run.from]!;
  const offsets = new Int32Array(rows + 1);
  const bytes = new Uint8Array(size);
  const hasNulls = runs.some((run) => from[run.source]!.validity !== null);
  const validity = hasNulls ? new Uint8Array((rows + 7) >> 3) : null;
  let at = 0;
  let end = 0;
  for (const run of runs) {
    const column = from[run.source]!;
    const start = column.offsets[run.from]!;
    bytes.set(column.bytes.subarray(start, column.offsets[run.to]), end);
    const shift = end - start;
    for (let row = run.from; row < run.to; row++) {
      if (validity !== null && isPresent(column.validity, row)) validity[at >> 3]! |= 1 << (at & 7);
      offsets[++at] = column.offsets[row + 1]! + shift;
    }
    end = offsets[at]!;
  }
  return { offsets, bytes, validity };
}

function isPresent(validity: Uint8Array | null, row: number): boolean {
  return validity === null || (validity[row >> 3]! & (1 << (row & 7))) !== 0;
}

/** One dictionary for all sources, in order of first source. */
function gatherDictionary({ rows, runs }: Selection, from: readonly DictionaryColumn[]): DictionaryColumn {
  const known = new Map<string, number>();
  const translations = from.map(({ values }) =>
    Int16Array.from(values, (value) => {
      const code = known.get(value) ?? known.size;
      known.set(value, code);
      return code;
    }),
  );
  // Types, sources and reasons are declared ones, at most some thousands.
  assert(known.size <= 32_767, "the codes of a cut fit 16 bits");
  const codes = new Int16Array(rows);
  let at = 0;
  for (const run of runs) {
    const source = from[run.source]!;
    const translation = translations[run.source]!;
    for (let row = run.from; row < run.to; row++) {
      const code = source.codes[row]!;
      codes[at++] = code < 0 ? -1 : translation[code]!;
    }
  }
  return { codes, values: [...known.keys()] };
}
