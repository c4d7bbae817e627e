/**
 * What one environment is, typed and checked: every number that costs money or bounds a failure stands in config/environments.ts and is held
 * here against AWS's limits that no validator knows. Prices stand elsewhere. Sources of the limits: the Amazon MSK developer guide ("Express broker
 * quotas", "Best practices for Standard brokers"), the AWS Lambda guide ("Kafka event poller scaling modes").
 */
import { z } from "zod";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { ConfigError } from "#shared/kernel/errors.ts";

/** Replicas per broker that AWS recommends at most; beyond its maximum even a configuration update or a SCRAM association is refused. */
const REPLICAS_PER_BROKER: Readonly<Record<string, number>> = {
  "kafka.m7g.large": 1_000,
  "kafka.m7g.xlarge": 1_000,
  "kafka.m7g.2xlarge": 2_000,
  "kafka.m7g.4xlarge": 4_000,
  "kafka.m7g.8xlarge": 4_000,
  "express.m7g.large": 1_000,
  "express.m7g.xlarge": 1_000,
  "express.m7g.2xlarge": 2_500,
  "express.m7g.4xlarge": 6_000,
  "express.m7g.8xlarge": 12_000,
  "express.m7g.16xlarge": 12_000,
};

/** Sustained MB/s that an Express broker takes in and gives out; above it the broker throttles. */
const EXPRESS_QUOTA_MB_PER_S: Readonly<Record<string, { readonly in: number; readonly out: number }>> = {
  "express.m7g.large": { in: 15.6, out: 31.2 },
  "express.m7g.xlarge": { in: 31.2, out: 62.5 },
  "express.m7g.2xlarge": { in: 62.5, out: 125 },
  "express.m7g.4xlarge": { in: 124.9, out: 249.8 },
  "express.m7g.8xlarge": { in: 250, out: 500 },
  "express.m7g.16xlarge": { in: 500, out: 1_000 },
};

/** `__consumer_offsets` and `__transaction_state`: 50 partitions each. */
const INTERNAL_PARTITIONS = 100;

/** Fargate's pairs of CPU units and MiB for tasks of 1 vCPU and more: memory between 2 and 8 times the CPU, in whole GiB. */
const task = z.strictObject({
  cpu: z.union([z.literal(512), z.literal(1_024), z.literal(2_048), z.literal(4_096), z.literal(8_192), z.literal(16_384)]),
  memoryMib: z.int().min(1_024).max(122_880),
});

const region = z.string().regex(/^[a-z]{2}-[a-z]+-\d$/);
const cidr = z.string().regex(/^10\.\d+\.0\.0\/16$/, "a 10.x.0.0/16");

