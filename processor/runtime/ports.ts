/** What a partition's task needs from outside. Clock, Kafka and store are ports so that the simulation can own every step. */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { PipelineId } from "#shared/events/names.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import type { resolveStart } from "../checkpoint/resolve.ts";
import type { SnapshotCodec } from "../checkpoint/snapshot-codec.ts";
import type { StateSealer } from "../checkpoint/snapshot-sealer.ts";
import type { SnapshotStore } from "../checkpoint/snapshot-store.ts";
import type { PartitionFold } from "../model/ports.ts";
import type { ReadObject } from "./enrichment-objects.ts";
import type { TaskObserver } from "../observe/task-observer.ts";

export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Resolves early, without error, when the signal aborts. */
  sleep(durationMs: number, signal: AbortSignal): Promise<void>;
}

/** The running code's fold of one partition. */
export interface FoldFactory {
  readonly version: number;
  create(): PartitionFold;
  /** @throws CorruptStateError on a state that it cannot read. */
  restore(state: Uint8Array): PartitionFold;
}

export interface TaskPorts {
  readonly kafka: Kafka;
  readonly folds: FoldFactory;
  readonly snapshots: SnapshotStore;
  readonly codec: SnapshotCodec;
  /** Seals in another thread. Default: in the fold's. */
  readonly sealer?: StateSealer;
  readonly clock: Clock;
  readonly log: Logger;
  /** The decision where to start. Replaced only by the simulation's negative controls. */
  readonly resolve: typeof resolveStart;
  /** Of the store that holds the rules releases. Default: it is empty. */
  readonly readObject?: ReadObject;
  /** Metrics and spans. Default: nobody looks. */
  readonly observer?: TaskObserver;
  /** Asked before each fence. Throws FencedError when the partition is another's by assignment; default: nobody assigns. */
  readonly mayFence?: () => Promise<void>;
}

export interface TaskOptions {
  readonly id: PipelineId;
  readonly partition: number;
  /** Of the pipeline: staggers the snapshots. */
  readonly partitions: number;
  readonly idleTickMs: number;
  readonly snapshotIntervalMs: number;
  readonly transactionTimeoutMs: number;
  /** How long a fetch waits for input. Default 100. */
  readonly fetchWaitMs?: number;
}
