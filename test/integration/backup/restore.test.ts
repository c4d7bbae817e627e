/** Backups of a pipeline that runs, on real servers: what is restored and replayed equals what was there, to the row. */
import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import kafkajs from "kafkajs";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { createGenerator } from "#loadgen/generator.ts";
import { preparePostgres, prepareRules } from "#local/preparation.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { OUTPUT_ROLES, topicName } from "#shared/events/names.ts";
import { hasS3Server, startS3Server } from "#test/support/s3-server.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { type Outcome, RunningPipeline } from "../cli/running-pipeline.ts";

const BATCH = 2_000;

interface Facts {
  readonly name: string;
  readonly kind: string;
  readonly parts: number;
  readonly bytesWritten: number;
  readonly swept: readonly string[];
  readonly positions: readonly { readonly group: string; readonly topic: string; readonly offset: number }[];
}

let pipeline: RunningPipeline;
let server: Database;
let database: string;
let store: string;
let sent = 0;
/** Through which events are sent. */
let pipelineNow: RunningPipeline;
const generator = createGenerator({
  seed: "backup",
  users: 300,
  distribution: "uniform",
  shares: { late: 0, duplicate: 0.02, poison: 0, futureClock: 0 },
});

beforeAll(async () => {
  server = new Database(inject("stack").postgres);
  database = `weir_${uniqueLane().replace("-", "_")}`;
  await server.query(`CREATE DATABASE ${database}`);
  const url = new URL(inject("stack").postgres);
  url.pathname = `/${database}`;
  pipeline = new RunningPipeline(inject("stack"), {
    postgres: url.toString(),
    clickhouseDatabase: database,
    snapshotIntervalMs: 300,
  });
  pipelineNow = pipeline;
  store = `${pipeline.config.dataDir}-backups`;
  await preparePostgres(pipeline.config);
  await prepareRulesAndStart();
});

afterAll(async () => {
  await pipeline.stop();
  await pipeline.sql(`DROP DATABASE IF EXISTS ${database} SYNC`).catch(() => undefined);
  await server.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
  await server.close();
  rmSync(store, { recursive: true, force: true });
});

async function prepareRulesAndStart(): Promise<void> {
  await pipeline.start();
  await prepareRules(pipeline.config);
}

async function send(count = BATCH): Promise<void> {
  const lines: Uint8Array[] = [];
  const nowMs = Date.now();
  while (lines.length < count) {
    const { value } = generator.next(nowMs + lines.length / 8);
    if (!value.includes(0x0a)) lines.push(value);
  }
  const file = join(pipeline.config.dataDir, `events-${sent}.jsonl`);
  writeFileSync(file, Buffer.concat(lines.flatMap((line) => [line, Buffer.from("\n")])));
  const outcome = await pipelineNow.weir(["send", file, "--json"]);
  expect(outcome.err).toBe("");
  sent += count;
}

async function weir(...args: string[]): Promise<Outcome> {
  const outcome = await pipeline.weir(args);
  expect(outcome.code, `${args.join(" ")}: ${outcome.err}\n${pipeline.log}`).toBe(0);
  return outcome;
}

const json = <T>({ out }: Outcome): T => JSON.parse(out) as T;

/** Windows that are closed by now: more close as time passes, also while nothing is sent. */
async function closedWindows(): Promise<string> {
  const rows = await pipeline.sql(
    `SELECT concat('p = ', toString(p), ' AND oseq <= ', toString(max(oseq))) FROM ${database}.windows GROUP BY p ORDER BY p`,
  );
  return rows === "" ? "0" : rows.split("\n").join(" OR ");
}

/** Of every table's content, whatever its parts and merges. */
async function fingerprint(closed: string, of = database): Promise<string> {
  const hash = (columns: string): string => `(count(), groupBitXor(cityHash64(${columns})))`;
  const nullable = (names: readonly string[]): string => names.map((name) => `ifNull(toString(${name}), 'none')`).join(", ");
  const found = await pipeline.sql(`SELECT
    (SELECT ${hash(`* EXCEPT (value, score), ${nullable(["value", "score"])}`)} FROM ${of}.events),
    (SELECT ${hash(`* EXCEPT (value_sum, value_min, value_max), ${nullable(["value_sum", "value_min", "value_max"])}`)} FROM ${of}.windows FINAL WHERE ${closed}),
    (SELECT ${hash("user_id, minute, event_type, events, value_count, sessions")} FROM
      (SELECT user_id, minute, event_type, sum(events) AS events, sum(value_count) AS value_count, uniqExactMerge(sessions) AS sessions
       FROM ${of}.user_activity_1min GROUP BY ALL))`);
  expect(found).not.toContain("NULL");
  return found;
}

