/** `weir rules` on a pipeline that runs: verdicts change while events flow, nothing is lost, and what dies half-way is finished by the next. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { preparePostgres, prepareRules } from "#local/preparation.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import type { Config } from "#shared/config/config.ts";
import { decodeBlock } from "#shared/events/block.ts";
import { VERDICT } from "#shared/events/columns.ts";
import { groupId, HEADERS, topicName } from "#shared/events/names.ts";
import { partitionOf } from "#shared/events/partitioner.ts";
import type { Progress } from "#shared/events/progress.ts";
import type { Release } from "#shared/rules/release.ts";
import { settles } from "#test/support/process.ts";
import { type Outcome, RunningPipeline } from "./running-pipeline.ts";

const PARTITIONS = 2;
/** One passes by every release here, one by the loose ones only. */
const AMOUNTS = [50, 500] as const;

let pipeline: RunningPipeline;
let server: Database;
let database: Database;
let config: Config;
let kafka: Kafka;
let load: Load | undefined;

beforeAll(async () => {
  const stack = inject("stack");
  pipeline = new RunningPipeline(stack);
  const name = `weir_${pipeline.config.lane.replace("-", "_")}`;
  server = new Database(stack.postgres);
  await server.query(`CREATE DATABASE ${name}`);
  const url = new URL(stack.postgres);
  url.pathname = `/${name}`;
  config = { ...pipeline.config, postgres: url.toString() };
  database = new Database(config.postgres);
  kafka = await openKafka({ brokers: [stack.kafka], clientId: "rules-test" });
  await preparePostgres(config);
  await pipeline.start();
  await prepareRules(config);
});

afterAll(async () => {
  await load?.stop();
  await pipeline.stop();
  await kafka.close();
  await database.close();
  await server.query(`DROP DATABASE weir_${pipeline.config.lane.replace("-", "_")} WITH (FORCE)`);
  await server.close();
});

