/** Facts and verdicts of recovery. Everything here was read before and decides without I/O (docs/specs/commit-protocol.md). */
import type { OutputRole } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";

/** A snapshot as its key tells it: state of the fold after every record below `offset`. */
export interface SnapshotRef {
  readonly key: string;
  readonly offset: number;
  /** Of header and state, uncompressed: the same state has the same key, whoever wrote it and with whatever compressor. */
  readonly sha256: string;
  /** When the store took it, epoch milliseconds: for retention only. */
  readonly createdAtMs: number;
}

/** First part of a snapshot object, in clear, so that `weir checkpoint show` and recovery need not unpack the state. */
export interface SnapshotHeader {
  readonly v: 1;
  readonly lane: string;
  readonly generation: number;
  readonly partition: number;
  readonly offset: number;
  readonly foldVersion: number;
  readonly progress: Progress;
  /** Of the state, uncompressed. */
  readonly stateBytes: number;
}

/** What the last committed transaction left: the next input offset and the progress there. */
export interface CommittedPoint {
  readonly offset: number;
  readonly progress: Progress;
}

export interface StartFacts {
  readonly partition: number;
  readonly generation: number;
  /** `none` = the group never committed; `unreadable` = it did, and the metadata is no progress. */
  readonly committed: CommittedPoint | "none" | "unreadable";
  /** Bounds of events.valid: first offset there is, and the offset behind the last. */
  readonly logStart: number;
  readonly logEnd: number;
  readonly snapshots: readonly SnapshotRef[];
  /** Keys that were tried and found corrupt, unreadable or not reproducing the committed hash. */
  readonly distrusted: ReadonlySet<string>;
  /** Outputs that hold committed records of this generation. Only looked for when nothing is committed. */
  readonly outputs: readonly OutputRole[];
  /** Of the running code. */
  readonly foldVersion: number;
}

export const REFUSALS = [
  /** Outputs or snapshots exist, but the group's offset is gone. */
  "progress-lost",
  /** The group's offset carries no progress: somebody reset it by hand. */
  "progress-unreadable",
  /** Records at the committed position are deleted already: input that was never folded is gone. */
  "input-lost",
  /** The committed position lies behind the end of the log: the topic was re-created or lost acknowledged records. */
  "position-beyond-log",
  /** No snapshot to begin from, and the log no longer starts at 0. */
  "no-usable-snapshot",
  /** Another fold version wrote the committed position, and there is no snapshot exactly there to change over at. */
  "fold-version",
  /** Every way to the committed position ended in another hash: the fold is not deterministic, or the log changed. */
  "hash-mismatch",
] as const;

export type Refusal = (typeof REFUSALS)[number];

export type StartVerdict =
  /** Nothing was ever committed: begin at offset 0 with an empty state. */
  | { readonly kind: "fresh" }
  /** Restore the snapshot (none = the empty state at 0), then fold [from, to) again with outputs suppressed, then compare. */
  | {
      readonly kind: "replay";
      readonly snapshot: SnapshotRef | null;
      readonly from: number;
      readonly to: number;
      readonly expected: Progress;
      /** The state changes over to a new fold version here: write it again under that version before the first epoch. */
      readonly rewrite: boolean;
    }
  /** Do nothing. `fix` is the command that chooses. */
  | { readonly kind: "refuse"; readonly refusal: Refusal; readonly message: string; readonly fix: string };
