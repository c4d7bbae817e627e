/**
 * Progress of one partition: the metadata string of the offset that a transaction commits (DESIGN 3.4). It is the only thing besides a
 * snapshot that recovery needs, and the first form of the ledger. JSON, at most 4096 bytes (the broker's offset.metadata.max.bytes).
 */
import type { OutputRole } from "./names.ts";

export const PROGRESS_VERSION = 1;

export interface LedgerCounts {
  /** Rows of events.raw that the fold has accounted for: the sum of the next four. */
  readonly raw: number;
  readonly clean: number;
  readonly deadLettered: number;
  readonly duplicate: number;
  readonly late: number;
  /** Rows trimmed by the high-water mark: redelivered by the event source mapping, not part of the identity. */
  readonly redelivered: number;
}

export interface Progress {
  readonly v: typeof PROGRESS_VERSION;
  /** Highest source offset accounted for; -1 = none. */
  readonly hw: number;
  /** Last used oseq by output; 0 = none. */
  readonly oseq: Readonly<Record<OutputRole, number>>;
  /** Epoch milliseconds; null = no event yet. */
  readonly watermarkMs: number | null;
  /** Log time of the last record folded. */
  readonly logTimeMs: number;
  /** 16 hex digits over every output row since the generation began. */
  readonly hash: string;
  readonly foldVersion: number;
  readonly rulesVersion: number;
  /** Number of the open cut. */
  readonly cut: number;
  readonly counts: LedgerCounts;
}
