/** Numbers of one partition's task: plain counters while it works, a plain copy of them when somebody asks. */
import { OUTPUT_ROLES, type OutputRole } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { FencedError, UnknownOutcomeError } from "#shared/kernel/errors.ts";
import { Histogram, type HistogramReading } from "#shared/telemetry/histogram.ts";
import { OldestEvent } from "./oldest-event.ts";
import type { ObservedFold, ObservedRecord, TaskObserver } from "./task-observer.ts";
import { TimeLag } from "./time-lag.ts";

/** Milliseconds: `epoch` is the wall clock, `steady` never jumps. */
export interface ObserverClock {
  readonly epochMs: () => number;
  readonly steadyMs: () => number;
}

export const COUNTERS = [
  "Epochs",
  "BlocksIn",
  "RowsIn",
  "Late",
  "DeadLetters",
  "Duplicates",
  "Redelivered",
  "Fenced",
  "TxnUnknownOutcome",
  "SessionsLost",
  "Recoveries",
  "ReplayedBlocks",
  "Checkpoints",
  "CheckpointFailures",
  "CheckpointBytes",
] as const;
type Counter = (typeof COUNTERS)[number];

export const HISTOGRAMS = [
  "CommitDurationMs",
  "EpochDurationMs",
  "CheckpointDurationMs",
  "CheckpointPauseMs",
  "RecoveryDurationMs",
  "EndToEndMs",
] as const;

/** Crosses threads. */
export interface TaskReading {
  readonly partition: number;
  readonly isOwned: boolean;
  readonly isRunning: boolean;
  /** null = not known yet. */
  readonly watermarkLagMs: number | null;
  readonly offsetLag: number | null;
  readonly timeLagMs: number | null;
  readonly checkpointAgeMs: number | null;
  readonly counters: Readonly<Record<Counter, number>>;
  readonly rowsOut: Readonly<Record<OutputRole, number>>;
  readonly histograms: Readonly<Record<(typeof HISTOGRAMS)[number], HistogramReading>>;
  readonly stateBytes: Readonly<Record<string, number>>;
}