async function metadata(): Promise<string> {
  const own = new Database(pipeline.config.postgres);
  try {
    const rows = await own.query(
      "SELECT (SELECT json_agg(a ORDER BY id) FROM audit_logs a) AS audit, (SELECT json_agg(t ORDER BY id) FROM event_types t) AS types",
    );
    return JSON.stringify(rows);
  } finally {
    await own.close();
  }
}

/** What a lost machine loses; the log is on others. */
async function wipe(): Promise<void> {
  await pipeline.sql(`DROP DATABASE ${database} SYNC`);
  await server.query(`DROP DATABASE ${database} WITH (FORCE)`);
  await server.query(`CREATE DATABASE ${database}`);
  for (const folder of ["objects", "rules"]) rmSync(join(pipeline.config.dataDir, folder), { recursive: true, force: true });
  const redis = new Redis(pipeline.config.redis);
  const keys = await redis.keys(`weir:mark:${pipeline.config.lane}:*`);
  expect(keys.length).toBeGreaterThan(0);
  await redis.del(...keys);
  redis.disconnect();
}

async function killAll(): Promise<void> {
  for (const name of ["twin", "processor", "sinks"] as const) await pipeline.kill(name);
}

describe("a chain of backups, taken while events flow", () => {
  let full: Facts;
  let second: Facts;
  let third: Facts;
  let closed: string;
  let atTheEnd: string;
  let metadataAtSecond: string;

  beforeAll(async () => {
    await send();
    const flowing = [send(), send()];
    full = json<Facts>(await weir("backup", "run", "--json"));
    await Promise.all(flowing);
    second = json<Facts>(await weir("backup", "run", "--json"));
    await send();
    const own = new Database(pipeline.config.postgres);
    await own.query("UPDATE event_types SET description = 'changed between backups'");
    await own.close();
    const last = send();
    third = json<Facts>(await weir("backup", "run", "--json"));
    metadataAtSecond = await metadata();
    await last;
    await send();
    const verified = json<{ verdict: string; totals: { raw: number } }>(await weir("verify", "--json", "--timeout", "60s"));
    expect(verified).toMatchObject({ verdict: "balanced", totals: { raw: sent } });
  }, 240_000);

  test("the first is full, the others are differences and smaller, and all hold the positions of every reader", async () => {
    expect([full.kind, second.kind, third.kind]).toEqual(["full", "incremental", "incremental"]);
    const groups = new Set(third.positions.map(({ group }) => group.split("-").slice(1, -3).join("-")));
    expect([...groups].toSorted()).toEqual(expect.arrayContaining(["processor", "sink-clickhouse", "sink-redis", "validator"]));
    const listed = json<{ backups: { name: string; base: string | null }[] }>(await weir("backup", "ls", "--json"));
    expect(listed.backups.map(({ name, base }) => [name, base])).toEqual([
      [full.name, null],
      [second.name, full.name],
      [third.name, second.name],
    ]);
  });

  test("verify reads the whole chain and finds it whole; a byte turned over in a base is named", async () => {
    expect((await weir("backup", "verify")).out).toContain("whole");
    const files = readdirSync(join(store, full.name, "clickhouse"), { recursive: true, withFileTypes: true });
    const victim = files
      .filter((entry) => entry.isFile() && entry.name.endsWith(".bin"))
      .map((entry) => join(entry.parentPath, entry.name))
      .toSorted((a, b) => statSync(b).size - statSync(a).size)[0]!;
    const bytes = readFileSync(victim);
    const damaged = Buffer.from(bytes);
    damaged[damaged.length >> 1] = damaged[damaged.length >> 1]! ^ 1;
    writeFileSync(victim, damaged);
    const bad = await pipeline.weir(["backup", "verify"]);
    expect(bad.code).toBe(3);
    expect(bad.out).toContain(`${victim.slice(store.length + 1)} has SHA-256`);
    // Nor is it restored.
    const refused = await pipeline.weir(["backup", "restore", "--into", `${database}_bad`]);
    expect(refused.code).toBe(3);
    expect(refused.err).toContain("BACKUP_DAMAGED");
    rmSync(victim);
    expect((await pipeline.weir(["backup", "verify"])).out).toContain("is missing");
    writeFileSync(victim, bytes);
    expect((await weir("backup", "verify")).out).toContain("whole");
    await pipeline.sql(`DROP DATABASE IF EXISTS ${database}_bad SYNC`);
    await server.query(`DROP DATABASE IF EXISTS ${database}_bad WITH (FORCE)`);
  });

  test("stores that hold rows are refused, and a rehearsal beside them touches nothing", async () => {
    closed = await closedWindows();
    atTheEnd = await fingerprint(closed);
    const refused = await pipeline.weir(["backup", "restore"]);
    expect(refused.code).toBe(3);
    expect(refused.err).toContain("RESTORE_NOT_EMPTY");
    const into = `${database}_rehearsal`;
    try {
      await weir("backup", "restore", second.name, "--into", into);
      const rows = await pipeline.sql(
        `SELECT count() > 0 AND count() = (SELECT sum(events) FROM ${into}.user_activity_1min) FROM ${into}.events`,
      );
      expect(rows).toBe("1");
      // Nothing behind the positions, nothing missing before them.
      const gaps = await pipeline.sql(
        `SELECT count() FROM (SELECT gen, p, count() != max(oseq) AS gap FROM ${into}.events GROUP BY gen, p HAVING gap)`,
      );
      expect(gaps).toBe("0");
      expect(await fingerprint(closed)).toBe(atTheEnd);
    } finally {
      await pipeline.sql(`DROP DATABASE IF EXISTS ${into} SYNC`);
      await server.query(`DROP DATABASE IF EXISTS ${into} WITH (FORCE)`);
    }
  });

  test.skipIf(!hasS3Server)(
    "a bucket holds a chain as a folder does",
    async () => {
      const s3 = await startS3Server();
      const into = `${database}_from_s3`;
      try {
        expect((await fetch(`${s3.endpoint}/backups`, { method: "PUT", body: "" })).status).toBeLessThan(400);
        const place = ["--store", "s3://backups/of/weir"];
        const fromS3 = async (...args: string[]): Promise<Outcome> => {
          const outcome = await pipeline.weir(["backup", ...args, ...place], {
            environment: { ...s3.environment, AWS_REGION: "us-east-1" },
          });
          expect(outcome.code, outcome.err).toBe(0);
          return outcome;
        };
        expect(json<Facts>(await fromS3("run", "--json")).kind).toBe("full");
        expect(json<Facts>(await fromS3("run", "--json")).kind).toBe("incremental");
        expect((await fromS3("verify")).out).toMatch(/whole; \d+ parts, \d+ bytes read, 2 in the chain/);
        await fromS3("restore", "--into", into);
        expect(await fingerprint(closed, into)).toBe(await fingerprint(closed));
      } finally {
        await s3.stop();
        await pipeline.sql(`DROP DATABASE IF EXISTS ${into} SYNC`);
        await server.query(`DROP DATABASE IF EXISTS ${into} WITH (FORCE)`);
      }
    },
    180_000,
  );

  test("everything but the log is lost: restored from the chain and replayed, every store tells the same story as before", async () => {
    await killAll();
    await wipe();
    const lostAt = performance.now();
    // Killed before the end, the same command begins again.
    const killed = await pipeline.weir(["backup", "restore", third.name], { environment: { WEIR_FAILPOINT: "restore-before-positions" } });
    expect(killed.code).toBeNull();
    const restored = json<{ name: string; toReplay: number; rpoMs: number; tookMs: number; objects: number }>(
      await weir("backup", "restore", third.name, "--json"),
    );
    expect(restored).toMatchObject({ name: third.name, rpoMs: 0 });
    expect(restored.toReplay).toBeGreaterThan(0);
    expect(await metadata()).toBe(metadataAtSecond);
    await pipeline.start();
    const verified = json<{ verdict: string; totals: object }>(await weir("verify", "--json", "--timeout", "60s"));
    const rtoMs = performance.now() - lostAt;
    expect(verified).toMatchObject({ verdict: "balanced", totals: { raw: sent, lost: 0, doubled: 0 } });
    expect(await fingerprint(closed)).toBe(atTheEnd);
    process.stdout.write(
      `restore ${(restored.tookMs / 1_000).toFixed(1)} s; RTO to a balanced ledger ${(rtoMs / 1_000).toFixed(1)} s (one killed attempt and the start of the services included); RPO 0 events of ${sent}\n`,
    );
  }, 180_000);

  test("the pipeline goes on from there: new events and new rules take new numbers", async () => {
    await send();
    const verified = json<{ verdict: string }>(await weir("verify", "--json", "--timeout", "60s"));
    expect(verified.verdict).toBe("balanced");
    const own = new Database(pipeline.config.postgres);
    const [row] = await own.query<{ id: string; highest: string }>(
      "INSERT INTO data_sources (name) VALUES ('after-restore') RETURNING id, (SELECT max(id) FROM data_sources) AS highest",
    );
    await own.close();
    expect(Number(row!.id)).toBeGreaterThan(Number(row!.highest));
  });

  test("killed before its manifest, a backup does not exist, and the next run takes away what it left", async () => {
    const before = json<{ backups: object[] }>(await weir("backup", "ls", "--json")).backups.length;
    const killed = await pipeline.weir(["backup", "run"], { environment: { WEIR_FAILPOINT: "backup-before-manifest" } });
    expect(killed.code).toBeNull();
    const listed = json<{ backups: object[]; unfinished: string[] }>(await weir("backup", "ls", "--json"));
    expect(listed.backups).toHaveLength(before);
    expect(listed.unfinished).toHaveLength(1);
    const [left] = listed.unfinished;
    expect(readdirSync(join(store, left!)).length).toBeGreaterThan(0);
    const next = json<Facts>(await weir("backup", "run", "--json"));
    expect(next.swept).toEqual([left]);
    expect(readdirSync(store)).not.toContain(left);
    expect((await weir("backup", "verify")).out).toContain("whole");
  });

  test("a damaged manifest is shown as damaged, and what depends on it cannot be restored", async () => {
    const path = join(store, second.name, "manifest.json");
    const bytes = readFileSync(path);
    appendFileSync(path, "x");
    expect((await weir("backup", "ls")).out).toContain(`damaged: ${second.name}`);
    expect(await pipeline.weir(["backup", "verify", third.name])).toMatchObject({
      code: 3,
      err: expect.stringContaining("BACKUP_NOT_FOUND"),
    });
    // The next one begins a chain of its own.
    expect(json<Facts>(await weir("backup", "run", "--json")).kind).toBe("full");
    writeFileSync(path, bytes);
  });

  test("the log is lost too: refused by name, then restored as far as the backup goes, and a new generation goes on", async () => {
    const newest = json<Facts>(await weir("backup", "run", "--json"));
    await killAll();
    await wipe();
    const kafka = new kafkajs.Kafka({ brokers: [pipeline.config.kafka], logLevel: kafkajs.logLevel.NOTHING });
    const admin = kafka.admin();
    await admin.connect();
    const { lane } = pipeline.config;
    await admin.deleteTopics({ topics: (["raw", "valid", ...OUTPUT_ROLES] as const).map((role) => topicName(lane, role)) });
    await admin.disconnect();
    const refused = await pipeline.weir(["backup", "restore"]);
    expect(refused).toMatchObject({ code: 3, err: expect.stringContaining("RESTORE_LOG_HOLE") });
    const restored = json<{ name: string; generation: number; rpoMs: number }>(await weir("backup", "restore", "--without-log", "--json"));
    expect(restored).toMatchObject({ name: newest.name, generation: 2 });
    expect(restored.rpoMs).toBeGreaterThan(0);
    const next = new RunningPipeline(inject("stack"), { ...pipeline.config, generation: restored.generation });
    try {
      await next.start();
      const before = Number(await next.sql("SELECT count() FROM events"));
      pipelineNow = next;
      await send(500);
      const verified = await next.weir(["verify", "--json", "--timeout", "60s"]);
      expect(verified.code, `${verified.err}\n${next.log}`).toBe(0);
      expect(json<object>(verified)).toMatchObject({ verdict: "balanced", totals: { raw: 500, lost: 0, doubled: 0 } });
      expect(Number(await next.sql("SELECT count() FROM events"))).toBeGreaterThan(before);
    } finally {
      await next.stop();
    }
  }, 180_000);
});
