/**
 * What a partition's task tells of itself while it works. Calls are plain and synchronous, a few per epoch and none per event; an observer times
 * them by its own clock, changes nothing and never throws. The simulation runs without one.
 */
import type { Progress } from "#shared/events/progress.ts";

export interface ObservedRecord {
  readonly headers: readonly (readonly [key: string, value: Uint8Array])[];
}

export interface ObservedFold {
  memory(): Readonly<Record<string, number>>;
  progress(): Progress;
}

export interface TaskObserver {
  /** A session begins: the fence comes next. */
  recovering(): void;
  recovered(facts: {
    readonly offset: number;
    readonly replayedRecords: number;
    readonly snapshotOffset: number | null;
    readonly fold: ObservedFold;
  }): void;
  /** An answer of the input log: `records` may be none, `logEnd` is the offset behind the last committed record. */
  fetched(records: readonly ObservedRecord[], logEnd: number): void;
  folded(): void;
  /** Around the copy of the state for a snapshot. */
  copying(): void;
  copied(): void;
  /** The epoch in the making goes out; what is folded from here on belongs to the next one. */
  sent(): void;
  /** All outputs of the epoch that is out are acknowledged. */
  produced(): void;
  committed(offset: number, progress: Progress): void;
  snapshotWritten(facts: { readonly offset: number; readonly storedBytes: number; readonly durationMs: number }): void;
  snapshotFailed(): void;
  /** The session failed with this; the task goes back to recovery or ends. */
  sessionLost(error: Error): void;
  /** The task is over: its partition is no longer ours. */
  ended(): void;
}

/** Tells each of them. */
export function observeAll(observers: readonly TaskObserver[]): TaskObserver {
  const each = (tell: (observer: TaskObserver) => void): void => {
    for (const observer of observers) tell(observer);
  };
  return {
    recovering: () => each((observer) => observer.recovering()),
    recovered: (facts) => each((observer) => observer.recovered(facts)),
    fetched: (records, logEnd) => each((observer) => observer.fetched(records, logEnd)),
    folded: () => each((observer) => observer.folded()),
    copying: () => each((observer) => observer.copying()),
    copied: () => each((observer) => observer.copied()),
    sent: () => each((observer) => observer.sent()),
    produced: () => each((observer) => observer.produced()),
    committed: (offset, progress) => each((observer) => observer.committed(offset, progress)),
    snapshotWritten: (facts) => each((observer) => observer.snapshotWritten(facts)),
    snapshotFailed: () => each((observer) => observer.snapshotFailed()),
    sessionLost: (error) => each((observer) => observer.sessionLost(error)),
    ended: () => each((observer) => observer.ended()),
  };
}
