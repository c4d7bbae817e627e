/** Each setting is turned off on the real server, and `weir doctor` must say so in a line of its own. */
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { preparePostgres } from "#local/preparation.ts";
import { exchange } from "#local/services/running-server.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { readSettings, setTopic } from "#shared/clients/kafka/settings.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import type { Config } from "#shared/config/config.ts";
import { topicName, TOPICS } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { examineVersion } from "../../../cli/doctor-clickhouse.ts";
import { Examiner } from "../../../cli/doctor-finding.ts";
import { examineKafka } from "../../../cli/doctor-kafka.ts";
import { RunningPipeline } from "./running-pipeline.ts";

interface Finding {
  readonly server: string;
  readonly where: string;
  readonly what: string;
  readonly why: string;
  readonly fix: string;
}

interface Diagnosis {
  readonly verdict: string;
  readonly servers: readonly {
    readonly server: string;
    readonly looked: number;
    readonly unknown: string | null;
    readonly findings: readonly Finding[];
  }[];
}

let pipeline: RunningPipeline;
let config: Config;
let server: Database;
let database: Database;
let databaseName: string;

beforeAll(async () => {
  const stack = inject("stack");
  const lane = `doctor${Date.now()}`;
  databaseName = `weir_test_${lane}`;
  server = new Database(stack.postgres);
  await server.query(`CREATE DATABASE ${databaseName}`);
  const postgres = new URL(stack.postgres);
  postgres.pathname = `/${databaseName}`;
  pipeline = new RunningPipeline(stack, { postgres: postgres.toString(), clickhouseDatabase: databaseName });
  config = pipeline.config;
  await pipeline.prepare();
  await preparePostgres(config);
  database = new Database(config.postgres);
});

afterAll(async () => {
  await database.close();
  await server.query(`DROP DATABASE ${databaseName} WITH (FORCE)`);
  await server.close();
  await pipeline.sql(`DROP DATABASE IF EXISTS ${databaseName}`);
  await pipeline.stop();
});

async function diagnosed(code: number, environment: Readonly<Record<string, string>> = {}): Promise<Diagnosis> {
  const outcome = await pipeline.weir(["doctor", "--json"], { environment });
  expect(outcome, `${outcome.err}\n${outcome.out}`).toMatchObject({ code });
  return JSON.parse(outcome.out) as Diagnosis;
}

const findingsOf = ({ servers }: Diagnosis): Finding[] => servers.flatMap(({ findings }) => findings);

async function alterTopic(role: "raw" | "clean", key: string, value: string): Promise<void> {
  const specs = topicSpecs(config.lane, config.partitions, { replicationFactor: 1 });
  const topic = topicName(config.lane, role);
  const made = specs.find((spec) => spec.topic === topic)!.config;
  await setTopic(await kafkaOptions(config), topic, { ...made, [key]: value });
}

test("the servers as they are started may claim exactly-once, and what was looked at is counted", async () => {
  const diagnosis = await diagnosed(0);
  expect(diagnosis.verdict).toBe("exactly-once");
  for (const { looked, unknown } of diagnosis.servers) {
    expect(unknown).toBeNull();
    expect(looked).toBeGreaterThan(2);
  }
  expect(await pipeline.weir(["doctor"])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^exactly-once: \d+ settings looked at, none is off\n$/),
  });
});

describe("Kafka", () => {
  test.for([
    ["message.timestamp.type", "CreateTime"],
    ["unclean.leader.election.enable", "true"],
    ["cleanup.policy", "compact"],
    ["max.message.bytes", "100000"],
    ["retention.ms", "60000"],
    ["retention.bytes", "1000000"],
  ] as const)("a topic whose %s is %s", async ([key, value]) => {
    await alterTopic("clean", key, value);
    const findings = findingsOf(await diagnosed(3));
    expect(findings).toEqual([
      {
        server: "Kafka",
        where: `topic ${topicName(config.lane, "clean")}`,
        what: expect.stringContaining(`${key} is ${value}`),
        why: expect.any(String),
        fix: expect.stringContaining(key),
      },
    ]);
    await alterTopic("clean", "retention.bytes", "-1");
  });

  test("a broker's own settings, of which it takes no change while it runs: judged as the real ones with one changed", async () => {
    const topics = topicSpecs(config.lane, config.partitions, { replicationFactor: 1 }).map(({ topic }) => topic);
    const settings = await readSettings(await kafkaOptions(config), topics);
    const [[node, broker]] = [...settings.brokers] as [[string, ReadonlyMap<string, string>]];
    expect(examineKafka(config, settings).findings).toEqual([]);
    for (const [key, value] of [
      ["transactional.id.expiration.ms", "3600000"],
      ["offsets.retention.minutes", "60"],
      ["offset.metadata.max.bytes", "100"],
      ["transaction.max.timeout.ms", "1000"],
      ["transaction.state.log.min.isr", "0"],
      ["unclean.leader.election.enable", "true"],
    ] as const) {
      // The key must be one that the broker really has.
      expect([...broker.keys()]).toContain(key);
      const changed = { ...settings, brokers: new Map([[node, new Map([...broker, [key, value]])]]) };
      expect(examineKafka(config, changed).findings).toMatchObject([
        { where: `broker ${node}`, what: expect.stringContaining(`${key} is ${value}`) },
      ]);
    }
    // Three brokers: one copy, or one in sync, is too few.
    const three = { ...settings, brokers: new Map(["1", "2", "3"].map((each) => [each, broker])) };
    const whats = examineKafka(config, three).findings.map(({ what }) => what);
    expect(whats).toContain("has 1 replicas, below 3");
    expect(whats).toContain("min.insync.replicas is 1, below 2");
    expect(whats).toContain("transaction.state.log.min.isr is 1, below 2");
  });

  test("a topic that is missing", async () => {
    const findings = findingsOf(await diagnosed(3, { WEIR_LANE: "nosuchlane" }));
    expect(findings.filter(({ what }) => what === "does not exist")).toHaveLength(Object.keys(TOPICS).length);
  });
});

