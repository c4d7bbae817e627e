/**
 * The state of a fold as a snapshot file. Sections: `state` (JSON: positions, counters, hash, sizes), then the rows of each table. Indexes
 * and timers are left out, as they follow from the rows; so equal logs give equal bytes, whether or not the fold was restored in between.
 */
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import type { FoldOptions } from "../model/ports.ts";
import { ID_ROW_BYTES } from "../state/id-table.ts";
import { ROW_BYTES } from "../state/row-chunks.ts";
import { readSnapshotFile, writeSnapshotFile, type SnapshotSection } from "../state/snapshot-file.ts";
import type { TumblingWindows } from "../windowing/tumbling-windows.ts";
import { KIND } from "../windowing/window-rules.ts";
import { FOLD_VERSION, createFoldState, type FoldState, type MutableCounts } from "./fold-state.ts";

interface StateSection {
  readonly generation: number;
  readonly partition: number;
  readonly highWaterMark: number;
  readonly logTimeMs: number;
  readonly rulesVersion: number;
  /** null = no event yet. */
  readonly watermarkMs: number | null;
  readonly cut: { readonly number: number; readonly rows: number; readonly firstLogMs: number };
  readonly counts: MutableCounts;
  readonly emitted: readonly number[];
  readonly hashLanes: readonly number[];
  /** Start and rows of each open window, in order of time. */
  readonly fiveMinutes: readonly (readonly [startMs: number, rows: number])[];
  readonly hours: readonly (readonly [startMs: number, rows: number])[];
  readonly freeSession: number;
}

const NAMES = {
  state: "state",
  ids: "ids",
  fiveMinutes: WINDOW_KINDS[KIND.fiveMinutes]!,
  hours: WINDOW_KINDS[KIND.hour]!,
  sessions: WINDOW_KINDS[KIND.session]!,
};

export function writeSnapshot(state: FoldState, options: FoldOptions): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(stateSection(state, options)));
  return writeSnapshotFile(FOLD_VERSION, [
    { name: NAMES.state, length: json.length, write: (target) => target.set(json) },
    { name: NAMES.ids, length: state.ids.rows * ID_ROW_BYTES, write: (target) => state.ids.copyTo(target) },
    tumblingSection(NAMES.fiveMinutes, state.fiveMinutes),
    tumblingSection(NAMES.hours, state.hours),
    { name: NAMES.sessions, length: state.sessions.table.rows * ROW_BYTES, write: (target) => state.sessions.table.copyTo(target) },
  ]);
}

function stateSection(state: FoldState, options: FoldOptions): StateSection {
  const sizes = (windows: TumblingWindows): [number, number][] => windows.open.map((table) => [table.startMs, table.rows]);
  const watermarkMs = state.watermark.timeMs;
  return {
    generation: options.generation,
    partition: options.partition,
    highWaterMark: state.highWaterMark,
    logTimeMs: state.logTimeMs,
    rulesVersion: state.rulesVersion,
    watermarkMs: watermarkMs === -Infinity ? null : watermarkMs,
    cut: { number: state.cuts.number, rows: state.cuts.rows, firstLogMs: state.cuts.firstLogMs },
    counts: { ...state.counts },
    emitted: [...state.emitted],
    hashLanes: [...state.hash.lanes],
    fiveMinutes: sizes(state.fiveMinutes),
    hours: sizes(state.hours),
    freeSession: state.sessions.table.freeHead,
  };
}

function tumblingSection(name: string, windows: TumblingWindows): SnapshotSection {
  const rows = windows.open.reduce((sum, table) => sum + table.rows, 0);
  const write = (target: Uint8Array): void => {
    let at = 0;
    for (const table of windows.open) {
      table.chunks.copyTo(target.subarray(at), table.rows);
      at += table.rows * ROW_BYTES;
    }
  };
  return { name, length: rows * ROW_BYTES, write };
}

/** @throws CorruptStateError on damage, on another fold version, on another partition's snapshot. */
export function readSnapshot(bytes: Uint8Array, options: FoldOptions): FoldState {
  const { foldVersion, sections } = readSnapshotFile(bytes);
  if (foldVersion !== FOLD_VERSION) throw mismatch(`is of fold version ${foldVersion}, this fold is version ${FOLD_VERSION}`);
  const section = (name: string): Uint8Array => {
    const found = sections.get(name);
    if (found === undefined) throw mismatch(`lacks the section ${name}`);
    return found;
  };
  const saved = JSON.parse(new TextDecoder().decode(section(NAMES.state))) as StateSection;
  if (saved.generation !== options.generation || saved.partition !== options.partition) {
    throw mismatch(
      `is of partition ${saved.partition}, generation ${saved.generation}, not of ${options.partition}, ${options.generation}`,
    );
  }
  const state = createFoldState(options);
  state.highWaterMark = saved.highWaterMark;
  state.logTimeMs = saved.logTimeMs;
  state.rulesVersion = saved.rulesVersion;
  state.watermark.raise(saved.watermarkMs ?? -Infinity);
  Object.assign(state.cuts, saved.cut);
  Object.assign(state.counts, saved.counts);
  state.emitted.set(saved.emitted);
  state.hash.lanes.set(saved.hashLanes);
  state.ids.copyFrom(section(NAMES.ids), saved.logTimeMs);
  restoreTumbling(state.fiveMinutes, saved.fiveMinutes, section(NAMES.fiveMinutes));
  restoreTumbling(state.hours, saved.hours, section(NAMES.hours));
  state.sessions.table.copyFrom(section(NAMES.sessions), saved.freeSession);
  state.sessions.rebuildTimers();
  return state;
}

function restoreTumbling(windows: TumblingWindows, sizes: StateSection["hours"], rows: Uint8Array): void {
  let at = 0;
  for (const [startMs, count] of sizes) {
    windows.openAt(startMs, count).copyFrom(rows.subarray(at, at + count * ROW_BYTES));
    at += count * ROW_BYTES;
  }
}

function mismatch(problem: string): CorruptStateError {
  return new CorruptStateError(`snapshot ${problem}`, {
    code: "SNAPSHOT_MISMATCH",
    hint: "an older snapshot and the log give the same state",
  });
}
