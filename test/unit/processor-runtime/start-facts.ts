/** Facts of a healthy partition, to be bent by tests. */
import type { SnapshotRef, StartFacts } from "#processor/checkpoint/types.ts";
import type { Progress } from "#shared/events/progress.ts";

export const PROGRESS: Progress = {
  v: 1,
  hw: 99,
  oseq: { clean: 80, windows: 5, dlq: 10, late: 4, partials: 0, alerts: 0 },
  watermarkMs: 1_700_000_000_000,
  logTimeMs: 1_700_000_005_000,
  hash: "0123456789abcdef",
  foldVersion: 1,
  rulesVersion: 3,
  cut: 7,
  counts: { raw: 100, clean: 80, deadLettered: 10, duplicate: 6, late: 4, redelivered: 12 },
};

export function snapshotAt(offset: number, sha = "a"): SnapshotRef {
  const sha256 = sha.repeat(64);
  return { key: `snapshots/live-1/0/${String(offset).padStart(20, "0")}-${sha256}.snap`, offset, sha256, createdAtMs: 0 };
}

export function facts(more: Partial<StartFacts> = {}): StartFacts {
  return {
    partition: 0,
    generation: 1,
    committed: { offset: 50, progress: PROGRESS },
    logStart: 0,
    logEnd: 60,
    snapshots: [],
    distrusted: new Set(),
    outputs: [],
    foldVersion: 1,
    ...more,
  };
}
