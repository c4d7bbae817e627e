/** Where a partition starts, decided from facts that were read (docs/specs/commit-protocol.md, "Start"). Pure. */
import { OUTPUT_ROLES } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import type { Refusal, SnapshotHeader, SnapshotRef, StartFacts, StartVerdict } from "./types.ts";

/** Called again with a snapshot more in `distrusted` after each one that turned out bad: the number of snapshots bounds it. */
export function resolveStart(facts: StartFacts): StartVerdict {
  const { committed, partition, logStart, logEnd } = facts;
  const newGeneration = `begin a new generation: WEIR_GENERATION=${facts.generation + 1}`;
  const rebuild = `node processor/main.ts rebuild-progress ${partition}`;
  if (committed === "unreadable") {
    return refuse("progress-unreadable", "the committed offset carries no progress: it was set by another program", rebuild);
  }
  if (committed === "none") {
    const left = [
      ...facts.outputs.map((role) => `outputs (${role})`),
      ...(facts.snapshots.length > 0 ? [`${facts.snapshots.length} snapshots`] : []),
    ];
    if (left.length > 0)
      return refuse("progress-lost", `${left.join(" and ")} of this generation exist, but its committed offset does not`, rebuild);
    if (logStart > 0) {
      return refuse(
        "no-usable-snapshot",
        `nothing is committed and the log starts at ${logStart}: earlier events cannot be folded`,
        "run the pipeline in a new lane with topics of its own: WEIR_LANE=NAME",
      );
    }
    return { kind: "fresh" };
  }
  const to = committed.offset;
  if (logStart > to) return refuse("input-lost", `the log starts at ${logStart}, behind the committed offset ${to}`, newGeneration);
  if (logEnd < to) return refuse("position-beyond-log", `the log ends at ${logEnd}, before the committed offset ${to}`, newGeneration);

  const changeOver = committed.progress.foldVersion !== facts.foldVersion;
  const snapshot = newestUsable(facts, to, changeOver);
  if (snapshot !== null) return { kind: "replay", snapshot, from: snapshot.offset, to, expected: committed.progress, rewrite: changeOver };
  if (changeOver) {
    return refuse(
      "fold-version",
      `offset ${to} was committed by fold version ${committed.progress.foldVersion}, this is ${facts.foldVersion}, and there is no snapshot at ${to}`,
      `run the release with fold version ${committed.progress.foldVersion} once and stop it with SIGTERM: it leaves a snapshot where it stops`,
    );
  }
  if (logStart > 0) {
    return refuse(
      "no-usable-snapshot",
      `none of ${facts.snapshots.length} snapshots (${facts.distrusted.size} bad) lies between the log start ${logStart} and the committed offset ${to}`,
      `put a snapshot back from a backup, or ${newGeneration}`,
    );
  }
  return { kind: "replay", snapshot: null, from: 0, to, expected: committed.progress, rewrite: false };
}

/** Newest first; what is newer than the commit is a zombie's or a future we do not have, never a commit point. */
function newestUsable(facts: StartFacts, to: number, changeOver: boolean): SnapshotRef | null {
  let best: SnapshotRef | null = null;
  for (const snapshot of facts.snapshots) {
    if (facts.distrusted.has(snapshot.key) || snapshot.offset > to || snapshot.offset < facts.logStart) continue;
    if (changeOver && snapshot.offset !== to) continue;
    if (best === null || snapshot.offset > best.offset || (snapshot.offset === best.offset && snapshot.key > best.key)) best = snapshot;
  }
  return best;
}

/** Why a snapshot that was read cannot be used after all, or null. */
export function snapshotFlaw(
  header: SnapshotHeader,
  expected: { lane: string; generation: number; partition: number; offset: number },
): string | null {
  for (const field of ["lane", "generation", "partition", "offset"] as const) {
    if (header[field] !== expected[field]) return `${field} is ${header[field]}, expected ${expected[field]}`;
  }
  return null;
}

/** First difference between the progress that replay reached and the committed one, or null: the fold's determinism, checked at every start. */
export function progressDifference(reached: Progress, committed: Progress): string | null {
  for (const field of ["hash", "hw", "watermarkMs", "logTimeMs", "cut", "rulesVersion"] as const) {
    if (reached[field] !== committed[field]) return `${field} is ${reached[field]}, committed ${committed[field]}`;
  }
  for (const role of OUTPUT_ROLES) {
    if (reached.oseq[role] !== committed.oseq[role]) return `oseq of ${role} is ${reached.oseq[role]}, committed ${committed.oseq[role]}`;
  }
  for (const count of ["raw", "clean", "deadLettered", "duplicate", "late", "redelivered"] as const) {
    if (reached.counts[count] !== committed.counts[count])
      return `count ${count} is ${reached.counts[count]}, committed ${committed.counts[count]}`;
  }
  return null;
}

export function refuse(refusal: Refusal, message: string, fix: string): Extract<StartVerdict, { kind: "refuse" }> {
  return { kind: "refuse", refusal, message, fix };
}
