/**
 * The state of a fold as a snapshot file. Sections: `state` (JSON: positions, counters, hash, sizes), then the rows of each table. Indexes
 * and timers are left out, as they follow from the rows; so equal logs give equal bytes, whether or not the fold was restored in between.
 */
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { WINDOW_KINDS } from "#shared/events/columns.ts";
import type { EnrichmentName, FoldOptions, StateCopy } from "../model/ports.ts";
import { Enrichment } from "../operators/enrichment.ts";
import { ID_ROW_BYTES, type IdTable } from "../state/id-table.ts";
import { ROW_BYTES } from "../state/row-chunks.ts";
import { PartsCopy, finish, type SectionCopy } from "../state/section-copy.ts";
import type { SessionTable } from "../state/session-table.ts";
import { USER_ROW_BYTES, type UserTable } from "../state/user-table.ts";
import type { WindowTable } from "../state/window-table.ts";
import { layOutSnapshotFile, readSnapshotFile, type SnapshotSection, writeSnapshotFile } from "../state/snapshot-file.ts";
import type { TumblingWindows } from "../windowing/tumbling-windows.ts";
import { KIND } from "../windowing/window-rules.ts";
import { FOLD_VERSION, createFoldState, type FoldState, type MutableCounts } from "./fold-state.ts";

const OLDEST_READABLE = 1;
const FIRST_WITH_USERS = 2;
const FIRST_WITH_MINUTE = 3;

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
  /** null = none configured. */
  readonly hopping: { readonly kind: string; readonly panes: readonly (readonly [startMs: number, rows: number])[] } | null;
  readonly users: { readonly freeHead: number; readonly sweptTo: number };
  /** Of the table in the section of that name. */
  readonly enrichment: EnrichmentName | null;
}

/** What version 1 did not have: it goes on with no scores and no panes. */
const ADDED: Pick<StateSection, "hopping" | "users" | "enrichment"> = {
  hopping: null,
  users: { freeHead: 0, sweptTo: 0 },
  enrichment: null,
};

type SavedSection = Omit<StateSection, keyof typeof ADDED> & Partial<typeof ADDED>;

const NAMES = {
  state: "state",
  ids: "ids",
  fiveMinutes: WINDOW_KINDS[KIND.fiveMinutes]!,
  hours: WINDOW_KINDS[KIND.hour]!,
  sessions: WINDOW_KINDS[KIND.session]!,
  panes: "panes",
  users: "users",
  enrichment: "enrichment",
  minute: "minute",
};

export function writeSnapshot(state: FoldState, options: FoldOptions): Uint8Array {
  const sections = sectionsOf(state, options);
  return writeSnapshotFile(
    FOLD_VERSION,
    sections.map(({ name, length, copyTo }) => ({ name, length, write: copyTo })),
  );
}

/** The same without checksums, into memory that `room` gives, piece by piece; null when it gives none. One at a time. */
export function copyState(state: FoldState, options: FoldOptions, room: (sizeBytes: number) => Uint8Array | null): StateCopy | null {
  const copies: SectionCopy[] = [];
  const sections = sectionsOf(state, options).map(({ name, length, startCopy }) => ({
    name,
    length,
    write: (target: Uint8Array): void => void copies.push(...startCopy(target)),
  }));
  const bytes = layOutSnapshotFile(FOLD_VERSION, sections, room);
  if (bytes === null) return null;
  let next = 0;
  const step = (budgetBytes: number): boolean => {
    for (let left = budgetBytes; left > 0 && next < copies.length;) {
      const copied = copies[next]!.step(left);
      if (copied === 0) next++;
      left -= copied;
    }
    return next === copies.length;
  };
  return { state: bytes, step };
}

/** A section that can be copied at once, or in pieces. */
interface FoldSection extends Omit<SnapshotSection, "write"> {
  readonly copyTo: (target: Uint8Array) => void;
  readonly startCopy: (target: Uint8Array) => SectionCopy[];
}

function fixedSection(name: string, bytes: Uint8Array): FoldSection {
  const startCopy = (target: Uint8Array): SectionCopy[] => [new PartsCopy([bytes], target, () => undefined)];
  return { name, length: bytes.length, startCopy, copyTo: (target) => startCopy(target).forEach(finish) };
}

function tableSection(name: string, table: IdTable | SessionTable | UserTable, length: number): FoldSection {
  return { name, length, startCopy: (target) => [table.startCopy(target)], copyTo: (target) => table.copyTo(target) };
}

