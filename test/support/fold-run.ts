/** Runs the real fold over a log, in any packaging, and reads its output records back as rows, checking what every reader relies on. */
import { createHash } from "node:crypto";
import { expect } from "vitest";
import { createFold, restoreFold, type ColumnFold } from "#processor/fold/partition-fold.ts";
import type { FoldOptions, InputRecord, OutputRecord } from "#processor/model/ports.ts";
import { decodeClean, decodeLate, decodeWindows, encodeBlock } from "#shared/events/block.ts";
import { encodeControl } from "#shared/events/control.ts";
import { HEADERS } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { cleanRows, eventColumns, lateRows, windowRows } from "./event-batch.ts";
import type { FoldOutput, LogBlock, LogEntry, NaiveEnrichment } from "./naive-fold.ts";
import { partialRows } from "./partial-rows.ts";

export const FOLD_OPTIONS: FoldOptions = {
  generation: 1,
  partition: 3,
  historical: false,
  outOfOrdernessMs: 5_000,
  idleMarginMs: 5_000,
  dedupHorizonMs: 600_000,
  cutRows: 65_536,
  cutMs: 1_000,
};

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface FoldRun {
  readonly output: FoldOutput;
  readonly progress: Progress;
  readonly records: readonly OutputRecord[];
  readonly fold: ColumnFold;
}

export interface Packaging {
  /** Asked after each record: does the epoch end here? */
  readonly endsEpoch?: (record: number) => boolean;
  /** Asked at the end of an epoch: is the fold replaced by one restored from its snapshot? */
  readonly restores?: (record: number) => boolean;
}

export function inputRecord(entry: LogEntry, offset: number, options: FoldOptions = FOLD_OPTIONS): InputRecord {
  if (entry.kind === "block") {
    const first = entry.rows[0]?.sourceOffset ?? 0;
    const last = entry.rows.at(-1)?.sourceOffset ?? 0;
    const meta = { generation: options.generation, topic: "events.raw", partition: options.partition, rulesVersion: 7 };
    const value = encodeBlock(eventColumns(entry.rows), { ...meta, firstSourceOffset: first, lastSourceOffset: last });
    const headers: [string, Uint8Array][] = [
      [HEADERS.kind, encoder.encode("block")],
      [HEADERS.firstSourceOffset, encoder.encode(String(first))],
      [HEADERS.lastSourceOffset, encoder.encode(String(last))],
      [HEADERS.count, encoder.encode(String(entry.rows.length))],
    ];
    return { offset, timestampMs: entry.logTimeMs, value, headers };
  }
  if (entry.kind === "enrichment") {
    const bytes = enrichmentBytes(entry.table);
    const { value, headers } = encodeControl({ kind: "enrichment", version: entry.table.version, sha256: sha256Of(bytes) });
    return { offset, timestampMs: entry.logTimeMs, value, headers };
  }
  const { logTimeMs, ...control } = entry;
  const { value, headers } = encodeControl(control);
  return { offset, timestampMs: logTimeMs, value, headers };
}

