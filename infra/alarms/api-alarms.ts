/** Alarms on the read API: it fails, it is slow, it refuses, or it answers with half of what it stands on. */
import type { Environment } from "../config/environment.ts";
import { apiName } from "../constructs/api-function.ts";
import type { Alarm, WatchedMetric } from "./alarm.ts";
import { ownMetric } from "./pipeline-alarms.ts";

const common = { runbook: "api", is: ">", periodS: 60, points: [3, 5], missing: "notBreaching" } as const;
/** Below so many requests a minute a single one would be a large share. */
const FEW = 20;

export function apiAlarms(environment: Environment): Alarm[] {
  const { ratePerS } = environment.api;
  const gateway = (name: string, statistic: WatchedMetric["statistic"]): WatchedMetric => ({
    namespace: "AWS/ApiGateway",
    name,
    dimensions: { ApiName: apiName(environment) },
    statistic,
  });
  return [
    {
      ...common,
      id: "api-errors",
      means: "more than one request in a hundred gets no answer from the read API",
      severity: "page",
      metric: {
        expression: `IF(requests > ${FEW}, 100 * errors / requests, 0)`,
        of: { errors: gateway("5XXError", "Sum"), requests: gateway("Count", "Sum") },
      },
      threshold: 1,
    },
    {
      ...common,
      id: "api-slow",
      means: "one request in a hundred waits longer than a second",
      severity: "ticket",
      metric: gateway("Latency", "p99"),
      threshold: 1_000,
    },
    {
      ...common,
      id: "api-throttled",
      means: "requests are refused because all environments of the function are busy",
      severity: "ticket",
      metric: {
        namespace: "AWS/Lambda",
        name: "Throttles",
        dimensions: { FunctionName: apiName(environment) },
        statistic: "Sum",
      },
      threshold: 0,
      points: [2, 3],
    },
    {
      ...common,
      id: "api-rate",
      means: "requests come near the rate from which on they are refused",
      severity: "ticket",
      metric: gateway("Count", "Sum"),
      threshold: ratePerS * 60 * 0.8,
    },
    {
      ...common,
      id: "api-degraded",
      means: "one store answers for both: the other is down, or behind",
      severity: "ticket",
      metric: {
        expression: `IF(reads > ${FEW}, 100 * degraded / reads, 0)`,
        of: { degraded: ownMetric(environment, "ReadsDegraded", "Sum"), reads: ownMetric(environment, "Reads", "Sum") },
      },
      own: "ReadsDegraded",
      threshold: 5,
    },
  ];
}