export class TaskMetrics implements TaskObserver {
  readonly #partition: number;
  readonly #clock: ObserverClock;
  readonly #counters = Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Record<Counter, number>;
  readonly #rowsOut = Object.fromEntries(OUTPUT_ROLES.map((role) => [role, 0])) as Record<OutputRole, number>;
  readonly #histograms = {
    CommitDurationMs: new Histogram(),
    EpochDurationMs: new Histogram(),
    CheckpointDurationMs: new Histogram(),
    CheckpointPauseMs: new Histogram(),
    RecoveryDurationMs: new Histogram(),
    EndToEndMs: new Histogram(),
  };
  readonly #timeLag = new TimeLag();
  readonly #oldest = new OldestEvent();
  #fold: ObservedFold | null = null;
  #isOwned = false;
  #progress: Progress | null = null;
  #committedOffset = -1;
  #logEnd = -1;
  #checkpointAtMs: number | null = null;
  #recoveringAtMs = 0;
  #copyingAtMs = 0;
  /** Of the epoch in the making: when its first block came. */
  #madeSinceMs: number | null = null;
  #sentAtMs = 0;
  #sentSinceMs = 0;

  constructor(partition: number, clock: ObserverClock) {
    this.#partition = partition;
    this.#clock = clock;
  }

  recovering(): void {
    this.#isOwned = true;
    this.#fold = null;
    this.#recoveringAtMs = this.#clock.steadyMs();
  }

  recovered(facts: { readonly offset: number; readonly replayedRecords: number; readonly fold: ObservedFold }): void {
    this.#fold = facts.fold;
    this.#committedOffset = facts.offset;
    // What came before is no work of this process.
    this.#progress = facts.fold.progress();
    this.#madeSinceMs = null;
    this.#oldest.begin(this.#progress.hw);
    this.#checkpointAtMs ??= this.#clock.steadyMs();
    this.#counters.Recoveries += 1;
    this.#counters.ReplayedBlocks += facts.replayedRecords;
    this.#histograms.RecoveryDurationMs.record(this.#clock.steadyMs() - this.#recoveringAtMs);
  }

  fetched(records: readonly ObservedRecord[], logEnd: number): void {
    this.#logEnd = logEnd;
    const nowMs = this.#clock.steadyMs();
    this.#timeLag.saw(logEnd, nowMs);
    this.#counters.BlocksIn += records.length;
    for (const record of records) this.#oldest.saw(record);
    if (records.length > 0) this.#madeSinceMs ??= nowMs;
  }

  folded(): void {}

  copying(): void {
    this.#copyingAtMs = this.#clock.steadyMs();
  }

  copied(): void {
    this.#histograms.CheckpointPauseMs.record(this.#clock.steadyMs() - this.#copyingAtMs);
  }

  sent(): void {
    const nowMs = this.#clock.steadyMs();
    this.#sentAtMs = nowMs;
    this.#sentSinceMs = this.#madeSinceMs ?? nowMs;
    this.#madeSinceMs = null;
    this.#oldest.sent();
  }

  produced(): void {}

  committed(offset: number, progress: Progress): void {
    const nowMs = this.#clock.steadyMs();
    this.#histograms.CommitDurationMs.record(nowMs - this.#sentAtMs);
    this.#histograms.EpochDurationMs.record(nowMs - this.#sentSinceMs);
    const oldestMs = this.#oldest.committedMs;
    // Two machines' clocks: what seems to come from the future came just now.
    if (oldestMs !== null) this.#histograms.EndToEndMs.record(Math.max(0, this.#clock.epochMs() - oldestMs));
    this.#counters.Epochs += 1;
    const before = this.#progress;
    this.#progress = progress;
    this.#committedOffset = offset;
    this.#timeLag.forget(offset);
    if (before !== null) this.#count(before, progress);
  }

  snapshotWritten({ storedBytes, durationMs }: { readonly storedBytes: number; readonly durationMs: number }): void {
    this.#counters.Checkpoints += 1;
    this.#counters.CheckpointBytes += storedBytes;
    this.#histograms.CheckpointDurationMs.record(durationMs);
    this.#checkpointAtMs = this.#clock.steadyMs();
  }

  snapshotFailed(): void {
    this.#counters.CheckpointFailures += 1;
  }

  sessionLost(error: Error): void {
    this.#fold = null;
    if (error instanceof FencedError) this.#counters.Fenced += 1;
    else this.#counters.SessionsLost += 1;
    if (error instanceof UnknownOutcomeError) this.#counters.TxnUnknownOutcome += 1;
  }

  ended(): void {
    this.#isOwned = false;
    this.#fold = null;
    this.#checkpointAtMs = null;
  }

  read(): TaskReading {
    const { steadyMs, epochMs } = this.#clock;
    const isRunning = this.#fold !== null;
    const position = this.#committedOffset;
    const isSeen = isRunning && position >= 0 && this.#logEnd >= 0;
    const watermarkMs = this.#progress?.watermarkMs ?? null;
    const histograms = Object.fromEntries(HISTOGRAMS.map((name) => [name, this.#histograms[name].read()])) as TaskReading["histograms"];
    return {
      partition: this.#partition,
      isOwned: this.#isOwned,
      isRunning,
      watermarkLagMs: isRunning && watermarkMs !== null ? Math.max(0, epochMs() - watermarkMs) : null,
      offsetLag: isSeen ? Math.max(0, this.#logEnd - position) : null,
      timeLagMs: isSeen ? this.#timeLag.lagMs(position, steadyMs()) : null,
      checkpointAgeMs: this.#isOwned && this.#checkpointAtMs !== null ? steadyMs() - this.#checkpointAtMs : null,
      counters: { ...this.#counters },
      rowsOut: { ...this.#rowsOut },
      histograms,
      stateBytes: this.#fold?.memory() ?? {},
    };
  }

  #count(before: Progress, after: Progress): void {
    this.#counters.RowsIn += after.counts.raw - before.counts.raw;
    this.#counters.Late += after.counts.late - before.counts.late;
    this.#counters.DeadLetters += after.counts.deadLettered - before.counts.deadLettered;
    this.#counters.Duplicates += after.counts.duplicate - before.counts.duplicate;
    this.#counters.Redelivered += after.counts.redelivered - before.counts.redelivered;
    for (const role of OUTPUT_ROLES) this.#rowsOut[role] += after.oseq[role] - before.oseq[role];
  }
}
