/** The sinks as a process: every partition of every output into ClickHouse and Redis. */
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { Redis } from "#shared/clients/redis/client.ts";
import type { Config } from "#shared/config/config.ts";
import { decodeClean, decodeWindows } from "#shared/events/block.ts";
import { groupId, type GroupRole, topicName, type OutputRole } from "#shared/events/names.ts";
import { runService } from "#shared/telemetry/service.ts";
import { createDeadLettersStore } from "./clickhouse/dead-letters-store.ts";
import { createEventsStore } from "./clickhouse/events-store.ts";
import { createWindowsStore } from "./clickhouse/windows-store.ts";
import { activityOf, closedWindowsOf } from "./redis/hot-values.ts";
import { createHotValuesStore } from "./redis/hot-values-store.ts";
import { runPartitionSink, type SinkStore } from "./runtime/partition-sink.ts";

interface Flow {
  readonly group: GroupRole;
  readonly role: OutputRole;
  readonly open: (partition: number) => SinkStore;
}

function flowsOf(config: Config, clickhouse: Clickhouse, redis: Redis): Flow[] {
  const { lane, generation } = config;
  const topic = (role: OutputRole): string => topicName(lane, role);
  const table = (name: string): string => `${config.clickhouseDatabase}.${name}`;
  const mark = (role: OutputRole, partition: number): string => `weir:mark:${lane}:${generation}:${role}:${partition}`;
  const from = (partition: number): { lane: string; generation: number; partition: number } => ({ lane, generation, partition });
  return [
    { group: "sink-clickhouse", role: "clean", open: (p) => createEventsStore(clickhouse, table("events"), topic("clean"), from(p)) },
    { group: "sink-clickhouse", role: "windows", open: (p) => createWindowsStore(clickhouse, table("windows"), topic("windows"), from(p)) },
    {
      group: "sink-clickhouse",
      role: "dlq",
      open: (p) => createDeadLettersStore(clickhouse, table("dead_letters"), topic("dlq"), from(p)),
    },
    {
      group: "sink-redis",
      role: "clean",
      open: (p) => createHotValuesStore({ redis, markKey: mark("clean", p), valuesOf: (value) => activityOf(lane, decodeClean(value)) }),
    },
    {
      group: "sink-redis",
      role: "windows",
      open: (p) =>
        createHotValuesStore({ redis, markKey: mark("windows", p), valuesOf: (value) => closedWindowsOf(lane, decodeWindows(value)) }),
    },
  ];
}

await runService("sinks", async ({ config, log, stop, ready }) => {
  const kafka = await openKafka({ brokers: config.kafka.split(","), clientId: "weir-sinks" });
  const clickhouse = new Clickhouse({ url: config.clickhouse, user: config.clickhouseUser, password: config.clickhousePassword });
  const redis = new Redis(config.redis);
  const failed = new AbortController();
  const ending = AbortSignal.any([stop, failed.signal]);
  const flows = flowsOf(config, clickhouse, redis);
  const runs = flows.flatMap(({ group, role, open }) =>
    Array.from({ length: config.partitions }, async (_, partition) => {
      const from = { topic: topicName(config.lane, role), partition };
      const options = {
        kafka,
        group: groupId(config, group),
        generation: config.generation,
        from,
        store: open(partition),
        log: log.child({ group, role, partition }),
        stop: ending,
      };
      try {
        await runPartitionSink(options);
      } catch (thrown) {
        failed.abort();
        throw thrown;
      }
    }),
  );
  ready({ flows: runs.length });
  try {
    const ends = await Promise.allSettled(runs);
    const failure = ends.find((end) => end.status === "rejected");
    if (failure !== undefined) throw failure.reason;
  } finally {
    redis.close();
    await clickhouse.close();
    await kafka.close();
  }
});
