/** Each breaks one rule of the commit protocol, outside the code under test. A run that does not notice is no check. */
import { resolveStart } from "#processor/checkpoint/resolve.ts";
import { sealSnapshot } from "#processor/checkpoint/snapshot-codec.ts";
import { snapshotKey, snapshotPrefix } from "#processor/checkpoint/snapshot-key.ts";
import type { FoldFactory } from "#processor/runtime/ports.ts";
import type { PartitionFold } from "#processor/model/ports.ts";
import type { Kafka, OutgoingRecord, TopicPartition, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import type { Progress } from "#shared/events/progress.ts";
import { modelFolds } from "./model-fold.ts";
import { plainCodec, type SimulatedObjects } from "./object-store.ts";
import type { Controls, ScenarioOptions } from "./scenario.ts";

export type Control =
  | "no fence"
  | "position before outputs"
  | "snapshot of uncommitted state"
  | "bad snapshot without hash check"
  | "no high-water mark";

export const NEGATIVE_CONTROLS: Record<Control, () => Omit<ScenarioOptions, "seed">> = {
  "no fence": () => ({ controls: { fences: false } }),
  "position before outputs": () => ({ controls: { kafka: positionFirst } }),
  "snapshot of uncommitted state": () => ({ controls: uncommittedSnapshots() }),
  "bad snapshot without hash check": () => ({ controls: { folds: spoiltSnapshots } }),
  // The scenario's oracle keeps the mark.
  "no high-water mark": () => ({ controls: { folds: () => modelFolds({ trims: false }) } }),
};

/** Two transactions where there should be one: first the position, then the outputs. */
function positionFirst(kafka: Kafka): Kafka {
  return {
    ...kafka,
    async initProducer(id, options) {
      const producer = await kafka.initProducer(id, options);
      const held: [TopicPartition, readonly OutgoingRecord[]][] = [];
      const wrapped: TransactionalProducer = {
        producerId: producer.producerId,
        epoch: producer.epoch,
        protocol: producer.protocol,
        send: (to, records) => {
          held.push([to, records]);
          return Promise.resolve(0);
        },
        commitOffsets: async (group, offsets) => {
          await producer.commitOffsets(group, offsets);
          await producer.commit();
        },
        commit: async () => {
          if (held.length === 0) return;
          await Promise.all(held.splice(0).map(([to, records]) => producer.send(to, records)));
          await producer.commit();
        },
      };
      return wrapped;
    },
  };
}

/** The state is stored when outputs are taken, not when they are committed, and the newest one counts as committed. */
function uncommittedSnapshots(): Controls {
  const progressAt = new Map<string, Progress>();
  const prefix = snapshotPrefix({ lane: "live", generation: 1 }, 0);
  const store = async (fold: PartitionFold, offset: number, objects: SimulatedObjects): Promise<void> => {
    const state = fold.snapshot();
    const progress = fold.progress();
    const header = { v: 1, lane: "live", generation: 1, partition: 0, offset, foldVersion: 1, progress, stateBytes: state.length } as const;
    const sealed = await sealSnapshot(plainCodec, header, state);
    const key = snapshotKey(prefix, offset, sealed.sha256);
    progressAt.set(key, progress);
    objects.put(key, Buffer.concat(sealed.parts));
  };
  return {
    folds: (folds, objects) => mapFolds(folds, { taken: (fold, offset) => void store(fold, offset, objects) }),
    resolve: (facts) => {
      const newest = facts.snapshots.findLast(({ key }) => !facts.distrusted.has(key) && progressAt.has(key));
      if (newest === undefined || facts.committed === "none") return resolveStart(facts);
      return {
        kind: "replay",
        snapshot: newest,
        from: newest.offset,
        to: newest.offset,
        expected: progressAt.get(newest.key)!,
        rewrite: false,
      };
    },
  };
}

/** Snapshots with a good checksum and a wrong content, and a hash that is always right. */
function spoiltSnapshots(folds: FoldFactory): FoldFactory {
  return mapFolds(folds, { snapshot: spoil, progress: (progress) => ({ ...progress, hash: "0".repeat(16) }) });
}

export function spoil(state: Uint8Array): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ ...(JSON.parse(new TextDecoder().decode(state)) as object), spoil: 1 }));
}

interface FoldChanges {
  readonly snapshot?: (state: Uint8Array) => Uint8Array;
  readonly progress?: (progress: Progress) => Progress;
  readonly taken?: (fold: PartitionFold, offset: number) => void;
}

export function mapFolds(
  folds: FoldFactory,
  { snapshot = (state) => state, progress = (value) => value, taken }: FoldChanges,
): FoldFactory {
  const wrap = (fold: PartitionFold): PartitionFold => {
    let next = 0;
    return {
      apply(record) {
        fold.apply(record);
        next = record.offset + 1;
      },
      get pendingRows() {
        return fold.pendingRows;
      },
      takeOutputs() {
        const outputs = fold.takeOutputs();
        taken?.(fold, next);
        return outputs;
      },
      discardOutputs: () => fold.discardOutputs(),
      progress: () => progress(fold.progress()),
      get hasOpenWork() {
        return fold.hasOpenWork;
      },
      snapshot: () => snapshot(fold.snapshot()),
      memory: () => fold.memory(),
    };
  };
  return { version: folds.version, create: () => wrap(folds.create()), restore: (state) => wrap(folds.restore(state)) };
}
