/**
 * Writes snapshots behind the fold's back: one at a time, never awaited by an epoch. A snapshot that fails is a warning: it is no commit
 * point, and the one before it stays good.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { Progress } from "#shared/events/progress.ts";
import { describeError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { expiredSnapshots } from "../checkpoint/retention.ts";
import { type SealedSnapshot, sealSnapshot } from "../checkpoint/snapshot-codec.ts";
import { parseSnapshotKey, snapshotKey, snapshotPrefix } from "../checkpoint/snapshot-key.ts";
import type { StateSealer } from "../checkpoint/snapshot-sealer.ts";
import type { SnapshotHeader, SnapshotRef } from "../checkpoint/types.ts";
import type { PartitionFold, StateCopy } from "../model/ports.ts";
import type { TaskOptions, TaskPorts } from "./ports.ts";

export interface SnapshotCopy {
  readonly offset: number;
  readonly progress: Progress;
  readonly state: Uint8Array;
  /** False = a copy without checksums, in a room of the sealer's. */
  readonly isWhole: boolean;
  /** Resolves when `state` is complete: true, or false after `cancel`. */
  readonly complete?: Promise<boolean>;
  readonly cancel?: () => void;
}

/** Copied in one turn of the event loop, bytes: a millisecond or less, so that the fold never waits longer. */
const SLICE_BYTES = 1 << 20;

/** null: there is no room for a copy yet. */
export function copyOf(fold: PartitionFold, sealer: StateSealer | undefined): Omit<SnapshotCopy, "offset" | "progress"> | null {
  if (sealer === undefined || fold.copyState === undefined) return { state: fold.snapshot(), isWhole: true };
  const copy = fold.copyState((sizeBytes) => sealer.room(sizeBytes));
  return copy === null ? null : { state: copy.state, isWhole: false, ...copiedInSlices(copy) };
}

/** Between the fold's batches, whenever it waits for input or for a commit. */
function copiedInSlices(copy: StateCopy): Required<Pick<SnapshotCopy, "complete" | "cancel">> {
  const cancelling = new AbortController();
  const copying = async (): Promise<boolean> => {
    while (!cancelling.signal.aborted) {
      if (copy.step(SLICE_BYTES)) return true;
      await turn();
    }
    return false;
  };
  const complete = copying();
  // Who waits for the copy sees the failure; a copy whose epoch fails is not waited for.
  complete.catch(() => undefined);
  return { complete, cancel: () => cancelling.abort() };
}

export class SnapshotWriter {
  readonly #ports: TaskPorts;
  readonly #options: TaskOptions;
  #writing: Promise<void> | null = null;
  #nextAtMs: number;
  #lastOffset = -1;

  constructor(ports: TaskPorts, options: TaskOptions) {
    this.#ports = ports;
    this.#options = options;
    this.#nextAtMs = ports.clock.now() + (options.snapshotIntervalMs * (options.partition + 1)) / options.partitions;
  }

  /** Highest offset that a snapshot of this writer lies at; -1 = none. */
  get lastOffset(): number {
    return this.#lastOffset;
  }

  isDue(): boolean {
    return this.#writing === null && this.#ports.clock.now() >= this.#nextAtMs;
  }

  /** Only for a copy whose epoch is committed. Call when no other is under way. */
  start(copy: SnapshotCopy): void {
    this.#nextAtMs = this.#ports.clock.now() + this.#options.snapshotIntervalMs;
    this.#writing = this.write(copy)
      .catch((thrown: unknown) => {
        this.#ports.observer?.snapshotFailed();
        this.#ports.log.warn("snapshot failed", { offset: copy.offset, error: describeError(thrown) });
      })
      .finally(() => (this.#writing = null));
  }

  /** Resolves when nothing is being written. */
  async settle(): Promise<void> {
    await this.#writing;
  }

  /** For a copy whose epoch was not committed. */
  drop(copy: SnapshotCopy): void {
    copy.cancel?.();
    if (!copy.isWhole) this.#ports.sealer?.drop(copy.state);
  }

  async #seal(header: SnapshotHeader, { state, isWhole, complete }: SnapshotCopy): Promise<SealedSnapshot> {
    await complete;
    return isWhole ? sealSnapshot(this.#ports.codec, header, state) : this.#ports.sealer!.seal(header, state);
  }

  async write(copy: SnapshotCopy): Promise<void> {
    const ports = this.#ports;
    const { id, partition } = this.#options;
    const startedMs = ports.clock.now();
    const header = {
      v: 1,
      lane: id.lane,
      generation: id.generation,
      partition,
      offset: copy.offset,
      foldVersion: ports.folds.version,
      progress: copy.progress,
      stateBytes: copy.state.length,
    } as const;
    const sealed = await this.#seal(header, copy);
    failpoint("mid-snapshot");
    const prefix = snapshotPrefix(id, partition);
    const outcome = await ports.snapshots.createOnce(snapshotKey(prefix, copy.offset, sealed.sha256), sealed.parts);
    failpoint("after-snapshot");
    this.#lastOffset = Math.max(this.#lastOffset, copy.offset);
    ports.observer?.snapshotWritten({
      offset: copy.offset,
      storedBytes: sealed.sizeBytes,
      durationMs: ports.clock.now() - startedMs,
    });
    ports.log.debug("snapshot written", {
      offset: copy.offset,
      outcome,
      stateBytes: copy.state.length,
      storedBytes: sealed.sizeBytes,
      durationMs: ports.clock.now() - startedMs,
    });
    const all = await listSnapshots(ports, this.#options);
    for (const twin of all) {
      // One offset has one state. A second one means that the fold is not deterministic.
      if (twin.offset === copy.offset && twin.sha256 !== sealed.sha256) {
        ports.log.warn("another snapshot of the same offset differs", { offset: copy.offset, key: twin.key });
      }
    }
    for (const expired of expiredSnapshots(all, { committed: copy.offset, nowMs: ports.clock.now() }))
      await ports.snapshots.remove(expired.key);
  }
}

export async function listSnapshots(
  ports: Pick<TaskPorts, "snapshots">,
  options: Pick<TaskOptions, "id" | "partition">,
): Promise<SnapshotRef[]> {
  const objects = await ports.snapshots.list(snapshotPrefix(options.id, options.partition));
  return objects.flatMap(({ key, createdAtMs }) => {
    const name = parseSnapshotKey(key);
    return name === null ? [] : [{ key, createdAtMs, ...name }];
  });
}