const schema = z.strictObject({
  name: z.enum(["dev", "staging", "prod"]),
  region,
  /** Of an environment's two regions; only {@link standbyOf} says standby. */
  site: z.enum(["home", "standby"]).default("home"),
  /** The region that takes over when this one is lost (docs/DEPLOY.md, "A second region"). Only for a cluster that stands already. */
  standby: z.strictObject({ region, cidr }).nullable(),
  /** Templates of experiments that break parts on purpose (AWS FIS). None starts by itself. */
  hasExperiments: z.boolean(),
  /** Stateful resources outlive their stack, and stacks refuse to be deleted. */
  isDurable: z.boolean(),
  network: z.strictObject({
    cidr,
    natGateways: z.union([z.literal(1), z.literal(3)]),
    /** Interface endpoints cost by the hour and zone; without them the same calls leave through NAT, over TLS. */
    hasInterfaceEndpoints: z.boolean(),
  }),
  /** Of every events topic; fixed for a generation. */
  partitions: z.int().min(1).max(1_024),
  generation: z.int().min(1),
  kafka: z.strictObject({
    /** KRaft only: a cluster made with ZooKeeper can never change. */
    version: z.enum(["3.9.x.kraft", "4.1.x.kraft"]),
    brokerType: z.enum(["standard", "express"]),
    instanceType: z.string().refine((type) => REPLICAS_PER_BROKER[type] !== undefined, "not a known Graviton broker size"),
    brokers: z.int().multipleOf(3).min(3).max(30),
    /** Standard brokers only; it grows by itself up to volumeGibMax and never shrinks. */
    volumeGib: z.int().min(1).max(16_384).optional(),
    volumeGibMax: z.int().min(1).max(16_384).optional(),
    /**
     * Whether a login is made with which producers come by SCRAM, beside IAM. Access lists let it write events.raw within a quota and nothing else
     * (constructs/kafka-acls.ts); it is a password all the same, held outside this account and rotated by hand.
     */
    hasScramLogin: z.boolean(),
    monitoring: z.enum(["DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER"]),
  }),
  validator: z.strictObject({
    memoryMib: z.int().min(512).max(10_240),
    batchSize: z.int().min(1).max(10_000),
    timeoutS: z.int().min(5).max(900),
    /** Minimum = maximum: pollers that come and go rebalance, and each rebalance is a stall. */
    pollers: z.int().min(1).max(200),
    /** 0 = none. */
    provisionedConcurrency: z.int().min(0),
    /** Keeps the mapping's share free of other functions of the account; null where the account's quota is too small to share. */
    reservedConcurrency: z.int().min(1).nullable(),
  }),
  processor: task.extend({
    tasks: z.int().min(1),
    tasksMax: z.int().min(1),
    /** Threads a task; each needs at least one partition. */
    workers: z.int().min(1).max(64),
  }),
  /** One task: it delivers every partition, and has no members to share them with. */
  sinks: task,
  api: z.strictObject({
    /** Requests a second, and how many more at once, before API Gateway answers 429. */
    ratePerS: z.int().min(1).max(10_000),
    burst: z.int().min(1).max(5_000),
    /** Warm environments; 0 = the first request after silence waits for a start. */
    provisionedConcurrency: z.int().min(0).max(100),
    /** Of the account's, so that readers cannot take the validator's; null where the account's quota is too small to share. */
    reservedConcurrency: z.int().min(1).max(500).nullable(),
  }),
  valkey: z.strictObject({
    nodeType: z.string().startsWith("cache."),
    replicas: z.int().min(0).max(5),
    /** Replication groups that share the partitions: p is on group p mod groups. Changed, hot values are made again from the log (docs/runbooks/valkey.md). */
    groups: z.int().min(1).max(16),
  }),
  postgres: z.strictObject({
    instanceClass: z.string().regex(/^[a-z0-9]+\.[a-z0-9]+$/),
    storageGib: z.int().min(20),
    isMultiAz: z.boolean(),
  }),
  clickhouse: z.strictObject({
    version: z.string().regex(/^\d+\.\d+$/),
    replicas: z.union([z.literal(1), z.literal(2)]),
    keepers: z
      .int()
      .refine((keepers) => keepers % 2 === 1 && keepers <= 3, "1 or 3: an even number of voters survives no more than one fewer"),
    instanceType: z.string(),
    keeperInstanceType: z.string(),
    volumeGib: z.int().min(10).max(16_384),
    volumeIops: z.int().min(3_000).max(16_000),
    volumeMbPerS: z.int().min(125).max(1_000),
  }),
  logRetentionDays: z.union([z.literal(7), z.literal(30), z.literal(90)]),
  backupRetentionDays: z.int().min(7),
  alarms: z.strictObject({
    /** Mail addresses; a pager is subscribed to the topic by its own integration. */
    pageTo: z.array(z.email()),
    ticketTo: z.array(z.email()),
    /** Rate that the environment is sized for; thresholds derive from it. */
    eventsPerS: z.int().min(1),
    /** Below this many events in five minutes something upstream has stopped; 0 = quiet is normal. */
    eventsFloorPer5Min: z.int().min(0),
  }),
  budget: z.strictObject({ monthlyUsd: z.number().positive(), alertTo: z.array(z.email()) }),
});

export type Environment = Readonly<z.output<typeof schema>>;
export type EnvironmentName = Environment["name"];