const rules = (args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
  pipeline.weir(["rules", ...args], { environment: { WEIR_POSTGRES: config.postgres, ...environment } });

async function done(args: readonly string[]): Promise<Record<string, unknown>> {
  const outcome = await rules([...args, "--json"]);
  expect(outcome, outcome.err).toMatchObject({ code: 0 });
  return JSON.parse(outcome.out) as Record<string, unknown>;
}

/** The newest release with a rule on top that limits a purchase's amount, as a file. */
async function withLimit(max: number): Promise<string> {
  const release = JSON.parse((await rules(["show"])).out) as Release;
  const file = join(config.dataDir, `limit-${max}.json`);
  const limit = { name: "limit", eventTypes: ["purchase"], fields: { "/properties/amount": { max } } };
  writeFileSync(file, JSON.stringify({ ...release, rules: [limit] }));
  return file;
}

interface LogRecord {
  readonly kind: "block" | "rules" | "tick";
  readonly version: number;
  /** Of a block: verdict and value of `amount` per row. */
  readonly rows: readonly { readonly ok: boolean; readonly reason: string | null; readonly amount: number }[];
}

async function readLog(partition: number): Promise<LogRecord[]> {
  const at = { topic: topicName(config.lane, "valid"), partition };
  const end = await kafka.listOffset(at, "latest", "read_uncommitted");
  const log: LogRecord[] = [];
  for (let offset = 0; offset < end;) {
    const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_uncommitted", maxWaitMs: 100 });
    for (const { headers, value } of answer!.records) {
      const kind = Buffer.from(headers.find(([key]) => key === HEADERS.kind)![1]).toString() as LogRecord["kind"];
      if (kind !== "block") {
        log.push({ kind, version: (JSON.parse(Buffer.from(value!).toString()) as { version?: number }).version ?? 0, rows: [] });
        continue;
      }
      const { columns, meta } = decodeBlock(value!);
      const { raw, reason } = columns;
      const rows = Array.from({ length: columns.rows }, (_, i) => {
        const ok = columns.verdict[i] === VERDICT.ok;
        const event = Buffer.from(raw.bytes.subarray(raw.offsets[i], raw.offsets[i + 1])).toString();
        const amount = ok ? columns.value[i]! : (JSON.parse(event) as { properties: { amount: number } }).properties.amount;
        return { ok, reason: reason.codes[i]! < 0 ? null : reason.values[reason.codes[i]!]!, amount };
      });
      log.push({ kind, version: meta.rulesVersion, rows });
    }
    offset = answer!.nextOffset;
  }
  return log;
}

const readLogs = (): Promise<LogRecord[][]> => Promise.all(Array.from({ length: PARTITIONS }, (_, partition) => readLog(partition)));

const controlsOf = (log: readonly LogRecord[]): number[] => log.filter(({ kind }) => kind === "rules").map(({ version }) => version);

interface Load {
  readonly sent: () => number;
  readonly stop: () => Promise<void>;
}

/** Purchases without end, until told. */
function startLoad(): Load {
  let sent = 0;
  const stopping = new AbortController();
  const running = (async () => {
    while (!stopping.signal.aborted) {
      const nowMs = Date.now();
      const records = Array.from({ length: 20 }, () => {
        const userId = 1 + (sent % 50);
        const event = {
          event_id: `0192f3a1-7b6e-7c1d-9a51-${String(++sent).padStart(12, "0")}`,
          event_time: new Date(nowMs).toISOString(),
          user_id: userId,
          event_type: "purchase",
          source: "web",
          properties: { amount: AMOUNTS[sent % 2] },
        };
        return { key: Buffer.from(String(userId)), value: Buffer.from(JSON.stringify(event)), timestampMs: nowMs, headers: [] };
      });
      for (const [partition, own] of Map.groupBy(records, ({ key }) => partitionOf(key, PARTITIONS)))
        await kafka.produce({ topic: topicName(config.lane, "raw"), partition }, own);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    sent: () => sent,
    stop: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Several parts start, look and fold on a machine that may be busy. */
const PATIENCE = { limitMs: 60_000 };

async function switchedTo(version: number): Promise<void> {
  await settles(async () => {
    for (const log of await readLogs())
      expect(log.filter((record) => record.kind === "block" && record.version === version).length).toBeGreaterThan(3);
  }, PATIENCE);
}

async function foldedVersions(): Promise<number[]> {
  const at = Array.from({ length: PARTITIONS }, (_, partition) => ({ topic: topicName(config.lane, "valid"), partition }));
  const commits = await kafka.committedOffsets(groupId(config, "processor"), at, { requireStable: true });
  return commits.map(({ metadata }) => (JSON.parse(metadata) as Progress).rulesVersion);
}

test("verdicts change with an apply while events flow, and come back with a rollback: each event by one version, none lost", async () => {
  load = startLoad();
  await switchedTo(1);
  const applied = await done(["apply", await withLimit(100), "--reason", "amounts above 100 are tests", "--by", "ada"]);
  expect(applied).toMatchObject({ version: 2, made: true, publication: { version: 2, pointerMoved: true, newerThanKnown: null } });
  expect((applied["publication"] as { appended: unknown[] }).appended).toHaveLength(PARTITIONS);
  await switchedTo(2);
  expect(await done(["rollback", "--reason", "they were no tests", "--by", "bob"])).toMatchObject({ version: 3, made: true });
  await switchedTo(3);
  await load.stop();

  const verified = await pipeline.weir(["verify", "--json", "--timeout", "30s"]);
  expect(verified, `${verified.err}\n${pipeline.log}`).toMatchObject({ code: 0 });
  let rejected = 0;
  let rows = 0;
  for (const log of await readLogs()) {
    expect(controlsOf(log)).toEqual([1, 2, 3]);
    const blocks = log.filter(({ kind }) => kind === "block");
    const versions = blocks.map(({ version }) => version);
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
    for (const { version, rows: own } of blocks) {
      for (const { ok, reason, amount } of own) {
        const passes = amount === 50 || version !== 2;
        expect({ version, amount, ok, reason }).toEqual({ version, amount, ok: passes, reason: passes ? null : "schema.range" });
        rows++;
        if (!passes) rejected++;
      }
    }
  }
  expect(rejected).toBeGreaterThan(10);
  expect(rows).toBe(load.sent());
  expect((JSON.parse(verified.out) as { totals: object }).totals).toMatchObject({
    raw: rows,
    deadLettered: rejected,
    clean: rows - rejected,
    lost: 0,
    doubled: 0,
  });
  await settles(async () => expect(await foldedVersions()).toEqual([3, 3]), PATIENCE);
});

test("the audit log says who changed what and why, and ls shows it with the places in the log", async () => {
  const audited = await database.query(
    `SELECT actor, reason, table_name, action, row_key, old_row ->> 'is_active' AS was_active, new_row ->> 'is_active' AS is_active,
       new_row #>> '{config,fields,/properties/amount,max}' AS max
     FROM audit_logs WHERE actor IN ('ada', 'bob') ORDER BY id`,
  );
  const ada = { actor: "ada", reason: "amounts above 100 are tests" };
  const bob = { actor: "bob", reason: "they were no tests" };
  const rule = { table_name: "processing_rules", row_key: "limit", max: "100" };
  const release = { table_name: "rules_releases", action: "INSERT", was_active: null, is_active: null, max: null };
  expect(audited).toEqual([
    { ...ada, ...rule, action: "INSERT", was_active: null, is_active: "true" },
    { ...ada, ...release, row_key: "2" },
    { ...bob, ...rule, action: "UPDATE", was_active: "true", is_active: "false" },
    { ...bob, ...release, row_key: "3" },
  ]);
  const { releases, published } = await done(["ls"]);
  expect(published).toBe(3);
  expect(releases).toMatchObject([
    { version: 3, by: "bob", kind: "rollback", restores: 1, published: true, switches: [{ partition: 0 }, { partition: 1 }] },
    { version: 2, by: "ada", kind: "apply", restores: null, published: false, reason: "amounts above 100 are tests" },
    { version: 1, by: "starter", kind: "seed" },
  ]);
  const [switched] = (releases as { switches: { partition: number; offset: number }[] }[])[1]!.switches;
  const [record] = (
    await kafka.fetch([{ topic: topicName(config.lane, "valid"), partition: switched!.partition, offset: switched!.offset }], {
      isolation: "read_uncommitted",
      maxWaitMs: 100,
    })
  )[0]!.records;
  expect(Buffer.from(record!.value!).toString()).toBe('{"version":2}');
  expect((await rules(["show", "3", "--diff", "2"])).out).toContain("- rule limit\n");
});

test("rules test shows on the newest live events what would change, and changes nothing", async () => {
  const before = await done(["ls"]);
  const outcome = await rules(["test", "--release", await withLimit(10), "--live", "--last", "100", "--json"]);
  expect(outcome, outcome.err).toMatchObject({ code: 0 });
  const { events, newlyRejected, pairs } = JSON.parse(outcome.out) as {
    events: number;
    newlyRejected: number;
    pairs: { before: string; after: string; examples: { where: string; pointer: string }[] }[];
  };
  expect({ events, newlyRejected }).toEqual({ events: 100, newlyRejected: 100 });
  expect(pairs).toMatchObject([{ before: "ok", after: "reject schema.range" }]);
  expect(pairs[0]!.examples).toHaveLength(3);
  expect(pairs[0]!.examples[0]).toMatchObject({
    where: expect.stringMatching(/events\.raw \d@\d+$/) as string,
    pointer: "/properties/amount",
  });
  expect(await done(["ls"])).toEqual(before);
});

test("of two applies at the same time from the same version one wins, the other exits 3 and says who was first", async () => {
  const files = [await withLimit(200), await withLimit(300)];
  const outcomes = await Promise.all(files.map((file, i) => rules(["apply", file, "--reason", `limit ${i}`, "--by", `person ${i}`])));
  expect(new Set(outcomes.map(({ code }) => code))).toEqual(new Set([0, 3]));
  const winner = outcomes.findIndex(({ code }) => code === 0);
  expect(outcomes[1 - winner]!.err).toMatch(new RegExp(`by person ${winner}: limit ${winner}[^]*code: RULES_CONFLICT`));
  expect(await done(["ls"])).toMatchObject({ published: 4, releases: [{ version: 4, by: `person ${winner}` }, {}, {}, {}] });
});

describe("an apply that is killed", () => {
  const published = (): number =>
    (JSON.parse(readFileSync(join(config.dataDir, "rules/current.json"), "utf8")) as { version: number }).version;
  let version = 4;

  test.each([
    ["after its transaction", "rules-committed", "apply", false],
    ["before the pointer", "rules-object-written", "publish", false],
    ["before the first control record", "rules-pointer-written", "starter", true],
    ["between two control records", "rules-control-appended", "apply", true],
  ] as const)("%s is finished by the next %#: %s, %s", async (_when, point, finisher, isPublished) => {
    const before = version++;
    const killed = await rules(["apply", await withLimit(1_000 + version), "--reason", point], { WEIR_FAILPOINT: `${point}:kill` });
    expect(killed.code).toBeNull();
    expect(published()).toBe(isPublished ? version : before);
    if (finisher === "starter") await prepareRules(config);
    else if (finisher === "publish") expect(await done(["publish"])).toMatchObject({ version });
    else expect(await done(["apply", "--reason", "nothing new"])).toMatchObject({ made: false, version, publication: { version } });
    expect(published()).toBe(version);
    for (const log of await readLogs()) expect(controlsOf(log).at(-1)).toBe(version);
    await settles(async () => expect(await foldedVersions()).toEqual([version, version]), PATIENCE);
    // And then there is nothing left to do.
    expect(await done(["publish"])).toMatchObject({ version, pointerMoved: false, appended: [], newerThanKnown: null });
  });

  test("the releases are all there, each once", async () => {
    expect(await database.query("SELECT version FROM rules_releases ORDER BY version")).toEqual(
      Array.from({ length: 8 }, (_, i) => ({ version: i + 1 })),
    );
  });
});

describe("without a part of the system", () => {
  test("PostgreSQL away: apply says so in one line with its code and exits 4; the pipeline does not notice", async () => {
    const outcome = await rules(["apply", "--reason", "x"], { WEIR_POSTGRES: "postgres://weir@127.0.0.1:1/weir" });
    expect(outcome).toMatchObject({ code: 4, out: "" });
    expect(outcome.err).toMatch(/^weir: PostgreSQL at .*127\.0\.0\.1:1.* did not answer.*\n {2}fix: .*\n {2}code: POSTGRES_UNAVAILABLE\n$/);
    // None of its processes has ever been told of this database: see also the import rule data-path-needs-no-postgres.
    expect(pipeline.config.postgres).not.toBe(config.postgres);
  });

  test("Kafka away: the release is committed and published, the message says what is missing, publish finishes it", async () => {
    const outcome = await rules(["apply", await withLimit(77), "--reason", "kafka is away"], { WEIR_KAFKA: "127.0.0.1:1" });
    expect(outcome).toMatchObject({
      code: 4,
      err: expect.stringContaining(
        "version 9 is published, but not announced in every partition (weir rules publish finishes it)",
      ) as string,
    });
    expect(await done(["ls"])).toMatchObject({ published: 9 });
    const { appended } = (await done(["publish"])) as { appended: unknown[] };
    expect(appended).toHaveLength(PARTITIONS);
  });

  test("events still flow, by the newest rules, and the ledger balances", async () => {
    load = startLoad();
    await switchedTo(9);
    await load.stop();
    const verified = await pipeline.weir(["verify", "--timeout", "30s"]);
    expect(verified, verified.err).toMatchObject({ code: 0, out: expect.stringMatching(/balanced\n$/) as string });
  });
});
