/** What the runtime sees of the fold, and the fold of the log. No vendor, no clock, no I/O below this line. */
import type { WINDOW_KINDS } from "#shared/events/columns.ts";
import type { OutputRole } from "#shared/events/names.ts";
import type { ScoreOptions } from "../state/score.ts";
import type { Progress } from "#shared/events/progress.ts";

/** A record of events.valid as the fold needs it: offset, log-append time, headers, value. */
export interface InputRecord {
  readonly offset: number;
  readonly timestampMs: number;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [key: string, value: Uint8Array])[];
}

/** A record to append to the output of this partition, inside the epoch's transaction. */
export interface OutputRecord {
  readonly role: OutputRole;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly (readonly [key: string, value: Uint8Array])[];
}

export interface FoldOptions {
  readonly generation: number;
  readonly partition: number;
  readonly historical: boolean;
  readonly outOfOrdernessMs: number;
  readonly idleMarginMs: number;
  readonly dedupHorizonMs: number;
  readonly cutRows: number;
  readonly cutMs: number;
  /** Of the score per user. Default SCORE_DEFAULTS (state/score.ts). */
  readonly score?: ScoreOptions;
  /** Hopping windows beside the others; absent = none. */
  readonly hopping?: HoppingKind;
  /** Largest value of one output record, bytes. Default 900,000. */
  readonly maxRecordBytes?: number;
  /** Hard cap of rows per state table; beyond it CapacityError. Default 16 M. */
  readonly maxTableRows?: number;
  /** What takeOutputs returns is valid until its next call only, and its memory is used again. Default false. */
  readonly reuseOutputs?: boolean;
}

/** Hopping windows that there are (shared/events/columns.ts). */
export type HoppingKind = Extract<(typeof WINDOW_KINDS)[number], `hopping_${string}`>;

/** An immutable object that a control record names. */
export interface EnrichmentName {
  readonly version: number;
  /** Of the object's bytes, hex. */
  readonly sha256: string;
}

/** A copy in the making. Call `step` between records, until it is complete: while it is not, the fold copies what it is about to change. */
export interface StateCopy {
  readonly state: Uint8Array;
  /** Copies about so many bytes more. True = `state` is complete. */
  step(budgetBytes: number): boolean;
}

/** The deterministic fold of one partition: state' = fold(state, record). Not re-entrant. */
export interface PartitionFold {
  /**
   * Folds one record. Throws CorruptStateError on a block that fails to decode and on a gap in source offsets, CapacityError on a full
   * table; after a throw the fold must be discarded. `enrichment`: the bytes of the object that {@link enrichmentNamedBy} tells.
   */
  apply(record: InputRecord, enrichment?: Uint8Array): void;
  /**
   * The enrichment table that has to be given with this record; null = none, as for nearly every record. Whoever applies the record loads it first,
   * compares its SHA-256, and waits while it is not to be had. Kept in snapshots, so a restored fold asks for none but those named later.
   */
  enrichmentNamedBy?(record: InputRecord): EnrichmentName | null;
  /** Rows waiting in the output buffers. */
  readonly pendingRows: number;
  /** Encodes everything emitted since the last take, in order per role, and empties the buffers. */
  takeOutputs(): OutputRecord[];
  /** The same without encoding: for replay. Counters and hash are as after takeOutputs. */
  discardOutputs(): void;
  progress(): Progress;
  /** Whether something is open that a tick would close sooner or later: a cut, a window. The open minute, which there always is, has only a due time. */
  readonly hasOpenWork: boolean;
  /**
   * Earliest `now` of a tick that would close something; Infinity = none would. A lower bound, seldom more than a second early; a tick at that time
   * raises it. Without it, ticks are tried at growing pauses.
   */
  readonly nextDueMs?: number;
  /** Complete copy of the state at this record boundary (no pending outputs allowed). Versioned, with a checksum per section. */
  snapshot(): Uint8Array;
  /**
   * Begins a copy of the state at this record boundary, without checksums (`sealSnapshotFile`, in another thread), into memory that `room` gives; null
   * when it gives none. The fold may go on before the copy is complete. One at a time.
   */
  copyState?(room: (sizeBytes: number) => Uint8Array | null): StateCopy | null;
  /** Memory of each state table, bytes. */
  memory(): Readonly<Record<string, number>>;
}
