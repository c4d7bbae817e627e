/** From the configuration to what a partition's task needs, alike in the main thread and in each worker. */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { Config } from "#shared/config/config.ts";
import type { Logger } from "#shared/telemetry/logger.ts";
import { openSnapshotStore } from "../checkpoint/open-store.ts";
import { resolveStart } from "../checkpoint/resolve.ts";
import { zstdCodec } from "../checkpoint/snapshot-codec.ts";
import { SnapshotSealer } from "../checkpoint/snapshot-sealer.ts";
import { ThreadObservation } from "../observe/thread-observation.ts";
import { systemClock } from "../runtime/clock.ts";
import { foldsOf } from "./folds.ts";
import type { TaskMaker } from "./task-host.ts";

export function taskMaker(config: Config, kafka: Kafka, log: Logger): TaskMaker {
  const { lane, generation, partitions, idleTickMs, snapshotIntervalMs, transactionTimeoutMs } = config;
  const snapshots = openSnapshotStore(config, () => systemClock.now());
  const sealer = new SnapshotSealer();
  const readObject = async (key: string): Promise<Uint8Array | null> => {
    const content = await (await openRulesObjects(config)).read(key);
    return content === null || content === "unchanged" ? null : content.bytes;
  };
  const observation = new ThreadObservation(config, log);
  return {
    ports: (partition) => ({
      kafka,
      folds: foldsOf(config, partition),
      snapshots,
      codec: zstdCodec,
      sealer,
      readObject,
      clock: systemClock,
      log,
      resolve: resolveStart,
      observer: observation.observer(partition),
    }),
    options: (partition) => ({
      id: { lane, generation },
      partition,
      partitions,
      idleTickMs,
      snapshotIntervalMs,
      transactionTimeoutMs,
    }),
  };
}
