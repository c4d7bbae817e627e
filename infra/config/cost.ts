/** What an environment costs a month at a load, part by part, by the dated list of prices.ts. */
import { INVOCATION_MS, type Load, trafficOf } from "./capacity.ts";
import type { Environment } from "./environment.ts";
import { HOURS_PER_MONTH, priceOf } from "./prices.ts";

export interface CostLine {
  readonly part: string;
  readonly usdPerMonth: number;
}

const S_PER_MONTH = HOURS_PER_MONTH * 3_600;
const RETENTION_S = 7 * 86_400;
/** AWS bills a poller unit per 20 MB/s and per ten pollers. */
const POLLERS_PER_UNIT = 4;
/** infra/stacks/network-stack.ts, in three zones. */
const ENDPOINTS = 8;
/** Assumed: alarms, and logs that grow with machines rather than with events. */
const ALARMS = 150;
const LOG_GB: Readonly<Record<Environment["name"], number>> = { dev: 5, staging: 50, prod: 200 };

/** Not in it: KMS, secrets, S3 and its requests, backups, transfer between replicas of ClickHouse, a second region, tax, support. */
export function costOf(environment: Environment, load: Load): CostLine[] {
  const { kafka, validator, processor, sinks, valkey, postgres, clickhouse, network, isDurable } = environment;
  const traffic = trafficOf(load);
  const hours = (part: string, count = 1): number => priceOf(part) * count * HOURS_PER_MONTH;
  const inGb = (traffic.kafkaInMbPerS * S_PER_MONTH) / 1_000;
  const keptGb = (traffic.kafkaInMbPerS * RETENTION_S) / 1_000;
  const isExpress = kafka.brokerType === "express";
  // Two thirds of a producer's bytes cross a zone: partitions are led in all three.
  const crossedGb = (((traffic.compressedRawMbPerS * 2) / 3) * S_PER_MONTH) / 1_000;
  const invocations = (load.eventsPerS / validator.batchSize) * S_PER_MONTH;
  const memoryGb = validator.memoryMib / 1_024;
  const compute = invocations * (INVOCATION_MS / 1_000) * memoryGb * priceOf("lambda compute");
  const provisioned = validator.provisionedConcurrency * memoryGb * S_PER_MONTH * priceOf("lambda provisioned");
  const fargate = (part: { readonly cpu: number; readonly memoryMib: number }, tasks: number): number =>
    hours("fargate cpu", (part.cpu / 1_024) * tasks) + hours("fargate memory", (part.memoryMib / 1_024) * tasks);
  const zones = postgres.isMultiAz ? 2 : 1;
  const disk =
    clickhouse.volumeGib * priceOf("gp3 storage") +
    Math.max(0, clickhouse.volumeIops - 3_000) * priceOf("gp3 iops") +
    Math.max(0, clickhouse.volumeMbPerS - 125) * priceOf("gp3 throughput");
  const lines: [part: string, usd: number][] = [
    ["kafka brokers", hours(kafka.instanceType, kafka.brokers)],
    ["kafka data in", isExpress ? inGb * priceOf("express data in") : 0],
    ["kafka storage", isExpress ? keptGb * priceOf("express storage") : kafka.brokers * (kafka.volumeGib ?? 0) * priceOf("kafka disk")],
    ["producers across zones", crossedGb * priceOf("between zones")],
    ["pollers", hours("poller unit", Math.ceil(validator.pollers / POLLERS_PER_UNIT))],
    ["validator", invocations * priceOf("lambda request") + compute + provisioned],
    ["processor", fargate(processor, processor.tasks)],
    ["sinks", fargate(sinks, 1)],
    ["valkey", hours(valkey.nodeType, (1 + valkey.replicas) * valkey.groups)],
    ["postgres", (hours(`rds.${postgres.instanceClass}`) + postgres.storageGib * priceOf("rds storage")) * zones],
    ["clickhouse machines", hours(clickhouse.instanceType, clickhouse.replicas) + hours(clickhouse.keeperInstanceType, clickhouse.keepers)],
    ["clickhouse disks", disk * clickhouse.replicas],
    ["network", hours("nat gateway", network.natGateways) + (network.hasInterfaceEndpoints ? hours("endpoint", ENDPOINTS * 3) : 0)],
    ["alarms and logs", (isDurable ? ALARMS : ALARMS / 2) * priceOf("cloudwatch alarm") + LOG_GB[environment.name] * priceOf("log data")],
  ];
  return lines.map(([part, usdPerMonth]) => ({ part, usdPerMonth }));
}
