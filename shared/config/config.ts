/**
 * The configuration of every process: one schema, all defaults here, read once in each main. Precedence: environment > file > default.
 * Human units in (`"5s"`, `"1MB"` never appear: the unit is in the name), all problems reported at once, unknown keys refused.
 * This folder is the only reader of process.env.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { ConfigError, toError } from "../kernel/errors.ts";

const lane = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,40}$/, "lower-case letters, digits and dashes, at most 41 characters")
  .describe("whole pipeline of its own over the same code; live = the default one");

const schema = z.strictObject({
  lane: lane.default("live"),
  generation: z.coerce.number().int().min(1).default(1),
  /** A lane of history: no age check, and only a `drain` control record, never an idle tick, closes its last windows. */
  historical: z.stringbool().or(z.boolean()).default(false),
  /** Partitions of every events topic. Fixed per generation. */
  partitions: z.coerce.number().int().min(1).max(1024).default(4),
  /** Folder for snapshots, rules releases, logs; the local stand-in for S3. */
  dataDir: z.string().min(1).default(".weir"),
  /** Where rules releases are published: `s3://bucket/prefix`; empty = in `dataDir`. */
  rulesUrl: z
    .literal("")
    .or(z.string().regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/.*)?$/, "must be s3://bucket/prefix"))
    .default(""),
  /** Where snapshots are kept: `s3://bucket/prefix`; empty = in `dataDir`. */
  snapshotUrl: z
    .literal("")
    .or(z.string().regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/.*)?$/, "must be s3://bucket/prefix"))
    .default(""),

  /** Where backups are kept: a folder or `s3://bucket/prefix`; empty = the folder `<dataDir>-backups`, which outlives the data. */
  backupUrl: z.string().default(""),

  kafka: z.string().min(1).describe("host:port[,host:port]").default("127.0.0.1:9092"),
  /** How to get in: `sasl-scram` and `iam` (Amazon MSK) and `oauth` (a token from a file) always over TLS. */
  kafkaSecurity: z.enum(["none", "tls", "sasl-scram", "iam", "oauth"]).default("none"),
  /** PEM file of the authority that signed the brokers' certificates; empty = the well-known ones. */
  kafkaCaFile: z.string().default(""),
  kafkaUsername: z.string().default(""),
  kafkaPassword: z.string().default(""),
  /** Instead of the two: name or ARN of a Secrets Manager secret that holds {"username", "password"}. */
  kafkaSecret: z.string().default(""),
  kafkaScramMechanism: z.enum(["SCRAM-SHA-256", "SCRAM-SHA-512"]).default("SCRAM-SHA-512"),
  /** Bearer token, read again for every connection: whoever renews it replaces the file. */
  kafkaTokenFile: z.string().default(""),
  clickhouse: z.url().default("http://127.0.0.1:8123"),
  clickhouseUser: z.string().default("default"),
  clickhousePassword: z.string().default(""),
  clickhouseDatabase: z
    .string()
    .regex(/^[a-z_][a-z0-9_]*$/)
    .default("weir"),
  postgres: z.string().min(1).describe("postgres:// connection string").default("postgres://weir@127.0.0.1:5432/weir"),
  redis: z.string().min(1).describe("redis:// connection string").default("redis://127.0.0.1:6379"),

  /** How far event times may run behind the newest one before an event is late. */
  outOfOrdernessMs: z.coerce.number().int().min(0).max(3_600_000).default(5_000),
  /** How far behind the bound an idle partition's watermark is kept. */
  idleMarginMs: z.coerce.number().int().min(0).max(3_600_000).default(5_000),
  /** Same event_id within this much log time = duplicate. */
  dedupHorizonMs: z.coerce.number().int().min(1_000).max(86_400_000).default(600_000),
  /** A cut closes after so many rows or so much log time: the block that ClickHouse gets as one insert. */
  cutRows: z.coerce.number().int().min(1).max(1_000_000).default(65_536),
  cutMs: z.coerce.number().int().min(10).max(60_000).default(1_000),
  /** A quiet partition gets a tick after this long. */
  idleTickMs: z.coerce.number().int().min(50).max(60_000).default(500),
  /** Rows per state table of a partition: beyond it the partition stops with an error that names the table; nothing is evicted silently. */
  maxTableRows: z.coerce.number().int().min(1_000).max(1_000_000_000).default(16_000_000),
  /**
   * Score of each value against what is usual for its user (processor/state/score.ts): weight of the newest value (0.02: about the last fifty count),
   * values before the first score, standard deviations beyond which a row is flagged `anomaly.score`, and the log time without events after which a user
   * starts anew. These and `hoppingWindows` belong to the fold: a generation keeps them.
   */
  scoreAlpha: z.coerce.number().gt(0).max(1).default(0.02),
  scoreWarmUp: z.coerce.number().int().min(1).max(1_000_000).default(30),
  scoreThreshold: z.coerce.number().gt(0).max(1_000).default(4),
  scoreForgetMs: z.coerce.number().int().min(3_600_000).max(2_592_000_000).default(86_400_000),
  /** Hopping windows beside the tumbling and session ones, by size and hop. */
  hoppingWindows: z.enum(["none", "hopping_5m_1m", "hopping_10m_1m", "hopping_1h_5m"]).default("none"),
  snapshotIntervalMs: z.coerce.number().int().min(100).max(3_600_000).default(60_000),
  transactionTimeoutMs: z.coerce.number().int().min(10_000).max(900_000).default(60_000),
  /** Processors that the local starter runs; in the cloud the number of tasks says it. */
  processors: z.coerce.number().int().min(1).max(64).default(1),
  /** Worker threads of a processor; 1 = the main thread does the work, 0 = one less than cores. */
  processorWorkers: z.coerce.number().int().min(0).max(256).default(0),
  /**
   * Name of this processor among its like: who starts under the name of one that died takes its partitions over at once, without waiting for
   * its session to end. Empty = none; two with the same name fence each other.
   */
  processorInstance: z.string().max(100).default(""),
  /** A processor that is silent for so long loses its partitions to the others (brokers take 6 s to 30 min). */
  processorSessionMs: z.coerce.number().int().min(6_000).max(1_800_000).default(10_000),
  /** A partition that refuses to start is tried again so often: its fix is applied from outside, and nobody tells. */
  refusedRetryMs: z.coerce.number().int().min(100).default(30_000),

  /** Event time more than this ahead of log time is rejected, and more than this behind (live sources). */
  maxFutureSkewMs: z.coerce.number().int().min(0).default(300_000),
  maxAgeMs: z.coerce
    .number()
    .int()
    .min(0)
    .default(30 * 86_400_000),
  maxEventBytes: z.coerce.number().int().min(1_024).max(900_000).default(262_144),

  /** Records per invocation of the validator, 1 to 10,000 (the event source mapping's limit). */
  validatorBatchSize: z.coerce.number().int().min(1).max(10_000).default(1_000),
  validatorTimeoutMs: z.coerce.number().int().min(1_000).max(900_000).default(30_000),

  /** `emf` = CloudWatch's embedded metric format on stdout, which Lambda and the awslogs driver turn into metrics. */
  metrics: z.enum(["none", "emf"]).default("none"),
  /** 0 = after every batch; else sums and samples of at least so long in one document, for fewer log bytes. */
  metricsIntervalMs: z.coerce.number().int().min(0).max(60_000).default(0),
  /** Dimension of every metric: dev, staging, prod. */
  environment: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,30}$/)
    .default("local"),

  /** Port of the processor's and of the sinks' Prometheus page, on loopback; 0 = none. */
  metricsPort: z.coerce.number().int().min(0).max(65_535).default(0),
  sinksMetricsPort: z.coerce.number().int().min(0).max(65_535).default(0),
  /** Collector that gets one trace per epoch as OTLP/HTTP JSON, such as http://127.0.0.1:4318; empty = none. */
  otlpUrl: z
    .literal("")
    .or(z.url({ protocol: /^https?$/ }))
    .default(""),

  /** Topics, separated by commas, into which `weir dlq replay --target` may send besides the events.raw of a lane. */
  dlqReplayTargets: z.string().default(""),

  statusPort: z.coerce.number().int().min(0).max(65_535).default(0),
});

