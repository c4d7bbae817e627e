/** The three environments. dev is the smallest that is still the same system; staging is prod's shape at a twentieth; prod carries 1 M events/s. */
import { type Environment, type EnvironmentName, parseEnvironment } from "./environment.ts";

const REGION = "eu-central-1";
/** RFC 2606: replace by your own before the first deployment; SNS asks each address to confirm. */
const ON_CALL = "on-call@example.com";
const TEAM = "team@example.com";

const dev = {
  name: "dev",
  region: REGION,
  standby: null,
  hasExperiments: false,
  isDurable: false,
  network: { cidr: "10.10.0.0/16", natGateways: 1, hasInterfaceEndpoints: false },
  partitions: 8,
  generation: 1,
  kafka: {
    version: "3.9.x.kraft",
    brokerType: "standard",
    instanceType: "kafka.m7g.large",
    brokers: 3,
    volumeGib: 50,
    volumeGibMax: 200,
    hasScramLogin: true,
    monitoring: "DEFAULT",
  },
  validator: { memoryMib: 1_024, batchSize: 1_000, timeoutS: 30, pollers: 1, provisionedConcurrency: 0, reservedConcurrency: null },
  processor: { cpu: 1_024, memoryMib: 4_096, tasks: 1, tasksMax: 2, workers: 1 },
  sinks: { cpu: 512, memoryMib: 2_048 },
  api: { ratePerS: 50, burst: 100, provisionedConcurrency: 0, reservedConcurrency: null },
  valkey: { nodeType: "cache.t4g.small", replicas: 0, groups: 1 },
  postgres: { instanceClass: "t4g.micro", storageGib: 20, isMultiAz: false },
  clickhouse: {
    version: "26.7",
    replicas: 1,
    keepers: 1,
    instanceType: "t4g.large",
    keeperInstanceType: "t4g.small",
    volumeGib: 150,
    volumeIops: 3_000,
    volumeMbPerS: 125,
  },
  logRetentionDays: 7,
  backupRetentionDays: 7,
  alarms: { pageTo: [], ticketTo: [TEAM], eventsPerS: 500, eventsFloorPer5Min: 0 },
  budget: { monthlyUsd: 1_000, alertTo: [TEAM] },
} as const;

const staging = {
  ...dev,
  name: "staging",
  isDurable: true,
  network: { cidr: "10.20.0.0/16", natGateways: 1, hasInterfaceEndpoints: true },
  partitions: 64,
  kafka: {
    version: "3.9.x.kraft",
    brokerType: "express",
    instanceType: "express.m7g.large",
    brokers: 3,
    hasScramLogin: false,
    monitoring: "PER_BROKER",
  },
  validator: { memoryMib: 1_769, batchSize: 1_000, timeoutS: 30, pollers: 4, provisionedConcurrency: 4, reservedConcurrency: 40 },
  processor: { cpu: 2_048, memoryMib: 8_192, tasks: 2, tasksMax: 8, workers: 2 },
  sinks: { cpu: 1_024, memoryMib: 4_096 },
  api: { ratePerS: 200, burst: 400, provisionedConcurrency: 1, reservedConcurrency: 20 },
  valkey: { nodeType: "cache.m7g.large", replicas: 1, groups: 1 },
  postgres: { instanceClass: "t4g.medium", storageGib: 50, isMultiAz: true },
  clickhouse: {
    version: "26.7",
    replicas: 2,
    keepers: 3,
    instanceType: "r7g.xlarge",
    keeperInstanceType: "t4g.small",
    volumeGib: 1_000,
    volumeIops: 3_000,
    volumeMbPerS: 250,
  },
  logRetentionDays: 30,
  backupRetentionDays: 90,
  alarms: { pageTo: [TEAM], ticketTo: [TEAM], eventsPerS: 50_000, eventsFloorPer5Min: 0 },
  budget: { monthlyUsd: 6_000, alertTo: [TEAM] },
} as const;

const prod = {
  ...staging,
  name: "prod",
  network: { cidr: "10.30.0.0/16", natGateways: 3, hasInterfaceEndpoints: true },
  // Five batches in flight per poller, each of a partition of its own.
  partitions: 320,
  kafka: {
    version: "3.9.x.kraft",
    brokerType: "express",
    instanceType: "express.m7g.8xlarge",
    brokers: 3,
    hasScramLogin: false,
    monitoring: "PER_TOPIC_PER_BROKER",
  },
  // `weir plan --env prod` derives these; test/unit/cli/plan.test.ts holds both together.
  validator: { memoryMib: 1_769, batchSize: 2_000, timeoutS: 30, pollers: 80, provisionedConcurrency: 80, reservedConcurrency: 400 },
  processor: { cpu: 4_096, memoryMib: 16_384, tasks: 12, tasksMax: 24, workers: 4 },
  sinks: { cpu: 8_192, memoryMib: 32_768 },
  api: { ratePerS: 2_000, burst: 4_000, provisionedConcurrency: 4, reservedConcurrency: 100 },
  valkey: { nodeType: "cache.r7g.xlarge", replicas: 2, groups: 1 },
  postgres: { instanceClass: "r7g.large", storageGib: 200, isMultiAz: true },
  clickhouse: {
    version: "26.7",
    replicas: 2,
    keepers: 3,
    instanceType: "r7g.8xlarge",
    keeperInstanceType: "t4g.medium",
    volumeGib: 16_384,
    volumeIops: 16_000,
    volumeMbPerS: 1_000,
  },
  logRetentionDays: 90,
  alarms: { pageTo: [ON_CALL], ticketTo: [TEAM], eventsPerS: 1_000_000, eventsFloorPer5Min: 1_000_000 },
  budget: { monthlyUsd: 95_000, alertTo: [TEAM, ON_CALL] },
} as const;

const INPUTS: Readonly<Record<EnvironmentName, unknown>> = { dev, staging, prod };

export const ENVIRONMENT_NAMES = Object.keys(INPUTS) as EnvironmentName[];

/** @throws ConfigError */
export function environmentNamed(name: string): Environment {
  return parseEnvironment(Object.hasOwn(INPUTS, name) ? INPUTS[name as EnvironmentName] : { name });
}