function sectionsOf(state: FoldState, options: FoldOptions): FoldSection[] {
  const json = new TextEncoder().encode(JSON.stringify(stateSection(state, options)));
  return [
    fixedSection(NAMES.state, json),
    tableSection(NAMES.ids, state.ids, state.ids.rows * ID_ROW_BYTES),
    tumblingSection(NAMES.fiveMinutes, state.fiveMinutes),
    tumblingSection(NAMES.hours, state.hours),
    tableSection(NAMES.sessions, state.sessions.table, state.sessions.table.rows * ROW_BYTES),
    ...(state.hopping === null ? [] : [tumblingSection(NAMES.panes, state.hopping.panes)]),
    tableSection(NAMES.users, state.users, state.users.rows * USER_ROW_BYTES),
    fixedSection(NAMES.enrichment, state.enrichment?.bytes ?? new Uint8Array(0)),
    fixedSection(NAMES.minute, state.minute?.encode() ?? new Uint8Array(0)),
  ];
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
    hopping: state.hopping === null ? null : { kind: state.hopping.name, panes: sizes(state.hopping.panes) },
    users: { freeHead: state.users.freeHead, sweptTo: state.users.sweptTo },
    enrichment: state.enrichment === null ? null : { version: state.enrichment.version, sha256: state.enrichment.sha256 },
  };
}

function tumblingSection(name: string, windows: TumblingWindows): FoldSection {
  const rows = windows.open.reduce((sum, table) => sum + table.rows, 0);
  const each = <T>(target: Uint8Array, copy: (table: WindowTable, target: Uint8Array) => T): T[] => {
    let at = 0;
    return windows.open.map((table) => {
      const from = at;
      at += table.rows * ROW_BYTES;
      return copy(table, target.subarray(from, at));
    });
  };
  return {
    name,
    length: rows * ROW_BYTES,
    startCopy: (target) => each(target, (table, part) => table.startCopy(part)),
    copyTo: (target) => void each(target, (table, part) => table.copyTo(part)),
  };
}

/**
 * Also of an older fold version: a change of versions begins at a snapshot that the older one left where it stopped (docs/specs/commit-protocol.md).
 * @throws CorruptStateError on damage, on a version that this fold does not read, on another partition's snapshot.
 */
export function readSnapshot(bytes: Uint8Array, options: FoldOptions): FoldState {
  const { foldVersion, sections } = readSnapshotFile(bytes);
  if (foldVersion < OLDEST_READABLE || foldVersion > FOLD_VERSION) {
    throw mismatch(`is of fold version ${foldVersion}, this fold reads ${OLDEST_READABLE} to ${FOLD_VERSION}`);
  }
  const section = (name: string): Uint8Array => {
    const found = sections.get(name);
    if (found === undefined) throw mismatch(`lacks the section ${name}`);
    return found;
  };
  const saved = { ...ADDED, ...(JSON.parse(new TextDecoder().decode(section(NAMES.state))) as SavedSection) };
  if (saved.generation !== options.generation || saved.partition !== options.partition) {
    throw mismatch(
      `is of partition ${saved.partition}, generation ${saved.generation}, not of ${options.partition}, ${options.generation}`,
    );
  }
  const state = createFoldState(options);
  if (foldVersion >= FIRST_WITH_USERS && (saved.hopping?.kind ?? null) !== (options.hopping ?? null)) {
    throw mismatch(`is of a fold with ${saved.hopping?.kind ?? "no"} hopping windows, not ${options.hopping ?? "none"}`);
  }
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
  if (state.hopping !== null) {
    if (saved.hopping !== null) restoreTumbling(state.hopping.panes, saved.hopping.panes, section(NAMES.panes));
    state.hopping.restoreClosed(state.watermark.timeMs);
  }
  const users = foldVersion >= FIRST_WITH_USERS ? section(NAMES.users) : new Uint8Array(0);
  state.users.copyFrom(users, { ...saved.users, logTimeMs: saved.logTimeMs });
  state.fiveMinutes.link();
  state.sessions.link();
  // What an older fold left out of its last minute was never counted.
  state.minute?.restore(foldVersion >= FIRST_WITH_MINUTE ? section(NAMES.minute) : new Uint8Array(0), saved.logTimeMs);
  if (saved.enrichment !== null) {
    state.enrichment = new Enrichment(section(NAMES.enrichment), saved.enrichment.version, saved.enrichment.sha256);
  }
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
