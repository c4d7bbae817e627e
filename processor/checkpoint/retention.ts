/** Which snapshots may go: kept are the newest three that a recovery could start from, and the newest of each day. Pure. */
import type { SnapshotRef } from "./types.ts";

const KEEP_NEWEST = 3;
const DAY_MS = 86_400_000;
/** As long as the log is kept: an older snapshot has no log to be continued with. */
const KEEP_DAYS = 7;

/** `committed`: what is newer does not count as one of the three, for it may lie in a future that never was committed. */
export function expiredSnapshots(
  snapshots: readonly SnapshotRef[],
  facts: { readonly committed: number; readonly nowMs: number },
): SnapshotRef[] {
  const newestFirst = snapshots.toSorted((a, b) => b.offset - a.offset || (a.key < b.key ? 1 : -1));
  const kept = new Set<SnapshotRef>();
  let newest = 0;
  const days = new Set<number>();
  for (const snapshot of newestFirst) {
    if (snapshot.offset > facts.committed) {
      kept.add(snapshot);
      continue;
    }
    const day = Math.floor(snapshot.createdAtMs / DAY_MS);
    const young = facts.nowMs - snapshot.createdAtMs < KEEP_DAYS * DAY_MS;
    if (newest++ < KEEP_NEWEST || (young && !days.has(day))) kept.add(snapshot);
    days.add(day);
  }
  return newestFirst.filter((snapshot) => !kept.has(snapshot));
}
