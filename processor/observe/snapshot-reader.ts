/**
 * Reads a partition's snapshots as recovery would, for a person: nothing is fenced, nothing is written, and a running processor does not notice.
 */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";
import { CorruptStateError, OperatingError } from "#shared/kernel/errors.ts";
import { foldOptions } from "../assignment/folds.ts";
import { type NamedStore, openSnapshotStore } from "../checkpoint/open-store.ts";
import { parseProgress } from "../checkpoint/progress-text.ts";
import { progressDifference, snapshotFlaw } from "../checkpoint/resolve.ts";
import { openSnapshot, readHeader, zstdCodec } from "../checkpoint/snapshot-codec.ts";
import type { SnapshotHeader, SnapshotRef } from "../checkpoint/types.ts";
import { readSnapshot } from "../fold/fold-snapshot.ts";
import { FOLD_VERSION, type FoldState } from "../fold/fold-state.ts";
import { ColumnFold } from "../fold/partition-fold.ts";
import { neededWith } from "../runtime/enrichment-objects.ts";
import { InputLog } from "../runtime/input-log.ts";
import { listSnapshots } from "../runtime/snapshot-writer.ts";

const WAIT_MS = 500;

export interface StoredSnapshot {
  readonly ref: SnapshotRef;
  readonly header: SnapshotHeader;
  readonly storedBytes: number;
}

/** A state that can go on: `fold` works on `state`. */
export interface OpenedState {
  readonly state: FoldState;
  readonly fold: ColumnFold;
  /** Next input offset. */
  readonly offset: number;
}

export class SnapshotReader {
  readonly #config: Config;
  readonly #store: NamedStore;

  constructor(config: Config, now: () => number) {
    this.#config = config;
    this.#store = openSnapshotStore(config, now);
  }

  get address(): string {
    return this.#store.address;
  }

  /** Oldest first. */
  list(partition: number): Promise<SnapshotRef[]> {
    return listSnapshots({ snapshots: this.#store }, { id: this.#config, partition });
  }

  /** What stands in clear at its beginning, unchecked. @throws CorruptStateError SNAPSHOT_CORRUPT, SNAPSHOT_MISSING */
  async header(ref: SnapshotRef): Promise<StoredSnapshot> {
    const object = await this.#read(ref);
    return { ref, header: readHeader(ref.key, object).header, storedBytes: object.length };
  }

  /**
   * Checks every sum on the way: the object's, each section's, and that the state inside has the progress which the header tells.
   * @throws CorruptStateError by name of what is wrong.
   */
  async open(ref: SnapshotRef, partition: number): Promise<OpenedState & { readonly stored: StoredSnapshot }> {
    const object = await this.#read(ref);
    const { header, state: bytes } = await openSnapshot(zstdCodec, ref, object);
    const { lane, generation } = this.#config;
    const flaw = snapshotFlaw(header, { lane, generation, partition, offset: ref.offset });
    if (flaw !== null) throw new CorruptStateError(`snapshot ${ref.key}: ${flaw}`, { code: "SNAPSHOT_FOREIGN" });
    if (header.foldVersion !== FOLD_VERSION) {
      throw new CorruptStateError(`snapshot ${ref.key}: fold version ${header.foldVersion}, this is ${FOLD_VERSION}`, {
        code: "SNAPSHOT_FOLD_VERSION",
      });
    }
    const options = foldOptions(this.#config, partition);
    const state = readSnapshot(bytes, options);
    const fold = new ColumnFold(options, state);
    const difference = progressDifference(fold.progress(), header.progress);
    if (difference !== null) throw new CorruptStateError(`snapshot ${ref.key}: ${difference} by its header`, { code: "SNAPSHOT_CORRUPT" });
    return { state, fold, offset: ref.offset, stored: { ref, header, storedBytes: object.length } };
  }

  async #read(ref: SnapshotRef): Promise<Uint8Array> {
    const object = await this.#store.read(ref.key);
    if (object === null) throw new CorruptStateError(`snapshot ${ref.key}: it was listed and is gone`, { code: "SNAPSHOT_MISSING" });
    return object;
  }
}

export interface CommittedAt {
  readonly offset: number;
  readonly progress: Progress;
}

/** null: nothing committed, or not by a processor. */
export async function readCommitted(kafka: Kafka, config: Config, partition: number): Promise<CommittedAt | null> {
  const at = { topic: topicName(config.lane, "valid"), partition };
  const [committed] = await kafka.committedOffsets(groupId(config, "processor"), [at], { requireStable: true });
  const progress = parseProgress(committed?.metadata ?? "");
  return committed === undefined || committed.offset < 0 || progress === null ? null : { offset: committed.offset, progress };
}

/**
 * Folds the log from there to the committed position and compares, as every start does. Throws what the fold throws.
 * @returns the first difference to the committed progress; null = none.
 */
export async function replayTo(
  kafka: Kafka,
  config: Config,
  opened: OpenedState,
  partition: number,
  to: CommittedAt,
): Promise<string | null> {
  const input = new InputLog(kafka, { topic: topicName(config.lane, "valid"), partition }, { waitMs: WAIT_MS });
  const readObject = async (key: string): Promise<Uint8Array | null> => {
    const content = await (await openRulesObjects(config)).read(key);
    return content === null || content === "unchanged" ? null : content.bytes;
  };
  let { offset } = opened;
  while (offset < to.offset) {
    const { records, release } = await input.read(offset);
    if (records.length === 0) {
      throw new OperatingError(`the log gives nothing at offset ${offset}, replay must reach ${to.offset}`, { code: "REPLAY_STUCK" });
    }
    for (const record of records) {
      if (record.offset >= to.offset) break;
      const needed = neededWith(record, opened.fold, readObject);
      if (needed === null) opened.fold.apply(record);
      else opened.fold.apply(record, await needed);
      offset = record.offset + 1;
    }
    opened.fold.discardOutputs();
    release();
  }
  return progressDifference(opened.fold.progress(), to.progress);
}
