/** What the numbers of the ledger say. */
import type { LedgerCounts } from "../events/progress.ts";
import type { PartitionResult } from "./recount.ts";

/** `unknown`: there was nothing to count, so that nothing is shown. Never green. */
export type Verdict = "balanced" | "unbalanced" | "unknown";

export interface LedgerTotals extends Omit<PartitionResult, "partition" | "examples" | "minutes"> {}

/** What stands beside the recount: each names a partition or a table and both numbers. */
export interface Mismatch {
  readonly what: string;
  readonly recounted: number;
  readonly claimed: number;
}

export function sumOf(results: readonly PartitionResult[]): LedgerTotals {
  const sum = (of: (result: PartitionResult) => number): number => results.reduce((total, result) => total + of(result), 0);
  return {
    raw: sum((r) => r.raw),
    clean: sum((r) => r.clean),
    deadLettered: sum((r) => r.deadLettered),
    duplicate: sum((r) => r.duplicate),
    late: sum((r) => r.late),
    lost: sum((r) => r.lost),
    doubled: sum((r) => r.doubled),
    reused: sum((r) => r.reused),
    topicOnly: sum((r) => r.topicOnly),
    tableOnly: sum((r) => r.tableOnly),
    altered: sum((r) => r.altered),
    foreign: sum((r) => r.foreign),
    disordered: sum((r) => r.disordered),
    unfounded: sum((r) => r.unfounded),
  };
}

/** The processor's own counts of one partition against the recount. */
export function compareProgress(result: PartitionResult, counts: LedgerCounts): Mismatch[] {
  const pairs = [
    ["raw", result.raw, counts.raw],
    ["clean", result.clean, counts.clean],
    ["dead-lettered", result.deadLettered, counts.deadLettered],
    ["duplicate", result.duplicate, counts.duplicate],
    ["late", result.late, counts.late],
  ] as const;
  return pairs
    .filter(([, recounted, claimed]) => recounted !== claimed)
    .map(([what, recounted, claimed]) => ({
      what: `partition ${result.partition}: ${what} in the processor's progress`,
      recounted,
      claimed,
    }));
}

export function judge(totals: LedgerTotals, mismatches: readonly Mismatch[]): Verdict {
  const { lost, doubled, topicOnly, tableOnly, altered, foreign, disordered, unfounded } = totals;
  const findings = lost + doubled + topicOnly + tableOnly + altered + foreign + disordered + unfounded;
  if (findings + mismatches.length > 0) return "unbalanced";
  return totals.raw === 0 ? "unknown" : "balanced";
}
