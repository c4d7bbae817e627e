/** The sinks as a process: every partition of every output into ClickHouse and Redis. */
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { RedisGroups } from "#shared/clients/redis/groups.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, type GroupRole, topicName, type OutputRole } from "#shared/events/names.ts";
import { createdChannel, markKey } from "#shared/read/hot-keys.ts";
import { runService } from "#shared/telemetry/service.ts";
import { createDeadLettersStore } from "./clickhouse/dead-letters-store.ts";
import { createEventsStore } from "./clickhouse/events-store.ts";
import { createMinutesStore } from "./clickhouse/minutes-store.ts";
import { createWindowsStore } from "./clickhouse/windows-store.ts";
import { QualityGauge } from "./minutes/quality-gauge.ts";
import { ActivityBatch } from "./redis/activity-batch.ts";
import { ClosedWindowsBatch } from "./redis/closed-windows-batch.ts";
import type { HotBatch } from "./redis/hot-batch.ts";
import { createHotValuesStore } from "./redis/hot-values-store.ts";
import { MetricBatch } from "./redis/metric-batch.ts";
import { runPartitionSink, type SinkStore } from "./runtime/partition-sink.ts";
import { publishSinkMetrics, SinkMetrics } from "./runtime/sink-metrics.ts";

interface Flow {
  readonly group: GroupRole;
  readonly role: OutputRole | "minutes";
  readonly open: (partition: number) => SinkStore;
}

function flowsOf(config: Config, clickhouse: Clickhouse, redis: RedisGroups, quality: QualityGauge): Flow[] {
  const { lane, generation } = config;
  const topic = (role: Flow["role"]): string => topicName(lane, role);
  const table = (name: string): string => `${config.clickhouseDatabase}.${name}`;
  const hotValues = (role: Flow["role"], partition: number, batch: () => HotBatch): SinkStore => {
    const key = markKey(config, role, partition);
    return createHotValuesStore({ redis: redis.of(partition), markKey: key, generation, createdChannel: createdChannel(lane), batch });
  };
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
      group: "sink-clickhouse",
      role: "minutes",
      open: (p) =>
        createMinutesStore({
          client: clickhouse,
          database: config.clickhouseDatabase,
          topic: topic("minutes"),
          provenance: from(p),
          onStored: (rows, loggedMs) => quality.see(rows, loggedMs),
        }),
    },
    { group: "sink-redis", role: "minutes", open: (p) => hotValues("minutes", p, () => new MetricBatch(lane)) },
    { group: "sink-redis", role: "clean", open: (p) => hotValues("clean", p, () => new ActivityBatch(lane)) },
    { group: "sink-redis", role: "windows", open: (p) => hotValues("windows", p, () => new ClosedWindowsBatch(lane)) },
  ];
}

await runService("sinks", async ({ config, log, stop, ready }) => {
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-sinks" });
  const clickhouse = new Clickhouse({ url: config.clickhouse, user: config.clickhouseUser, password: config.clickhousePassword });
  const redis = new RedisGroups(config.redis);
  const failed = new AbortController();
  const ending = AbortSignal.any([stop, failed.signal]);
  const quality = new QualityGauge();
  const flows = flowsOf(config, clickhouse, redis, quality);
  const metrics = new SinkMetrics();
  metrics.also(() => quality.series(Date.now()));
  const stopMetrics = await publishSinkMetrics(metrics, { config, kafka, log });
  const runs = flows.flatMap(({ group, role, open }) =>
    Array.from({ length: role === "minutes" ? 1 : config.partitions }, async (_, partition) => {
      const from = { topic: topicName(config.lane, role), partition };
      const options = {
        kafka,
        group: groupId(config, group),
        generation: config.generation,
        from,
        store: metrics.around(open(partition), `${group.replace(/^sink-/, "")}.${role}`, from),
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
    stopMetrics();
    redis.close();
    await clickhouse.close();
    await kafka.close();
  }
});
