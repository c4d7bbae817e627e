/** Alarms on what runs the work: the validator's function and mapping, and the services. */
import type { Environment } from "../config/environment.ts";
import { operationName, OPERATIONS } from "../constructs/operation-function.ts";
import type { Alarm, WatchedMetric } from "./alarm.ts";

export interface ComputeNames {
  readonly functionName: string;
  /** `FUNCTION:live` */
  readonly aliasResource: string;
  readonly mappingId: string;
  readonly clusterName: string;
  readonly services: Readonly<Record<"processor" | "sinks", string>>;
}

const minute = { is: ">", periodS: 60, missing: "notBreaching" } as const;

export function computeAlarms(environment: Environment, names: ComputeNames): Alarm[] {
  return [
    ...functionAlarms(environment, names),
    ...mappingAlarms(environment, names),
    ...serviceAlarms(names),
    ...operationAlarms(environment),
  ];
}

/** Nobody may be watching: CloudFormation calls one of them, scripts may call the others. */
function operationAlarms(environment: Environment): Alarm[] {
  return OPERATIONS.map((operation) => ({
    id: `operation-${operation}`,
    runbook: "operations",
    ...minute,
    means: `a call of the function ${operation} failed`,
    severity: "ticket",
    metric: {
      namespace: "AWS/Lambda",
      name: "Errors",
      dimensions: { FunctionName: operationName(environment, operation) },
      statistic: "Sum",
    },
    threshold: 0,
    points: [1, 1],
  }));
}

function functionAlarms({ validator }: Environment, { functionName, aliasResource }: ComputeNames): Alarm[] {
  const metric = (name: string, statistic: WatchedMetric["statistic"]): WatchedMetric => ({
    namespace: "AWS/Lambda",
    name,
    dimensions: { FunctionName: functionName, Resource: aliasResource },
    statistic,
  });
  return [
    {
      id: "validator-errors",
      runbook: "validator",
      ...minute,
      means: "more than one invocation in a hundred fails",
      severity: "page",
      metric: {
        expression: "IF(invocations > 0, 100 * errors / invocations, 0)",
        of: { errors: metric("Errors", "Sum"), invocations: metric("Invocations", "Sum") },
      },
      threshold: 1,
      points: [3, 5],
    },
    {
      id: "validator-throttles",
      runbook: "validator-concurrency",
      ...minute,
      means: "no environment is free for a batch: its partition waits",
      severity: "page",
      metric: metric("Throttles", "Sum"),
      threshold: 0,
      points: [2, 3],
    },
    {
      id: "validator-slow",
      runbook: "validator",
      ...minute,
      means: "invocations come near their time limit",
      severity: "page",
      metric: metric("Duration", "p99"),
      threshold: validator.timeoutS * 800,
      points: [3, 5],
    },
    ...(validator.provisionedConcurrency === 0
      ? []
      : [
          {
            id: "validator-provisioned",
            runbook: "validator-concurrency",
            ...minute,
            means: "all warm environments are busy: the next batch starts cold",
            severity: "ticket",
            metric: metric("ProvisionedConcurrencyUtilization", "Maximum"),
            threshold: 0.9,
            points: [5, 5],
          } satisfies Alarm,
        ]),
  ];
}

function mappingAlarms({ alarms }: Environment, { mappingId }: ComputeNames): Alarm[] {
  const metric = (name: string, statistic: WatchedMetric["statistic"]): WatchedMetric => ({
    namespace: "AWS/Lambda",
    name,
    dimensions: { EventSourceMappingUUID: mappingId },
    statistic,
  });
  const errors = (["PollingErrorCount", "CommitErrorCount", "FailedInvokeEventCount"] as const).map((name): Alarm => ({
    id: `mapping-${name === "PollingErrorCount" ? "polling" : name === "CommitErrorCount" ? "commits" : "invokes"}`,
    runbook: "mapping",
    ...minute,
    means: `the mapping's pollers report ${name}`,
    severity: name === "PollingErrorCount" ? "page" : "ticket",
    metric: metric(name, "Sum"),
    threshold: 0,
    points: [3, 5],
  }));
  return [
    ...errors,
    {
      id: "mapping-dropped",
      runbook: "mapping",
      ...minute,
      means: "the mapping gave events up, which its settings forbid: events are lost behind events.raw",
      severity: "page",
      metric: metric("DroppedEventCount", "Sum"),
      threshold: 0,
      points: [1, 1],
    },
    {
      id: "mapping-lag",
      runbook: "validator",
      ...minute,
      means: "half a minute of events waits in events.raw",
      severity: "ticket",
      metric: metric("SumOffsetLag", "Maximum"),
      threshold: alarms.eventsPerS * 30,
      points: [3, 5],
    },
    {
      id: "mapping-pollers",
      runbook: "mapping",
      ...minute,
      means: "the mapping has no poller",
      severity: "page",
      metric: metric("ProvisionedPollers", "Maximum"),
      is: "<",
      threshold: 1,
      points: [5, 5],
      missing: "breaching",
    },
  ];
}

function serviceAlarms({ clusterName, services }: ComputeNames): Alarm[] {
  return Object.entries(services).flatMap(([part, serviceName]): Alarm[] => {
    const dimensions = { ClusterName: clusterName, ServiceName: serviceName };
    const insight = (name: string): WatchedMetric => ({ namespace: "ECS/ContainerInsights", name, dimensions, statistic: "Maximum" });
    const use = (name: string): WatchedMetric => ({ namespace: "AWS/ECS", name, dimensions, statistic: "Maximum" });
    return [
      {
        id: `${part}-tasks`,
        runbook: "service-down",
        ...minute,
        means: `fewer ${part} tasks run than should`,
        severity: "page",
        metric: { expression: "desired - running", of: { desired: insight("DesiredTaskCount"), running: insight("RunningTaskCount") } },
        threshold: 0,
        points: [5, 5],
        missing: "breaching",
      },
      {
        id: `${part}-cpu`,
        runbook: "service-size",
        ...minute,
        means: `${part} tasks are out of processor`,
        severity: "ticket",
        metric: use("CPUUtilization"),
        threshold: 90,
        points: [5, 5],
      },
      {
        id: `${part}-memory`,
        runbook: "service-size",
        ...minute,
        means: `${part} tasks are near the end of their memory`,
        severity: "page",
        metric: use("MemoryUtilization"),
        threshold: 90,
        points: [3, 3],
      },
    ];
  });
}