export function enrichmentBytes(table: NaiveEnrichment): Uint8Array {
  return encoder.encode(JSON.stringify(table));
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function headerText(record: OutputRecord, key: string): string | null {
  const header = record.headers.find(([name]) => name === key);
  return header === undefined ? null : decoder.decode(header[1]);
}

export function runFold(log: readonly LogEntry[], options: FoldOptions = FOLD_OPTIONS, packaging: Packaging = {}): FoldRun {
  let fold = createFold(options);
  const records: OutputRecord[] = [];
  for (const [i, entry] of log.entries()) {
    fold.apply(inputRecord(entry, i, options), entry.kind === "enrichment" ? enrichmentBytes(entry.table) : undefined);
    if (packaging.endsEpoch?.(i) ?? false) records.push(...fold.takeOutputs());
    if (packaging.restores?.(i) ?? false) {
      records.push(...fold.takeOutputs());
      const bytes = fold.snapshot();
      fold = restoreFold(options, bytes);
      expect(Buffer.compare(fold.snapshot(), bytes)).toBe(0);
    }
  }
  records.push(...fold.takeOutputs());
  return { output: readOutputs(records, fold.progress()), progress: fold.progress(), records, fold };
}

/** Rows of the records, with the position headers checked: oseq without a gap, cuts in order. */
export function readOutputs(records: readonly OutputRecord[], progress: Progress): FoldOutput {
  const output: FoldOutput = {
    clean: [],
    windows: [],
    late: [],
    deadLetters: [],
    partials: [],
    marks: [],
    endedCuts: [],
    counts: progress.counts,
    watermarkMs: progress.watermarkMs,
    highWaterMark: progress.hw,
    rulesVersion: progress.rulesVersion,
  };
  const nextOseq = { clean: 1, windows: 1, late: 1, dlq: 1, partials: 1, alerts: 1 };
  let cut = 1;
  let cutRows = 0;
  for (const record of records) {
    expect(headerText(record, HEADERS.generation)).toBe("1");
    expect(headerText(record, HEADERS.partition)).toBe("3");
    expect(Number(headerText(record, HEADERS.oseq))).toBe(nextOseq[record.role]);
    const count = Number(headerText(record, HEADERS.count));
    nextOseq[record.role] += count;
    if (record.role === "clean") {
      expect(Number(headerText(record, HEADERS.cut))).toBe(cut);
      const rows = record.value === null ? [] : cleanRows(decodeClean(record.value));
      expect(rows).toHaveLength(count);
      output.clean.push(...rows.map((row) => Object.assign(row, { cut })));
      cutRows += count;
      if (headerText(record, HEADERS.cutEnd) === "1") {
        output.endedCuts.push([cut++, cutRows]);
        cutRows = 0;
      } else expect(count).toBeGreaterThan(0);
    } else if (record.role === "windows") {
      const rows = windowRows(decodeWindows(record.value!));
      expect(rows).toHaveLength(count);
      output.windows.push(...rows);
    } else if (record.role === "late") {
      const rows = lateRows(decodeLate(record.value!));
      expect(rows).toHaveLength(count);
      output.late.push(...rows);
    } else if (record.role === "partials") {
      const rows = record.value === null ? [] : partialRows(record.value);
      expect(rows).toHaveLength(count);
      output.partials.push(...rows);
      const markMs = Number(headerText(record, HEADERS.mark));
      // A minute in several records is over with the last of them.
      if (rows[0]?.minuteMs !== markMs) output.marks.push(markMs);
    } else {
      const source = headerText(record, HEADERS.source)!.split("/");
      output.deadLetters.push({ sourceOffset: Number(source[2]), reason: headerText(record, HEADERS.reason)! });
    }
  }
  expect(progress.oseq).toEqual({
    clean: nextOseq.clean - 1,
    windows: nextOseq.windows - 1,
    late: nextOseq.late - 1,
    dlq: nextOseq.dlq - 1,
    partials: nextOseq.partials - 1,
    alerts: 0,
  });
  return output;
}

/** The same rows in smaller blocks of the same log time. `cuts` says after which rows (counted over the whole log) a block ends. */
export function splitBlocks(log: readonly LogEntry[], endsBlock: (row: number) => boolean): LogEntry[] {
  let row = 0;
  return log.flatMap((entry): LogEntry[] => {
    if (entry.kind !== "block") return [entry];
    const parts: LogBlock[] = [];
    let rows: LogBlock["rows"][number][] = [];
    for (const event of entry.rows) {
      rows.push(event);
      if (endsBlock(row++)) {
        parts.push({ ...entry, rows });
        rows = [];
      }
    }
    return rows.length > 0 || entry.rows.length === 0 ? [...parts, { ...entry, rows }] : parts;
  });
}