export type Config = Readonly<z.output<typeof schema>>;

/** `dataDir` -> `WEIR_DATA_DIR`. */
export function variableOf(key: string): string {
  return `WEIR_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

const VARIABLES: ReadonlyMap<string, string> = new Map(Object.keys(schema.shape).map((key) => [variableOf(key), key]));

/** Values that no message may repeat. */
const SECRETS: ReadonlySet<string> = new Set(["kafkaPassword", "clickhousePassword", "postgres", "redis"]);

/** Variables that steer a process, not the pipeline: read elsewhere in this folder. */
const PROCESS_VARIABLES: ReadonlySet<string> = new Set([
  "WEIR_CONFIG",
  "WEIR_PARENT_PIPE",
  "WEIR_FAILPOINT",
  "WEIR_LOG_LEVEL",
  "WEIR_TEST_STACK",
]);

/** @throws ConfigError naming every problem. */
export function loadConfig(environment: Readonly<Record<string, string | undefined>> = process.env): Config {
  const problems: string[] = [];
  const input: Record<string, unknown> = {};
  const file = environment["WEIR_CONFIG"];
  if (file !== undefined) Object.assign(input, readConfigFile(file, problems));
  for (const [variable, value] of Object.entries(environment)) {
    if (!variable.startsWith("WEIR_") || value === undefined || PROCESS_VARIABLES.has(variable)) continue;
    const key = VARIABLES.get(variable);
    if (key === undefined) problems.push(`${variable}: unknown variable${nearest(variable, [...VARIABLES.keys()])}`);
    else input[key] = value;
  }
  const parsed = schema.safeParse(input);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      if (issue.code === "unrecognized_keys") {
        for (const key of issue.keys) problems.push(`${key}: unknown key${nearest(key, [...VARIABLES.values()])}`);
      } else {
        const key = String(issue.path[0]);
        const given = SECRETS.has(key) ? "a secret" : JSON.stringify(input[key]);
        problems.push(`${key}: ${issue.message}, got ${given} (set by ${variableOf(key)})`);
      }
    }
  }
  if (parsed.success) problems.push(...kafkaProblems(parsed.data));
  if (parsed.success && parsed.data.cutMs > parsed.data.transactionTimeoutMs) {
    problems.push(`cutMs: must not exceed transactionTimeoutMs, got ${parsed.data.cutMs} > ${parsed.data.transactionTimeoutMs}`);
  }
  if (problems.length > 0 || !parsed.success) throw new ConfigError(problems);
  return Object.freeze(parsed.data);
}

function kafkaProblems({ kafkaSecurity, kafkaUsername, kafkaPassword, kafkaSecret, kafkaTokenFile, kafkaCaFile }: Config): string[] {
  const problems: string[] = [];
  if (kafkaSecurity === "sasl-scram" && kafkaSecret === "" && (kafkaUsername === "" || kafkaPassword === "")) {
    problems.push("kafkaSecurity: sasl-scram wants kafkaUsername and kafkaPassword, or kafkaSecret");
  }
  if (kafkaSecret !== "" && (kafkaUsername !== "" || kafkaPassword !== "")) {
    problems.push("kafkaSecret: stands instead of kafkaUsername and kafkaPassword, not beside them");
  }
  if (kafkaSecurity === "oauth" && kafkaTokenFile === "") problems.push("kafkaSecurity: oauth wants kafkaTokenFile");
  // What would be sent in the clear by a forgotten key must not start.
  const secured = [kafkaUsername, kafkaPassword, kafkaSecret, kafkaTokenFile, kafkaCaFile].some((value) => value !== "");
  if (kafkaSecurity === "none" && secured) problems.push("kafkaSecurity: is none, but credentials or a CA for Kafka are set");
  return problems;
}

function readConfigFile(file: string, problems: string[]): object {
  try {
    const content: unknown = JSON.parse(readFileSync(file, "utf8"));
    if (typeof content === "object" && content !== null && !Array.isArray(content)) return content;
    problems.push(`${file}: must hold one JSON object`);
  } catch (thrown) {
    problems.push(`${file}: ${toError(thrown).message}`);
  }
  return {};
}

/** `, did you mean X?` for the candidate that is at most three edits away, or nothing. */
export function nearest(word: string, candidates: readonly string[]): string {
  let best = "";
  let bestDistance = 4;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best === "" ? "" : `, did you mean ${best}?`;
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, previous[j - 1]! + change));
    }
    previous = current;
  }
  return previous[b.length]!;
}

/** Keys that environment or file set, as opposed to defaults: an address that somebody named is an address to use, not to start a server on. */
export function givenKeys(environment: Readonly<Record<string, string | undefined>> = process.env): ReadonlySet<string> {
  const file = environment["WEIR_CONFIG"];
  const keys = new Set(file === undefined ? [] : Object.keys(readConfigFile(file, [])));
  for (const [variable, key] of VARIABLES) if (environment[variable] !== undefined) keys.add(key);
  return keys;
}

/** The environment that makes a child process load this very configuration. */
export function environmentOf(config: Partial<Config>): Record<string, string> {
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [variableOf(key), String(value)]));
}

/** What steers a process rather than the pipeline. */
export const processFlags = {
  /** The parent holds our stdin open; its end means that the parent is gone. */
  parentPipe: process.env["WEIR_PARENT_PIPE"] === "1",
  /** `point:action`, e.g. `before-commit:kill`; read by test builds only. */
  failpoint: process.env["WEIR_FAILPOINT"],
  logLevel: process.env["WEIR_LOG_LEVEL"] ?? "info",
  /** Tests of adapters use the servers that this file (a starter's addresses.json) names instead of starting their own. */
  testStack: process.env["WEIR_TEST_STACK"],
} as const;
