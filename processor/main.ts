/**
 * The processor: works on the partitions of its lane that its group assigns to it, one task each. `node processor/main.ts rebuild-progress
 * PARTITION` gives one partition its lost position back and leaves. This file is also the entry of its worker threads, so that a bundle is one file.
 */
import { availableParallelism } from "node:os";
import { isMainThread } from "node:worker_threads";
import { type Confirm, PartitionOwner } from "#shared/assignment/partition-owner.ts";
import { RefusedPartitions } from "#shared/assignment/refused-partitions.ts";
import { assignSticky, STICKY_PROTOCOL } from "#shared/assignment/sticky-assignor.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { GroupMembership } from "#shared/clients/kafka/group-membership.ts";
import { type KafkaAccess, kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { ConfigError, describeError, toError } from "#shared/kernel/errors.ts";
import { runService, type ServiceContext } from "#shared/telemetry/service.ts";
import { STAGE_PARTITION, StagedHost } from "./assignment/staged-host.ts";
import { confirmedOwner, LocalHost, type TaskHost } from "./assignment/task-host.ts";
import { taskMaker } from "./assignment/task-maker.ts";
import { runWorker } from "./assignment/worker.ts";
import { WorkerPool } from "./assignment/worker-pool.ts";
import { SecondStage, type SecondStageEnd } from "./minutes/second-stage.ts";
import { openProcessMetrics } from "./observe/process-metrics.ts";
import { systemClock } from "./runtime/clock.ts";
import { rebuildProgress } from "./runtime/rebuild-progress.ts";

async function assertPartitions(kafka: Kafka, { lane, partitions }: Config): Promise<void> {
  const roles = ["raw", "valid", "clean", "windows", "dlq", "late", "partials"] as const;
  const wanted = [...roles.map((role) => [topicName(lane, role), partitions] as const), [topicName(lane, "minutes"), 1] as const];
  const counts = await Promise.all(wanted.map(([topic]) => kafka.partitionCount(topic)));
  const problems = wanted.flatMap(([topic, count], i) =>
    counts[i] === count ? [] : [`partitions: is ${count}, but topic ${topic} has ${counts[i]}`],
  );
  if (problems.length > 0) throw new ConfigError(problems);
}

/** One thread needs no other: the membership costs it a request a second. */
function openHost({ config, log }: ServiceContext, kafka: Kafka, confirm: Confirm): TaskHost {
  const wanted = config.processorWorkers === 0 ? availableParallelism() - 1 : config.processorWorkers;
  const workers = Math.max(1, Math.min(wanted, config.partitions));
  if (workers === 1) return new LocalHost(taskMaker(config, kafka, log), confirm);
  return new WorkerPool(new URL(import.meta.url), workers, confirm);
}

/**
 * With a connection of its own, whose fetch waits for longer than a commit should, opened where the stage runs. A historical lane has no minutes.
 */
function withSecondStage(host: TaskHost, { config, log }: ServiceContext, access: KafkaAccess, confirm: Confirm): TaskHost {
  if (config.historical) return host;
  const { lane, generation, partitions, transactionTimeoutMs } = config;
  const options = { id: { lane, generation }, partitions, transactionTimeoutMs };
  const run = async (stop: AbortSignal): Promise<SecondStageEnd> => {
    try {
      const kafka = await openKafka({ ...access, clientId: "weir-processor-minutes" });
      try {
        const ports = { kafka, clock: systemClock, log, mayFence: confirmedOwner(confirm, STAGE_PARTITION) };
        return await new SecondStage(ports, options).run(stop);
      } finally {
        await kafka.close();
      }
    } catch (thrown) {
      return { kind: "failed", error: toError(thrown) };
    }
  };
  return new StagedHost(host, { run, clock: systemClock, log });
}

/**
 * A partition that fails takes the process down: the others hand over, the platform restarts it, and the reason is the last line of its log. One
 * that refuses to start is reported and tried again while the others go on, unless it is all there is at the first start.
 */
async function runMember(context: ServiceContext, kafka: Kafka, access: KafkaAccess, refused: RefusedPartitions): Promise<void> {
  const { config, log, stop } = context;
  const startedMs = systemClock.now();
  const membership = new GroupMembership(
    { ...access, clientId: "weir-processor-member" },
    {
      group: groupId(config, "processor-members"),
      topic: topicName(config.lane, "valid"),
      partitions: config.partitions,
      protocol: STICKY_PROTOCOL,
      assign: assignSticky,
      sessionTimeoutMs: config.processorSessionMs,
      instanceId: config.processorInstance,
      onTrouble: (error) => log.warn("group of processors does not answer", { error: describeError(error) }),
    },
  );
  const confirm: Confirm = (partition) => membership.confirm(partition);
  const host = withSecondStage(openHost(context, kafka, confirm), context, access, confirm);
  const owner = new PartitionOwner({
    host,
    clock: systemClock,
    log,
    confirm,
    rejoin: () => membership.rejoin(),
    refused,
    onReady: (partitions) => {
      const facts = { partitions, ...refused.facts };
      const durationMs = systemClock.now() - startedMs;
      if (refused.partitions.length === 0) log.info("all partitions run", { ...facts, durationMs });
      else log.warn("the other partitions run", { ...facts, durationMs });
      context.ready(facts);
    },
  });
  const leaving = new AbortController();
  const member = membership.run(owner, leaving.signal).catch(toError);
  const stopped = new Promise<void>((resolve) => {
    if (stop.aborted) resolve();
    else stop.addEventListener("abort", () => resolve(), { once: true });
  });
  const cause = await Promise.race([stopped, owner.broken, member]);
  // Still a member: nobody waits for what we are about to hand over before it is.
  await owner.drain();
  leaving.abort();
  await member;
  await host.close();
  const failure = cause instanceof Error ? cause : owner.failure;
  if (failure !== null) throw failure;
  log.info("handed over");
}

async function main(context: ServiceContext): Promise<void> {
  const { config, log } = context;
  const access = await kafkaOptions(config);
  const kafka = await openKafka({ ...access, clientId: "weir-processor" });
  try {
    const [command, argument] = process.argv.slice(2);
    if (command === undefined) {
      await assertPartitions(kafka, config);
      const refused: RefusedPartitions = new RefusedPartitions({
        clock: systemClock,
        log,
        retryMs: config.refusedRetryMs,
        onChange: () => context.trouble(refused.trouble),
      });
      const metrics = await openProcessMetrics(config, log, () => refused.partitions);
      try {
        await runMember(context, kafka, access, refused);
      } finally {
        metrics.close();
      }
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

if (isMainThread) await runService("processor", main);
else await runWorker(process.argv[2] ?? "worker");
