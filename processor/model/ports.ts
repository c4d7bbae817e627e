/** What the runtime sees of the fold, and the fold of the log. No vendor, no clock, no I/O below this line. */
import type { OutputRole } from "#shared/events/names.ts";
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
  /** Largest value of one output record, bytes. Default 900,000. */
  readonly maxRecordBytes?: number;
  /** Hard cap of rows per state table; beyond it CapacityError. Default 16 M. */
  readonly maxTableRows?: number;
}

/** The deterministic fold of one partition: state' = fold(state, record). Not re-entrant. */
export interface PartitionFold {
  /**
   * Folds one record. Throws CorruptStateError on a block that fails to decode and on a gap in source offsets, CapacityError on a full
   * table; after a throw the fold must be discarded.
   */
  apply(record: InputRecord): void;
  /** Rows waiting in the output buffers. */
  readonly pendingRows: number;
  /** Encodes everything emitted since the last take, in order per role, and empties the buffers. */
  takeOutputs(): OutputRecord[];
  /** The same without encoding: for replay. Counters and hash are as after takeOutputs. */
  discardOutputs(): void;
  progress(): Progress;
  /** Whether something is open that a tick would close sooner or later: a cut, a window. */
  readonly hasOpenWork: boolean;
  /** Complete copy of the state at this record boundary (no pending outputs allowed). Versioned, with a checksum per section. */
  snapshot(): Uint8Array;
  /** Memory of each state table, bytes. */
  memory(): Readonly<Record<string, number>>;
}