describe("ClickHouse", () => {
  const only = async (environment: Readonly<Record<string, string>> = {}): Promise<Finding[]> =>
    findingsOf(await diagnosed(3, environment));

  test.for(["events", "user_activity_1min", "windows", "dead_letters"])("%s that remembers too few tokens", async (table) => {
    await pipeline.sql(`ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = 100`);
    expect(await only()).toContainEqual(
      expect.objectContaining({ where: `table ${databaseName}.${table}`, what: "non_replicated_deduplication_window is 100, below 10000" }),
    );
    await pipeline.sql(`ALTER TABLE ${table} MODIFY SETTING non_replicated_deduplication_window = 100000`);
  });

  test.for([
    ["async_insert", "1"],
    ["insert_deduplicate", "0"],
    ["deduplicate_blocks_in_dependent_materialized_views", "0"],
    ["materialized_views_ignore_errors", "1"],
    ["parallel_view_processing", "1"],
  ] as const)("a user whose %s is %s", async ([name, value]) => {
    const url = new URL(config.clickhouse);
    // As the profile of the user would: the server gives the session this value.
    url.searchParams.set(name, value);
    const findings = await only({ WEIR_CLICKHOUSE: url.toString() });
    expect(findings).toMatchObject([
      { server: "ClickHouse", where: "settings of user default", what: expect.stringContaining(`${name} is ${value}`) },
    ]);
  });

  test("a view whose target is of its own making, and a table altered by hand", async () => {
    await pipeline.sql(
      "CREATE MATERIALIZED VIEW by_hand ENGINE = SummingMergeTree ORDER BY user_id AS SELECT user_id, count() AS n FROM events GROUP BY user_id",
    );
    expect(await only()).toContainEqual(
      expect.objectContaining({ where: `view ${databaseName}.by_hand`, what: "has a target of its own making" }),
    );
    await pipeline.sql("DROP TABLE by_hand SYNC");
    await pipeline.sql("ALTER TABLE dead_letters ADD COLUMN noted String");
    expect(await only()).toMatchObject([{ where: "table dead_letters: column noted", what: expect.stringContaining("+ String") }]);
    await pipeline.sql("ALTER TABLE dead_letters DROP COLUMN noted");
  });

  test("versions that are known to break it, or were never tried", () => {
    const whatOf = (version: string): string[] => {
      const examiner = new Examiner("ClickHouse");
      examineVersion(examiner, version);
      return examiner.result().findings.map(({ why }) => why);
    };
    expect(whatOf("24.7.3.1")).toEqual([expect.stringContaining("76110")]);
    expect(whatOf("23.8.1.1")).toHaveLength(1);
    expect(whatOf("25.3.1.1")).toEqual([expect.stringContaining("tried")]);
    expect(whatOf("26.7.1.1")).toEqual([]);
  });
});

describe("PostgreSQL", () => {
  test("a trigger that is disabled or gone, by name", async () => {
    await database.query("ALTER TABLE event_types DISABLE TRIGGER audit");
    expect(findingsOf(await diagnosed(3))).toMatchObject([
      { server: "PostgreSQL", where: "table event_types", what: "trigger audit is missing or disabled" },
    ]);
    await database.query("ALTER TABLE event_types ENABLE TRIGGER audit");
    const [definition] = await database.query<{ sql: string }>(
      "SELECT pg_get_triggerdef(oid) AS sql FROM pg_trigger WHERE tgname = 'append_only' AND tgrelid = 'audit_logs'::regclass",
    );
    await database.query("DROP TRIGGER append_only ON audit_logs");
    expect(findingsOf(await diagnosed(3))).toMatchObject([
      { where: "table audit_logs", what: "trigger append_only is missing or disabled" },
    ]);
    await database.query(definition!.sql);
  });

  test("triggers that no session fires", async () => {
    await database.query(`ALTER DATABASE ${databaseName} SET session_replication_role = 'replica'`);
    expect(findingsOf(await diagnosed(3))).toMatchObject([{ what: "session_replication_role is replica, not origin" }]);
    await database.query(`ALTER DATABASE ${databaseName} RESET session_replication_role`);
  });
});

describe("Redis", () => {
  const set = async (key: string, value: string): Promise<void> => {
    const answer = await exchange(Number(new URL(config.redis).port), `CONFIG SET ${key} ${value}\r\n`, { want: 5 });
    expect(answer.toString()).toBe("+OK\r\n");
  };

  test.for([
    ["maxmemory-policy", "allkeys-lru", "noeviction"],
    ["appendonly", "no", "yes"],
  ] as const)("%s %s", async ([key, value, right]) => {
    await set(key, value);
    try {
      expect(findingsOf(await diagnosed(3))).toMatchObject([{ server: "Redis", what: expect.stringContaining(`${key} is ${value}`) }]);
    } finally {
      await set(key, right);
    }
  });
});

test("a server that is down makes the whole unknown, never right", async () => {
  const diagnosis = await diagnosed(3, { WEIR_REDIS: "redis://127.0.0.1:1" });
  expect(diagnosis.verdict).toBe("unknown");
  expect(diagnosis.servers.find(({ server: name }) => name === "Redis")).toMatchObject({
    unknown: expect.stringContaining("127.0.0.1:1"),
    looked: 0,
  });
  const { out } = await pipeline.weir(["doctor"], { environment: { WEIR_REDIS: "redis://127.0.0.1:1" } });
  expect(out).toMatch(/exactly-once is not claimed: unknown/);
});
