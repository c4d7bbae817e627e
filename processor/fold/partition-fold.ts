/**
 * The deterministic fold of one partition of events.valid (contract: model/ports.ts; rules: windowing/window-rules.ts, row-fold.ts).
 *
 * I1 raw = clean + deadLettered + duplicate + late, checked whenever outputs are taken.
 * I2 What was emitted equals what was counted: oseq of clean, dlq and late are the ledger's counts.
 */
import { ReadMemory } from "#shared/events/arrow/read-memory.ts";
import { decodeBlock } from "#shared/events/block.ts";
import { assert } from "#shared/kernel/assert.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import type { EventColumns } from "#shared/events/columns.ts";
import { HEADERS, OUTPUT_ROLES, type OutputRole } from "#shared/events/names.ts";
import { PROGRESS_VERSION, type Progress } from "#shared/events/progress.ts";
import type { EnrichmentName, FoldOptions, InputRecord, OutputRecord, PartitionFold, StateCopy } from "../model/ports.ts";
import type { BlockOrigin } from "../operators/dead-letters.ts";
import { Enrichment } from "../operators/enrichment.ts";
import { roleIndex } from "../operators/rolling-hash.ts";
import { SCORE_DEFAULTS } from "../state/score.ts";
import { latestEndMs, nextEndMs } from "../windowing/window-closer.ts";
import { decodeControl } from "./control-record.ts";
import { copyState, readSnapshot, writeSnapshot } from "./fold-snapshot.ts";
import { FOLD_VERSION, createFoldState, type FoldState } from "./fold-state.ts";
import { OutputRecords } from "./output-records.ts";
import { ROLE, RowFold } from "./row-fold.ts";

/** Expired ids are dropped in step with the rows that come, at least this many a record. */
const EXPIRED_PER_RECORD = 4_096;
const EXPIRED_PER_ROW = 4;
/** The pass over the users, once an hour of log time. */
const SWEPT_PER_RECORD = 1_024;
const SWEPT_PER_ROW = 8;

const decoder = new TextDecoder();

export function createFold(options: FoldOptions): ColumnFold {
  return new ColumnFold(options, createFoldState(options));
}

/** Goes on exactly where the fold stood that made the snapshot. @throws CorruptStateError on damage or a snapshot of something else. */
export function restoreFold(options: FoldOptions, snapshotBytes: Uint8Array): ColumnFold {
  return new ColumnFold(options, readSnapshot(snapshotBytes, options));
}

export class ColumnFold implements PartitionFold {
  readonly #options: FoldOptions;
  readonly #state: FoldState;
  readonly #rows: RowFold;
  readonly #records: OutputRecords;
  readonly #memory = new ReadMemory();

  constructor(options: FoldOptions, state: FoldState) {
    this.#options = options;
    this.#state = state;
    this.#rows = new RowFold(state, (options.score ?? SCORE_DEFAULTS).threshold);
    this.#records = new OutputRecords(this.#rows, options);
  }

