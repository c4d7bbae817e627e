/**
 * The processor: owns every partition of its lane, one task each. `node processor/main.ts rebuild-progress PARTITION` gives one partition its
 * lost position back and leaves.
 */
import { join } from "node:path";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { ConfigError, describeError, OperatingError } from "#shared/kernel/errors.ts";
import { runService, type ServiceContext } from "#shared/telemetry/service.ts";
import { openFolderStore } from "./checkpoint/folder-store.ts";
import { resolveStart } from "./checkpoint/resolve.ts";
import { zstdCodec } from "./checkpoint/snapshot-codec.ts";
import { FOLD_VERSION } from "./fold/fold-state.ts";
import { createFold, restoreFold } from "./fold/partition-fold.ts";
import type { FoldOptions } from "./model/ports.ts";
import { systemClock } from "./runtime/clock.ts";
import { PartitionTask, type TaskEnd } from "./runtime/partition-task.ts";
import type { FoldFactory, TaskOptions } from "./runtime/ports.ts";
import { rebuildProgress } from "./runtime/rebuild-progress.ts";

function foldsOf(config: Config, partition: number): FoldFactory {
  const { generation, historical, outOfOrdernessMs, idleMarginMs, dedupHorizonMs, cutRows, cutMs, maxTableRows } = config;
  const options: FoldOptions = {
    generation,
    partition,
    historical,
    outOfOrdernessMs,
    idleMarginMs,
    dedupHorizonMs,
    cutRows,
    cutMs,
    maxTableRows,
  };
  return { version: FOLD_VERSION, create: () => createFold(options), restore: (state) => restoreFold(options, state) };
}

async function assertPartitions(kafka: Kafka, { lane, partitions }: Config): Promise<void> {
  const topics = (["raw", "valid", "clean", "windows", "dlq", "late"] as const).map((role) => topicName(lane, role));
  const counts = await Promise.all(topics.map((topic) => kafka.partitionCount(topic)));
  const problems = topics.flatMap((topic, i) =>
    counts[i] === partitions ? [] : [`partitions: is ${partitions}, but topic ${topic} has ${counts[i]}`],
  );
  if (problems.length > 0) throw new ConfigError(problems);
}

/** A partition that cannot go on takes the process down: the others hand over, the platform restarts it, and the reason is the last line of its log. */
async function runTasks(context: ServiceContext, kafka: Kafka): Promise<void> {
  const { config, log, stop } = context;
  const { lane, generation, partitions, idleTickMs, snapshotIntervalMs, transactionTimeoutMs } = config;
  const leaving = new AbortController();
  const until = AbortSignal.any([stop, leaving.signal]);
  const snapshots = openFolderStore(join(config.dataDir, "objects"), () => systemClock.now());
  const startedMs = systemClock.now();
  let running = 0;
  const ends: TaskEnd[] = await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const options: TaskOptions = {
        id: { lane, generation },
        partition,
        partitions,
        idleTickMs,
        snapshotIntervalMs,
        transactionTimeoutMs,
      };
      const ports = {
        kafka,
        folds: foldsOf(config, partition),
        snapshots,
        codec: zstdCodec,
        clock: systemClock,
        log,
        resolve: resolveStart,
      };
      const task = new PartitionTask(ports, options, () => {
        running += 1;
        if (running < partitions) return;
        log.info("all partitions run", { partitions, durationMs: systemClock.now() - startedMs });
        context.ready({ partitions });
      });
      const end = await task.run(until);
      if (end.kind === "refused")
        log.error("partition refuses to start", {
          partition,
          refusal: end.verdict.refusal,
          why: end.verdict.message,
          fix: end.verdict.fix,
        });
      else if (end.kind !== "stopped") log.error("partition ended", { partition, how: end.kind, error: describeError(end.error) });
      if (end.kind !== "stopped") leaving.abort();
      return end;
    }),
  );
  for (const end of ends) {
    if (end.kind === "refused")
      throw new OperatingError(`${end.verdict.refusal}: ${end.verdict.message}`, { code: "PARTITION_REFUSED", hint: end.verdict.fix });
    if (end.kind !== "stopped") throw end.error;
  }
  log.info("handed over", { partitions });
}

async function main(context: ServiceContext): Promise<void> {
  const { config, log } = context;
  const kafka = await openKafka({ brokers: config.kafka.split(","), clientId: "weir-processor" });
  try {
    const [command, argument] = process.argv.slice(2);
    if (command === undefined) {
      await assertPartitions(kafka, config);
      await runTasks(context, kafka);
    } else if (command === "rebuild-progress" && argument !== undefined && /^\d+$/.test(argument) && Number(argument) < config.partitions) {
      const id = { lane: config.lane, generation: config.generation };
      const point = await rebuildProgress(kafka, { id, partition: Number(argument), transactionTimeoutMs: config.transactionTimeoutMs });
      log.info("progress rebuilt", { partition: Number(argument), offset: point.offset, hash: point.progress.hash });
    } else
      throw new ConfigError([
        `command: expected nothing or rebuild-progress PARTITION below ${config.partitions}, got ${process.argv.slice(2).join(" ")}`,
      ]);
  } finally {
    await kafka.close();
  }
}

await runService("processor", main);
