/** Alarms on what the pipeline says of itself: its promises first. */
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { METRICS, METRICS_NAMESPACE, type PlainMetricName } from "#shared/telemetry/metrics-catalogue.ts";
import type { Environment } from "../config/environment.ts";
import type { Alarm, WatchedMetric } from "./alarm.ts";

const LANE = "live";

export function ownMetric(environment: Environment, name: PlainMetricName, statistic: WatchedMetric["statistic"]): WatchedMetric {
  return {
    namespace: METRICS_NAMESPACE,
    name,
    dimensions: { service: METRICS[name].emitter, environment: environment.name, lane: LANE },
    statistic,
  };
}

const minute = { is: ">", periodS: 60, missing: "notBreaching" } as const;
const lag = { runbook: "processor-lag", ...minute, points: [3, 5] } as const;

function own(
  environment: Environment,
  name: PlainMetricName,
  statistic: WatchedMetric["statistic"],
  rest: Omit<Alarm, "metric" | "own">,
): Alarm {
  return { ...rest, metric: ownMetric(environment, name, statistic), own: name };
}

export function pipelineAlarms(environment: Environment): Alarm[] {
  return [
    ...lagAlarms(environment),
    ...recoveryAlarms(environment),
    ...validatorAlarms(environment),
    ...deliveryAlarms(environment),
    ...latencyAlarms(environment),
    ...qualityAlarms(environment),
  ];
}

function lagAlarms(environment: Environment): Alarm[] {
  return [
    own(environment, "TimeLagSeconds", "Maximum", {
      id: "processor-lag",
      ...lag,
      means: "a partition is half a minute behind",
      severity: "ticket",
      threshold: 30,
    }),
    own(environment, "TimeLagSeconds", "Maximum", {
      id: "processor-lag-high",
      ...lag,
      means: "a partition is a minute behind: hot values and alerts are late",
      severity: "page",
      threshold: 60,
      missing: "breaching",
    }),
    own(environment, "WatermarkLagSeconds", "Maximum", {
      id: "watermark-lag",
      runbook: "processor-lag",
      ...minute,
      points: [5, 5],
      means: "windows close late: one partition's event time does not move",
      severity: "ticket",
      threshold: 120,
    }),
    own(environment, "CheckpointAgeSeconds", "Maximum", {
      id: "checkpoint-age",
      runbook: "checkpoint",
      ...minute,
      points: [3, 5],
      means: "a recovery would replay more than five minutes",
      severity: "page",
      threshold: 300,
      missing: "breaching",
    }),
    own(environment, "CheckpointFailures", "Sum", {
      id: "checkpoint-failures",
      runbook: "checkpoint",
      ...minute,
      points: [2, 5],
      means: "snapshots cannot be written; the ones before stay good",
      severity: "ticket",
      threshold: 0,
    }),
  ];
}

function recoveryAlarms(environment: Environment): Alarm[] {
  return [
    own(environment, "SessionsLost", "Sum", {
      id: "sessions-lost",
      runbook: "processor-recovery",
      ...minute,
      points: [3, 5],
      means: "tasks go back to recovery again and again",
      severity: "page",
      threshold: 3,
    }),
    own(environment, "PartitionRefused", "Maximum", {
      id: "partition-refused",
      runbook: "partition-refused",
      ...minute,
      points: [2, 3],
      means: "a partition cannot start safely and waits for a person; the others go on",
      severity: "page",
      threshold: 0,
    }),
    own(environment, "Fenced", "Sum", {
      id: "fenced",
      runbook: "processor-recovery",
      ...minute,
      points: [3, 5],
      means: "partitions are taken from one another without a deployment",
      severity: "ticket",
      threshold: 0,
    }),
    own(environment, "TxnUnknownOutcome", "Sum", {
      id: "transaction-unknown",
      runbook: "processor-recovery",
      ...minute,
      points: [3, 5],
      means: "commits get no answer: brokers or the network, nothing is lost",
      severity: "ticket",
      threshold: 0,
    }),
    own(environment, "CommitDurationMs", "p99", {
      id: "commit-slow",
      runbook: "latency",
      ...minute,
      points: [3, 5],
      means: "transactions alone eat the 100 ms that an event may take",
      severity: "ticket",
      threshold: 80,
    }),
    own(environment, "EventLoopDelayMs", "Maximum", {
      id: "event-loop-delay",
      runbook: "latency",
      ...minute,
      points: [5, 5],
      means: "the processor's main thread is too busy to keep its group's heartbeats",
      severity: "ticket",
      threshold: 500,
    }),
  ];
}