  apply(record: InputRecord, enrichment?: Uint8Array): void {
    const control = decodeControl(record);
    if (control === null) return this.#applyBlock(record);
    this.#arrive(record.timestampMs, 0);
    if (control.kind === "rules") this.#state.rulesVersion = control.version;
    else if (control.kind === "enrichment") this.#switchEnrichment(control, enrichment);
    else if (control.kind === "drain") this.#raiseWatermark(latestEndMs(this.#state));
    else if (!this.#options.historical) this.#raiseWatermark(control.now - this.#options.outOfOrdernessMs - this.#options.idleMarginMs);
  }

  enrichmentNamedBy(record: InputRecord): EnrichmentName | null {
    const control = decodeControl(record);
    return control?.kind === "enrichment" ? { version: control.version, sha256: control.sha256 } : null;
  }

  /** Folds a block that is decoded already. */
  applyColumns(columns: EventColumns, logTimeMs: number, origin: BlockOrigin): void {
    this.#arrive(logTimeMs, columns.rows);
    this.#rows.block(columns, origin);
  }

  get pendingRows(): number {
    const { clean, windows, late, deadLetters, partials } = this.#rows;
    const rows = clean.rows + windows.rows + late.rows + deadLetters.length + partials.length;
    // A cut that ends behind rows already taken still has to be told.
    return rows === 0 && this.#state.cuts.hasEnded ? 1 : rows;
  }

  takeOutputs(): OutputRecord[] {
    const { emitted } = this.#state;
    const { clean, windows, late, deadLetters, partials } = this.#rows;
    const waiting: Partial<Record<OutputRole, number>> = {
      clean: clean.rows,
      windows: windows.rows,
      late: late.rows,
      dlq: deadLetters.length,
      partials: partials.reduce((sum, { cells }) => sum + (cells?.sources.length ?? 0), 0),
    };
    const segments = this.#state.cuts.take(clean.rows);
    const records = this.#records.encode(segments, (role) => emitted[roleIndex(role)]! - (waiting[role] ?? 0) + 1);
    this.#clear();
    return records;
  }

  discardOutputs(): void {
    this.#state.cuts.take(this.#rows.clean.rows);
    this.#clear();
  }

  progress(): Progress {
    const { counts, emitted, highWaterMark, logTimeMs, watermark, hash, rulesVersion, cuts } = this.#state;
    return {
      v: PROGRESS_VERSION,
      hw: highWaterMark,
      oseq: Object.fromEntries(OUTPUT_ROLES.map((role, i) => [role, emitted[i]!])) as Record<OutputRole, number>,
      watermarkMs: watermark.timeMs === -Infinity ? null : watermark.timeMs,
      logTimeMs,
      hash: hash.hex(),
      foldVersion: FOLD_VERSION,
      rulesVersion,
      cut: cuts.number,
      counts: { ...counts },
    };
  }

  get hasOpenWork(): boolean {
    return this.#state.cuts.rows > 0 || (!this.#options.historical && nextEndMs(this.#state) < Infinity);
  }

  get nextDueMs(): number {
    const { historical, outOfOrdernessMs, idleMarginMs, cutMs } = this.#options;
    const { cuts, minute } = this.#state;
    const windowMs = historical ? Infinity : nextEndMs(this.#state) + outOfOrdernessMs + idleMarginMs;
    return Math.min(windowMs, cuts.rows > 0 ? cuts.firstLogMs + cutMs : Infinity, minute?.endMs ?? Infinity);
  }

  snapshot(): Uint8Array {
    assert(this.pendingRows === 0, "a snapshot is taken at an epoch boundary, with no outputs waiting");
    return writeSnapshot(this.#state, this.#options);
  }

  copyState(room: (sizeBytes: number) => Uint8Array | null): StateCopy | null {
    assert(this.pendingRows === 0, "a snapshot is taken at an epoch boundary, with no outputs waiting");
    return copyState(this.#state, this.#options, room);
  }

  memory(): Readonly<Record<string, number>> {
    const { ids, users, fiveMinutes, hours, sessions, hopping } = this.#state;
    const always = {
      ids: ids.bytes,
      users: users.bytes,
      tumbling_5m: fiveMinutes.bytes,
      tumbling_1h: hours.bytes,
      session_30s: sessions.bytes,
    };
    return hopping === null ? always : { ...always, [hopping.name]: hopping.bytes };
  }

  #applyBlock(record: InputRecord): void {
    const skipped = this.#redeliveredRows(record);
    if (skipped > 0) {
      this.#arrive(record.timestampMs, 0);
      this.#state.counts.redelivered += skipped;
      return;
    }
    if (record.value === null) throw this.#strange(record, "has no value");
    const { columns, meta } = decodeBlock(record.value, this.#memory);
    if (meta.partition !== this.#options.partition) throw this.#strange(record, `comes from source partition ${meta.partition}`);
    if (meta.generation !== this.#options.generation) throw this.#strange(record, `is of generation ${meta.generation}`);
    this.applyColumns(columns, record.timestampMs, meta);
  }

  /** Rows of a block that lies wholly at or below the high-water mark, told by its headers alone; 0 = decode it. */
  #redeliveredRows(record: InputRecord): number {
    const last = headerNumber(record, HEADERS.lastSourceOffset);
    const count = headerNumber(record, HEADERS.count);
    return Number.isSafeInteger(last) && Number.isSafeInteger(count) && last <= this.#state.highWaterMark ? count : 0;
  }

  #arrive(timestampMs: number, rows: number): void {
    const state = this.#state;
    state.logTimeMs = Math.max(state.logTimeMs, timestampMs);
    this.#rows.closeMinute();
    state.ids.advance(state.logTimeMs, Math.max(EXPIRED_PER_RECORD, rows * EXPIRED_PER_ROW));
    state.users.advance(state.logTimeMs, Math.max(SWEPT_PER_RECORD, rows * SWEPT_PER_ROW));
    state.cuts.arrive(state.logTimeMs, this.#rows.clean.rows);
  }

  #switchEnrichment({ version, sha256 }: EnrichmentName, bytes: Uint8Array | undefined): void {
    assert(bytes !== undefined, "an enrichment table is loaded before the record that names it is folded");
    const enrichment = new Enrichment(bytes, version, sha256);
    this.#state.enrichment = enrichment;
    // So that a replay with another table does not pass for the same.
    this.#state.hash.add(ROLE.clean, Math.imul(version, 0x9e3779b1), Number.parseInt(sha256.slice(0, 8), 16) | 0);
  }

  #raiseWatermark(timeMs: number): void {
    this.#state.watermark.raise(timeMs);
    this.#rows.closeDue();
  }

  #clear(): void {
    const { counts, emitted } = this.#state;
    assert(counts.raw === counts.clean + counts.deadLettered + counts.duplicate + counts.late, "every row is in exactly one place");
    assert(
      emitted[ROLE.clean] === counts.clean && emitted[ROLE.dlq] === counts.deadLettered && emitted[ROLE.late] === counts.late,
      "what was counted was emitted",
    );
    this.#rows.clear();
  }

  #strange(record: InputRecord, problem: string): CorruptStateError {
    return new CorruptStateError(`record ${record.offset} of events.valid, partition ${this.#options.partition}, ${problem}`, {
      code: "BLOCK_STRANGE",
      hint: "something other than this generation's validator wrote to events.valid: find it in the topic's ACLs",
    });
  }
}

function headerNumber(record: InputRecord, key: string): number {
  const header = record.headers.find(([name]) => name === key);
  return header === undefined ? Number.NaN : Number(decoder.decode(header[1]));
}
