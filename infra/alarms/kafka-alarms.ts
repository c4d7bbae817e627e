/** Alarms on Amazon MSK. Express brokers hide disk, heap and replica state, and throttle instead. */
import { groupId, topicName } from "#shared/events/names.ts";
import { type Environment, expressQuota } from "../config/environment.ts";
import type { Alarm, WatchedMetric } from "./alarm.ts";

const LANE = "live";
const MEGABYTE = 1_000_000;

export function kafkaAlarms(environment: Environment): Alarm[] {
  const { kafka } = environment;
  const cluster = { "Cluster Name": `weir-${environment.name}` };
  const metric = (
    name: string,
    statistic: WatchedMetric["statistic"],
    dimensions: Readonly<Record<string, string>> = cluster,
  ): WatchedMetric => ({
    namespace: "AWS/Kafka",
    name,
    dimensions,
    statistic,
  });
  const brokers = Array.from({ length: kafka.brokers }, (_, i) => ({ ...cluster, "Broker ID": String(i + 1) }));
  const perBroker = (make: (dimensions: Readonly<Record<string, string>>, suffix: string) => Alarm): Alarm[] =>
    brokers.map((dimensions) => make(dimensions, `broker-${dimensions["Broker ID"]}`));
  const minute = { is: ">", periodS: 60, missing: "notBreaching" } as const;
  const broker = { runbook: "kafka-broker", ...minute } as const;
  return [
    {
      id: "kafka-controller",
      ...broker,
      means: "Kafka has no controller: no leader can change",
      severity: "page",
      metric: metric("ActiveControllerCount", "Maximum"),
      is: "<",
      threshold: 1,
      points: [5, 5],
      missing: "breaching",
    },
    ...perBroker((dimensions, suffix) => ({
      id: `kafka-cpu-${suffix}`,
      ...broker,
      means: "a broker has no headroom left for another's load",
      severity: "ticket",
      metric: {
        expression: "user + system",
        of: { user: metric("CpuUser", "Average", dimensions), system: metric("CpuSystem", "Average", dimensions) },
      },
      threshold: 60,
      points: [5, 5],
    })),
    ...perBroker((dimensions, suffix) => ({
      id: `kafka-connections-${suffix}`,
      ...broker,
      means: "IAM connections near the broker's limit of 3,000",
      severity: "ticket",
      metric: metric("ClientConnectionCount", "Maximum", { ...dimensions, "Client Authentication": "IAM" }),
      threshold: 2_400,
      points: [3, 5],
    })),
    ...(kafka.brokerType === "standard"
      ? standardAlarms(metric, perBroker, broker)
      : expressAlarms(environment, metric, perBroker, broker)),
    ...(["validator", "processor"] as const).map((stage): Alarm => {
      const topic = topicName(LANE, stage === "validator" ? "raw" : "valid");
      const group = groupId({ lane: LANE, generation: environment.generation }, stage);
      return {
        id: `kafka-time-lag-${stage}`,
        runbook: stage === "validator" ? "validator" : "processor-lag",
        ...minute,
        means: `${group} is a minute behind on ${topic}, as the brokers see it`,
        severity: "page",
        metric: metric("EstimatedMaxTimeLag", "Maximum", { ...cluster, "Consumer Group": group, Topic: topic }),
        threshold: 60,
        points: [3, 5],
      };
    }),
  ];
}

type MetricOf = (name: string, statistic: WatchedMetric["statistic"], dimensions?: Readonly<Record<string, string>>) => WatchedMetric;
type PerBroker = (make: (dimensions: Readonly<Record<string, string>>, suffix: string) => Alarm) => Alarm[];
type Common = Pick<Alarm, "runbook" | "is" | "periodS" | "missing">;

function standardAlarms(metric: MetricOf, perBroker: PerBroker, broker: Common): Alarm[] {
  return [
    {
      id: "kafka-offline-partitions",
      ...broker,
      means: "partitions have no leader: their data is unavailable",
      severity: "page",
      metric: metric("OfflinePartitionsCount", "Sum"),
      threshold: 0,
      points: [1, 1],
    },
    ...perBroker((dimensions, suffix) => ({
      id: `kafka-under-min-isr-${suffix}`,
      ...broker,
      means: "fewer than two replicas in sync: writes with acks=all fail",
      severity: "page",
      metric: metric("UnderMinIsrPartitionCount", "Maximum", dimensions),
      threshold: 0,
      points: [2, 3],
    })),
    ...perBroker((dimensions, suffix) => ({
      id: `kafka-under-replicated-${suffix}`,
      ...broker,
      means: "a replica has been behind for a quarter of an hour",
      severity: "ticket",
      metric: metric("UnderReplicatedPartitions", "Maximum", dimensions),
      periodS: 300,
      threshold: 0,
      points: [3, 3],
    })),
    ...perBroker((dimensions, suffix) => ({
      id: `kafka-disk-${suffix}`,
      ...broker,
      runbook: "kafka-disk",
      means: "a broker's disk is filling faster than it grows",
      severity: "page",
      metric: metric("KafkaDataLogsDiskUsed", "Maximum", dimensions),
      threshold: 85,
      points: [3, 3],
    })),
    ...perBroker((dimensions, suffix) => ({
      id: `kafka-heap-${suffix}`,
      ...broker,
      means: "a broker's memory stays full after collection",
      severity: "ticket",
      metric: metric("HeapMemoryAfterGC", "Maximum", dimensions),
      periodS: 300,
      threshold: 60,
      points: [3, 3],
    })),
  ];
}

function expressAlarms(environment: Environment, metric: MetricOf, perBroker: PerBroker, broker: Common): Alarm[] {
  const quota = expressQuota(environment)!;
  return [
    ...(["ProduceThrottleTime", "FetchThrottleTime"] as const).flatMap((name) =>
      perBroker((dimensions, suffix) => ({
        id: `kafka-${name === "ProduceThrottleTime" ? "produce" : "fetch"}-throttle-${suffix}`,
        ...broker,
        runbook: "kafka-throttle",
        means: "a broker is over its quota and slows clients down",
        severity: "page",
        metric: metric(name, "Average", dimensions),
        threshold: 0,
        points: [5, 5],
      })),
    ),
    ...(["in", "out"] as const).flatMap((way) =>
      perBroker((dimensions, suffix) => ({
        id: `kafka-bytes-${way}-${suffix}`,
        ...broker,
        runbook: "kafka-throttle",
        means: `a broker is above four fifths of what it may take ${way} for long`,
        severity: "ticket",
        metric: metric(way === "in" ? "BytesInPerSec" : "BytesOutPerSec", "Average", dimensions),
        threshold: quota[way] * MEGABYTE * 0.8,
        points: [10, 15],
      })),
    ),
    {
      id: "kafka-storage",
      ...broker,
      runbook: "kafka-disk",
      means: "more is stored than the rate and the retention explain",
      severity: "ticket",
      metric: metric("StorageUsed", "Maximum"),
      // Raw, valid and clean events of seven days at half a kilobyte each, and as much again.
      threshold: environment.alarms.eventsPerS * 500 * 3 * 604_800 * 2,
      periodS: 3_600,
      points: [3, 3],
    },
  ];
}