/** @throws ConfigError naming every problem, limits that bind two numbers together included. */
export function parseEnvironment(input: unknown): Environment {
  const parsed = schema.safeParse(input);
  if (!parsed.success) throw new ConfigError(parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`));
  const { data } = parsed;
  const problems = [...kafkaProblems(data), ...workProblems(data), ...durabilityProblems(data), ...standbyProblems(data)];
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(data);
}

/** The same environment in its other region, where nothing is replicated further; undefined when it has none. */
export function standbyOf(environment: Environment): Environment | undefined {
  const { standby, network } = environment;
  if (standby === null) return undefined;
  return parseEnvironment({
    ...environment,
    site: "standby",
    region: standby.region,
    network: { ...network, cidr: standby.cidr },
    standby: null,
    hasExperiments: false,
  });
}

/** Of what AWS knows by name in all regions at once: stacks of one app, IAM policies, dashboards. */
export function globalName({ name, site }: Pick<Environment, "name" | "site">): string {
  return site === "home" ? `weir-${name}` : `weir-${name}-standby`;
}

/** Sustained, per broker; undefined for Standard brokers, which disk and network bound. */
export function expressQuota(environment: Environment): { readonly in: number; readonly out: number } | undefined {
  return EXPRESS_QUOTA_MB_PER_S[environment.kafka.instanceType];
}

function kafkaProblems({ kafka, partitions }: Environment): string[] {
  const problems: string[] = [];
  const isExpress = kafka.brokerType === "express";
  if (kafka.instanceType.startsWith("express.") !== isExpress) {
    problems.push(`kafka.instanceType: ${kafka.instanceType} is not of broker type ${kafka.brokerType}`);
  }
  if (isExpress === (kafka.volumeGib !== undefined)) {
    problems.push("kafka.volumeGib: Standard brokers need one, Express brokers have none");
  }
  if (kafka.volumeGib !== undefined && (kafka.volumeGibMax ?? 0) < kafka.volumeGib) problems.push("kafka.volumeGibMax: below volumeGib");
  const specs = topicSpecs("live", partitions, { replicationFactor: 3 });
  const replicas = specs.reduce((sum, spec) => sum + spec.partitions * spec.replicationFactor, INTERNAL_PARTITIONS * 3);
  const perBroker = Math.ceil(replicas / kafka.brokers);
  const limit = REPLICAS_PER_BROKER[kafka.instanceType]!;
  if (perBroker > limit) problems.push(`partitions: ${perBroker} replicas per broker, ${kafka.instanceType} should carry at most ${limit}`);
  return problems;
}

function workProblems({ validator, processor, sinks, api, partitions }: Environment): string[] {
  const problems: string[] = [];
  // Lambda caps pollers at the partitions and has up to five batches in flight per poller, each of another partition.
  if (validator.pollers > partitions) problems.push(`validator.pollers: ${validator.pollers}, but only ${partitions} partitions`);
  if (validator.reservedConcurrency !== null) {
    const inFlight = Math.min(validator.pollers * 5, partitions);
    if (validator.reservedConcurrency < inFlight) problems.push(`validator.reservedConcurrency: below the ${inFlight} batches in flight`);
    if (validator.provisionedConcurrency > validator.reservedConcurrency)
      problems.push("validator.provisionedConcurrency: above the reserved");
  }
  if (api.reservedConcurrency !== null && api.provisionedConcurrency > api.reservedConcurrency)
    problems.push("api.provisionedConcurrency: above the reserved");
  if (processor.tasks > processor.tasksMax) problems.push("processor.tasksMax: below tasks");
  if (processor.tasksMax * processor.workers > partitions) {
    problems.push(
      `processor.tasksMax: ${processor.tasksMax} tasks of ${processor.workers} workers want more than ${partitions} partitions`,
    );
  }
  for (const [name, { cpu, memoryMib }] of Object.entries({ processor, sinks })) {
    const [least, most] = cpu === 512 ? [1_024, 4_096] : [cpu * 2, Math.min(cpu * 8, 122_880)];
    if (memoryMib < least || memoryMib > most || memoryMib % 1_024 !== 0) {
      problems.push(`${name}.memoryMib: Fargate takes ${least} to ${most} in steps of 1024 with ${cpu} CPU units`);
    }
  }
  return problems;
}

function standbyProblems({ standby, region: home, network, isDurable, partitions, valkey }: Environment): string[] {
  const problems: string[] = [];
  if (valkey.groups > partitions) problems.push(`valkey.groups: ${valkey.groups}, but only ${partitions} partitions`);
  if (standby === null) return problems;
  if (standby.region === home) problems.push("standby.region: the same region is lost together with this one");
  if (standby.cidr === network.cidr) problems.push("standby.cidr: producers that reach both networks need two ranges");
  if (!isDurable) problems.push("standby: for durable environments, whose buckets and clusters stay");
  return problems;
}

function durabilityProblems(environment: Environment): string[] {
  if (!environment.isDurable) return [];
  const problems: string[] = [];
  if (environment.valkey.replicas < 1) problems.push("valkey.replicas: a durable environment fails over");
  if (!environment.postgres.isMultiAz) problems.push("postgres.isMultiAz: a durable environment fails over");
  if (environment.clickhouse.replicas < 2 || environment.clickhouse.keepers < 3) {
    problems.push("clickhouse: a durable environment has 2 replicas and 3 keepers");
  }
  if (environment.backupRetentionDays < 90) problems.push("backupRetentionDays: a durable environment keeps backups 90 days");
  if (environment.alarms.pageTo.length === 0) problems.push("alarms.pageTo: nobody would be woken");
  return problems;
}