/** Missing is well: without events there is no latency, and that none come is another alarm's matter. */
function latencyAlarms(environment: Environment): Alarm[] {
  return [
    own(environment, "EndToEndMs", "p99", {
      id: "end-to-end",
      runbook: "latency",
      ...minute,
      points: [3, 5],
      means: "one epoch in a hundred takes longer than the promised 100 ms from events.raw to its outputs committed",
      severity: "ticket",
      threshold: 100,
    }),
    own(environment, "EndToEndMs", "p99", {
      id: "end-to-end-high",
      runbook: "latency",
      ...minute,
      points: [3, 5],
      means: "events take more than a second from events.raw to their outputs committed: hot values and alerts are no longer live",
      severity: "page",
      threshold: 1_000,
    }),
  ];
}

function validatorAlarms(environment: Environment): Alarm[] {
  return [
    own(environment, "BatchFailures", "Sum", {
      id: "validator-batches",
      runbook: "validator",
      ...minute,
      points: [3, 5],
      means: "invocations throw, so batches of their partitions come again",
      severity: "page",
      threshold: 0,
    }),
    own(environment, "RecordAgeMs", "p99", {
      id: "validator-age",
      runbook: "validator",
      ...minute,
      points: [3, 5],
      means: "events wait half a minute before they are validated",
      severity: "page",
      threshold: 30_000,
    }),
    own(environment, "RulesFailingSeconds", "Maximum", {
      id: "rules-unreadable",
      runbook: "rules",
      ...minute,
      points: [3, 5],
      means: "the published rules cannot be read; the last good ones go on",
      severity: "ticket",
      threshold: 300,
    }),
  ];
}

function qualityAlarms(environment: Environment): Alarm[] {
  return QUALITY_DIMENSIONS.map(({ name, metric, targetPercent }) =>
    own(environment, metric, "Minimum", {
      id: `quality-${name}`,
      runbook: "data-quality",
      ...minute,
      is: "<",
      // One odd event in a quiet minute is no trend.
      points: [5, 5],
      means: `the ${name} of what producers send stays below ${targetPercent} %`,
      severity: "ticket",
      threshold: targetPercent,
    }),
  );
}

function deliveryAlarms(environment: Environment): Alarm[] {
  const { eventsFloorPer5Min } = environment.alarms;
  return [
    own(environment, "SinkOffsetLag", "Maximum", {
      id: "sink-lag",
      runbook: "sinks",
      ...minute,
      points: [3, 5],
      means: "a store is behind the committed output",
      severity: "page",
      threshold: 1_000,
      missing: "breaching",
    }),
    own(environment, "SinkRetries", "Sum", {
      id: "sink-retries",
      runbook: "sinks",
      ...minute,
      points: [5, 5],
      means: "a store does not take what it is given",
      severity: "ticket",
      threshold: 0,
    }),
    {
      id: "dead-letter-ratio",
      runbook: "dead-letters",
      means: "more than one event in twenty becomes a dead letter: a producer's release, or a rule's",
      severity: "ticket",
      metric: {
        expression: "IF(rows > 100, 100 * letters / rows, 0)",
        of: { letters: ownMetric(environment, "DeadLetters", "Sum"), rows: ownMetric(environment, "RowsIn", "Sum") },
      },
      own: "DeadLetters",
      ...minute,
      points: [3, 5],
      threshold: 5,
    },
    {
      id: "late-ratio",
      runbook: "dead-letters",
      means: "more than one event in a hundred comes after its window closed",
      severity: "ticket",
      metric: {
        expression: "IF(rows > 100, 100 * late / rows, 0)",
        of: { late: ownMetric(environment, "Late", "Sum"), rows: ownMetric(environment, "RowsIn", "Sum") },
      },
      own: "Late",
      ...minute,
      points: [5, 5],
      threshold: 1,
    },
    {
      id: "partitions-unowned",
      runbook: "processor-recovery",
      means: "some partition is processed by nobody",
      severity: "page",
      // Every task tells its own share each ten seconds: summed over a minute it is six times the share.
      metric: { expression: "running / 6", of: { running: ownMetric(environment, "PartitionsRunning", "Sum") } },
      own: "PartitionsRunning",
      is: "<",
      threshold: environment.partitions * 0.95,
      periodS: 60,
      points: [5, 5],
      missing: "breaching",
    },
    ...(eventsFloorPer5Min === 0
      ? []
      : [
          own(environment, "EventsIn", "Sum", {
            id: "events-stopped",
            runbook: "events-stopped",
            means: "fewer events than ever come in: producers, network or mapping",
            severity: "page",
            is: "<",
            threshold: eventsFloorPer5Min,
            periodS: 300,
            points: [2, 2],
            missing: "breaching",
          }),
        ]),
  ];
}
