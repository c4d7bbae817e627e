import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { readSwitches } from "#shared/clients/announcement.ts";
import { newestPublished, publishNewestEnrichment } from "#shared/clients/enrichment/publication.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { addEnrichment, rollBackEnrichment } from "#shared/clients/postgres/enrichment-store.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import type { ObjectStore } from "#shared/clients/objects/object-store.ts";
import { applyRules, listReleases, newestRelease, rollBackRules, seedRules } from "#shared/clients/postgres/rules-store.ts";
import { publishedVersion, publishNewest } from "#shared/clients/rules/publication.ts";
import { enrichmentKey } from "#shared/events/enrichment-table.ts";
import { UnavailableError } from "#shared/kernel/errors.ts";
import { loadPublished, loadSeedRelease } from "#shared/rules/load-release.ts";
import { parseRelease, type Release } from "#shared/rules/release.ts";
import { uniqueLane } from "#test/support/stack.ts";

let server: Database;
let name: string;
let database: Database;

beforeAll(() => {
  server = new Database(inject("stack").postgres);
});

afterAll(async () => {
  await server.close();
});

function connect(to = name): Database {
  const url = new URL(inject("stack").postgres);
  url.pathname = `/${to}`;
  return new Database(url.toString());
}

beforeEach(async () => {
  name = `weir_${uniqueLane().replace("-", "_")}`;
  await server.query(`CREATE DATABASE ${name}`);
  database = connect();
});

afterEach(async () => {
  await database.close();
  await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
});

describe("migrations", () => {
  test("the second time there is nothing to do", async () => {
    expect((await migratePostgres(database)).length).toBeGreaterThan(0);
    expect(await migratePostgres(database)).toEqual([]);
  });

  test("two migrators at once take turns, and each migration is applied once", async () => {
    const other = connect();
    const applied = await Promise.all([migratePostgres(database), migratePostgres(other)]);
    await other.close();
    const recorded = await database.query<{ name: string }>("SELECT name FROM schema_migrations ORDER BY name");
    expect(applied.flat().toSorted()).toEqual(recorded.map((row) => row.name));
  });

  test("an applied migration that was changed is refused by name", async () => {
    await migratePostgres(database);
    await database.query("UPDATE schema_migrations SET checksum = 'other'");
    await expect(migratePostgres(database)).rejects.toMatchObject({
      code: "MIGRATION_DRIFT",
      message: expect.stringContaining("0001_metadata") as string,
    });
  });
});

describe("the log of changes", () => {
  beforeEach(async () => {
    await migratePostgres(database);
  });

  const audit = (): Promise<Record<string, unknown>[]> =>
    database.query(
      "SELECT actor, action, table_name, row_key, old_row ->> 'priority' AS old, new_row ->> 'priority' AS new FROM audit_logs ORDER BY id",
    );

  test("every change of a rule is written with its actor, the old row and the new one", async () => {
    await database.transaction("ada", async (session) => {
      await session.query("INSERT INTO processing_rules (name, rule_type, config) VALUES ('r', 'validation', '{}')");
    });
    await database.transaction("bob", async (session) => {
      await session.query("UPDATE processing_rules SET priority = 7");
      await session.query("DELETE FROM processing_rules");
    });
    const where = { table_name: "processing_rules", row_key: "r" };
    expect(await audit()).toEqual([
      { ...where, actor: "ada", action: "INSERT", old: null, new: "100" },
      { ...where, actor: "bob", action: "UPDATE", old: "100", new: "7" },
      { ...where, actor: "bob", action: "DELETE", old: "7", new: null },
    ]);
  });

  test("a change that fails leaves no row in it", async () => {
    await expect(
      database.transaction("ada", async (session) => {
        await session.query("INSERT INTO processing_rules (name, rule_type, config) VALUES ('r', 'validation', '{}')");
        await session.query("INSERT INTO processing_rules (name, rule_type, config) VALUES ('s', 'guess', '{}')");
      }),
    ).rejects.toMatchObject({ code: "POSTGRES_REFUSED" });
    expect(await audit()).toEqual([]);
  });

  test("every table that people edit is in it, and so are releases", async () => {
    await seedRules(database, loadSeedRelease());
    await database.query("INSERT INTO processing_rules (name, rule_type, config) VALUES ('r', 'validation', '{}')");
    await database.query("INSERT INTO rules_releases (version, sha256, content) VALUES (1, 'x', '{}')");
    await addEnrichment(database, { actor: "ada", reason: "x", table: { key: "source", rows: {} } });
    for (const table of ["event_types", "data_sources", "processing_rules", "rules_releases", "enrichment_releases"]) {
      const [counts] = await database.query<{ rows: number; audited: number }>(
        `SELECT (SELECT count(*)::int FROM ${table}) AS rows, (SELECT count(*)::int FROM audit_logs WHERE table_name = $1 AND row_key IS NOT NULL) AS audited`,
        [table],
      );
      expect(counts!.rows, table).toBeGreaterThan(0);
      expect(counts!.audited, table).toBe(counts!.rows);
    }
  });

  test.each([
    "DELETE FROM audit_logs",
    "UPDATE audit_logs SET actor = 'nobody'",
    "TRUNCATE audit_logs",
    "DELETE FROM rules_releases",
    "UPDATE rules_releases SET content = '{}'",
    "TRUNCATE rules_releases CASCADE",
    "UPDATE enrichment_releases SET reason = 'another'",
    "DELETE FROM enrichment_releases",
    "TRUNCATE enrichment_releases CASCADE",
  ])("is only ever added to, as releases are: %s is refused", async (sql) => {
    await database.query("INSERT INTO rules_releases (version, sha256, content) VALUES (1, 'x', '{}')");
    await addEnrichment(database, { actor: "ada", reason: "x", table: { key: "source", rows: {} } });
    await expect(database.query(sql)).rejects.toMatchObject({
      code: "POSTGRES_REFUSED",
      message: expect.stringContaining("append-only") as string,
    });
    expect(await database.query("SELECT version FROM rules_releases")).toEqual([{ version: 1 }]);
    expect(await database.query("SELECT table_name FROM audit_logs ORDER BY id")).toEqual([
      { table_name: "rules_releases" },
      { table_name: "enrichment_releases" },
    ]);
  });

  test.each(["event_types", "data_sources", "processing_rules"])("no statement empties %s past it", async (table) => {
    await expect(database.query(`TRUNCATE ${table}`)).rejects.toMatchObject({ code: "POSTGRES_REFUSED" });
  });

  test("a changed row counts its version up", async () => {
    await seedRules(database, loadSeedRelease());
    await database.query("UPDATE event_types SET description = 'x' WHERE name = 'click'");
    expect(await database.query("SELECT version FROM event_types WHERE name = 'click'")).toEqual([{ version: 2 }]);
  });
});

describe("the connection", () => {
  test("a session that the server ends is an absent server, no refusal, and the next one works", async () => {
    const ended = database.transaction("ada", async (session) => {
      const [mine] = await session.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
      await server.query("SELECT pg_terminate_backend($1)", [mine!.pid]);
      await session.query("SELECT 1");
    });
    await expect(ended).rejects.toMatchObject({ name: "UnavailableError", code: "POSTGRES_UNAVAILABLE" });
    expect(await database.query("SELECT 1 AS one")).toEqual([{ one: 1 }]);
  });

  test("where nothing listens the error names the address without the password", async () => {
    const nowhere = new Database("postgresql://weir:secret@127.0.0.1:1/weir");
    const error: unknown = await nowhere.query("SELECT 1").catch((thrown: unknown) => thrown);
    await nowhere.close();
    expect(error).toMatchObject({ code: "POSTGRES_UNAVAILABLE", message: expect.stringContaining("127.0.0.1:1") as string });
    expect(String(error)).not.toContain("secret");
  });
});

describe("releases of the rules", () => {
  const seed = loadSeedRelease();
  const ada = { actor: "ada", reason: "because" };
  let dataDir: string;
  let objects: ObjectStore;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "weir-rules-"));
    objects = openFolderObjects(dataDir);
    await migratePostgres(database);
    await seedRules(database, seed);
    await applyRules(database, { actor: "starter", reason: "first start" });
  });

  afterEach(() => {
    rmSync(dataDir, { recursive: true, force: true });
  });

  const publish = () => publishNewest({ database, objects, id: { lane: "test", generation: 1 }, actor: "test" });
  const published = async (): Promise<Release> => (await loadPublished(objects)).release;
  const dropHeartbeat = () => database.query("UPDATE event_types SET is_active = false WHERE name = 'heartbeat'");
  const without = (name: string): Release => ({ ...seed, eventTypes: seed.eventTypes.filter((type) => type.name !== name) });
  const contentOf = ({ eventTypes, sources }: Release) => {
    const byName = <T extends { readonly name: string }>(list: readonly T[]): T[] => list.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    return { eventTypes: byName(eventTypes), sources: byName(sources) };
  };

  test("the seeded tables give exactly the seed's release, and the validator's loader takes it", async () => {
    expect(await publish()).toMatchObject({ version: 1, pointerMoved: true });
    expect(await loadPublished(objects)).toMatchObject({ fallback: null, published: true });
    expect(contentOf(await published())).toEqual(contentOf(seed));
    expect(await newestRelease(database)).toMatchObject({ version: 1, kind: "seed", actor: "starter" });
  });

  test("seeding again changes nothing, and neither does applying or publishing the same again", async () => {
    await publish();
    const audited = () => database.query("SELECT count(*)::int AS n FROM audit_logs");
    const before = await audited();
    await seedRules(database, seed);
    expect(await applyRules(database, ada)).toMatchObject({ made: null, before: { version: 1 } });
    expect(await applyRules(database, { ...ada, file: { release: seed, base: 1 } })).toMatchObject({ made: null });
    expect(await publish()).toEqual({ version: 1, pointerMoved: false, fromMs: 0, appended: [], newerThanKnown: null });
    expect(await audited()).toEqual(before);
  });

  test("a change makes the next version: the old object stays, the pointer names the new one with its hash, the audit says who and why", async () => {
    await publish();
    const first = readFileSync(join(dataDir, "rules/1.json"), "utf8");
    await dropHeartbeat();
    expect(await applyRules(database, ada)).toMatchObject({ made: { version: 2, actor: "ada", reason: "because", kind: "apply" } });
    const beforeMs = Date.now();
    await publish();
    const afterMs = Date.now();
    expect(readFileSync(join(dataDir, "rules/1.json"), "utf8")).toBe(first);
    const second = readFileSync(join(dataDir, "rules/2.json"));
    const sha256 = (content: string | Buffer): string => createHash("sha256").update(content).digest("hex");
    const pointer = JSON.parse(readFileSync(join(dataDir, "rules/current.json"), "utf8")) as { readonly fromMs: number };
    expect(pointer).toEqual({
      version: 2,
      file: "2.json",
      sha256: sha256(second),
      fromMs: expect.any(Number),
      earlier: [{ version: 1, file: "1.json", sha256: sha256(first), fromMs: 0 }],
    });
    // Time for every validator to have looked, and not more.
    expect(pointer.fromMs).toBeGreaterThanOrEqual(beforeMs + 3_000);
    expect(pointer.fromMs).toBeLessThanOrEqual(afterMs + 3_000);
    expect((await published()).eventTypes.map((type) => type.name)).not.toContain("heartbeat");
    expect(readdirSync(join(dataDir, "rules")).toSorted()).toEqual(["1.json", "2.json", "current.json"]);
    expect(await database.query("SELECT actor, reason FROM audit_logs WHERE table_name = 'rules_releases' ORDER BY id")).toEqual([
      { actor: "starter", reason: "first start" },
      { actor: "ada", reason: "because" },
    ]);
  });

  test("a file is taken into the tables, and only what it changes is in the audit", async () => {
    const { made } = await applyRules(database, { ...ada, file: { release: without("heartbeat"), base: 1 } });
    expect(contentOf(parseRelease(JSON.parse(made!.content), "made"))).toEqual(contentOf(without("heartbeat")));
    expect(await database.query("SELECT table_name, action, row_key FROM audit_logs WHERE actor = 'ada' ORDER BY id")).toEqual([
      { table_name: "event_types", action: "UPDATE", row_key: "heartbeat" },
      { table_name: "rules_releases", action: "INSERT", row_key: "2" },
    ]);
  });

  test("a dry run says what would be made and leaves no trace", async () => {
    const outcome = await applyRules(database, { ...ada, dryRun: true, file: { release: without("click"), base: 1 } });
    expect(outcome.made).toMatchObject({ version: 2 });
    expect(await newestRelease(database)).toMatchObject({ version: 1 });
    expect(await database.query("SELECT is_active FROM event_types WHERE name = 'click'")).toEqual([{ is_active: true }]);
    expect(await database.query("SELECT 1 FROM audit_logs WHERE actor = 'ada'")).toEqual([]);
  });

  test("a rollback is a new version with the old content, and puts the rows back that it was made of", async () => {
    await applyRules(database, { ...ada, file: { release: without("heartbeat"), base: 1 } });
    const { made } = await rollBackRules(database, { actor: "bob", reason: "oops", to: null });
    expect(made).toMatchObject({ version: 3, kind: "rollback", restores: 1, actor: "bob" });
    expect(contentOf(parseRelease(JSON.parse(made!.content), "made"))).toEqual(contentOf(seed));
    expect(await database.query("SELECT is_active FROM event_types WHERE name = 'heartbeat'")).toEqual([{ is_active: true }]);
    // Once more goes back to what differs from it.
    expect((await rollBackRules(database, { actor: "bob", reason: "again", to: null })).made).toMatchObject({ version: 4, restores: 2 });
    expect((await rollBackRules(database, { actor: "bob", reason: "to what is there", to: 2 })).made).toBeNull();
    await expect(rollBackRules(database, { actor: "bob", reason: "nowhere", to: 99 })).rejects.toMatchObject({ code: "RULES_VERSION" });
  });

  test("a processing rule is part of the release, goes when a file has it no more, and comes back with a rollback", async () => {
    await database.query(
      `INSERT INTO processing_rules (name, rule_type, config, priority) VALUES
       ('strict-amounts', 'validation', '{"eventTypes": ["purchase"], "fields": {"/properties/amount": {"max": 100}}}', 10),
       ('per-minute', 'aggregation', '{"window": "1m"}', 1)`,
    );
    const { made } = await applyRules(database, ada);
    const second = parseRelease(JSON.parse(made!.content), "made");
    expect(second.rules).toMatchObject([{ name: "strict-amounts", priority: 10, eventTypes: ["purchase"] }]);
    const active = () => database.query("SELECT name, is_active FROM processing_rules ORDER BY name");
    await applyRules(database, { ...ada, file: { release: { ...second, rules: [] }, base: 2 } });
    expect(await active()).toEqual([
      { name: "per-minute", is_active: true },
      { name: "strict-amounts", is_active: false },
    ]);
    const { made: back } = await rollBackRules(database, { ...ada, to: 2 });
    expect(back).toMatchObject({ version: 4, restores: 2 });
    expect(parseRelease(JSON.parse(back!.content), "made")).toEqual({ ...second, version: 4 });
    expect(await active()).toMatchObject([{ is_active: true }, { name: "strict-amounts", is_active: true }]);
    await database.query(`UPDATE processing_rules SET config = '{"eventTypes": ["nothing"]}' WHERE name = 'strict-amounts'`);
    await expect(applyRules(database, ada)).rejects.toMatchObject({
      code: "RULES_INVALID",
      message: expect.stringContaining("rule strict-amounts: there is no event type nothing") as string,
    });
  });

  test("a version of an event type does not come to refuse what it took, unless told to; going back is no such change", async () => {
    const limit = (max: number) =>
      database.query(
        "UPDATE event_types SET schema = jsonb_set(schema, '{fields,/properties/amount,max}', $1::jsonb) WHERE name = 'purchase'",
        [String(max)],
      );
    await limit(100);
    await expect(applyRules(database, ada)).rejects.toMatchObject({
      code: "RULES_BREAKING",
      message: expect.stringMatching(/event type purchase v1, \/properties\/amount/) as string,
    });
    expect((await applyRules(database, { ...ada, allowBreaking: true })).made).toMatchObject({ version: 2 });
    await limit(5_000);
    expect((await applyRules(database, ada)).made).toMatchObject({ version: 3 });
    expect((await rollBackRules(database, { ...ada, to: 2 })).made).toMatchObject({ version: 4 });
  });

  test("of two files made from the same version one wins, the other is told by whom", async () => {
    const other = connect();
    const outcomes = await Promise.allSettled([
      applyRules(database, { actor: "ada", reason: "no heartbeats", file: { release: without("heartbeat"), base: 1 } }),
      applyRules(other, { actor: "bob", reason: "no clicks", file: { release: without("click"), base: 1 } }),
    ]);
    await other.close();
    const [newest] = await database.query<{ actor: string; reason: string }>(
      "SELECT actor, reason FROM rules_releases ORDER BY version DESC LIMIT 1",
    );
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect(outcomes.find(({ status }) => status === "rejected")).toMatchObject({
      reason: { code: "RULES_CONFLICT", message: expect.stringContaining(`by ${newest!.actor}: ${newest!.reason}`) as string },
    });
    expect(await listReleases(database, 10)).toHaveLength(2);
  });

  test("edits of the tables by two people are both in the releases that two applies at once make", async () => {
    const other = connect();
    await Promise.all([
      database.query("UPDATE event_types SET is_active = false WHERE name = 'heartbeat'").then(() => applyRules(database, ada)),
      other
        .query("UPDATE event_types SET is_active = false WHERE name = 'click'")
        .then(() => applyRules(other, { actor: "bob", reason: "x" })),
    ]);
    await other.close();
    const newest = await newestRelease(database);
    const names = parseRelease(JSON.parse(newest!.content), "newest").eventTypes.map((type) => type.name);
    expect(names).not.toContain("heartbeat");
    expect(names).not.toContain("click");
  });

  test("a file or a rollback does not overwrite edits that nobody has applied, unless told to", async () => {
    await dropHeartbeat();
    const file = { release: without("click"), base: 1 };
    await expect(applyRules(database, { ...ada, file })).rejects.toMatchObject({ code: "RULES_EDITS_PENDING" });
    await expect(rollBackRules(database, { ...ada, to: 1 })).rejects.toMatchObject({ code: "RULES_EDITS_PENDING" });
    expect((await applyRules(database, { ...ada, file, discardEdits: true })).made).toMatchObject({ version: 2 });
    expect(await database.query("SELECT is_active FROM event_types WHERE name = 'heartbeat'")).toEqual([{ is_active: true }]);
  });

  test("an apply does not hang behind an editor's open transaction", async () => {
    await database.transaction("editor", async (session) => {
      await session.query("UPDATE event_types SET description = 'half way' WHERE name = 'click'");
      const other = connect();
      await expect(applyRules(other, ada)).rejects.toMatchObject({ code: "RULES_BUSY" });
      await other.close();
    });
  });

  test("a version that exists with other content is never replaced, what is current stays current, and the next version goes out", async () => {
    await publish();
    const current = readFileSync(join(dataDir, "rules/current.json"), "utf8");
    writeFileSync(join(dataDir, "rules/2.json"), "{}");
    await dropHeartbeat();
    await applyRules(database, ada);
    await expect(publish()).rejects.toMatchObject({
      code: "RULES_UNWRITABLE",
      message: expect.stringContaining("version 2 is committed, but not published") as string,
    });
    expect(readFileSync(join(dataDir, "rules/2.json"), "utf8")).toBe("{}");
    expect(readFileSync(join(dataDir, "rules/current.json"), "utf8")).toBe(current);
    await rollBackRules(database, { ...ada, to: 1 });
    expect(await publish()).toMatchObject({ version: 3, pointerMoved: true });
  });

  test("rules that nobody could load are not made a release, and all problems are named", async () => {
    await database.query(
      `UPDATE event_types SET schema = '{"fields": {"/properties/n": {"type": "integer", "min": 5, "max": 1}}, "required": ["/__proto__/x"]}' WHERE name = 'click'`,
    );
    const refused: unknown = await applyRules(database, ada).catch((thrown: unknown) => thrown);
    expect(refused).toMatchObject({ code: "RULES_INVALID" });
    expect(String(refused)).toMatch(/2 problems/);
    expect(String(refused)).toContain("min 5 is above max 1");
    expect(String(refused)).toContain("__proto__");
    expect(await newestRelease(database)).toMatchObject({ version: 1 });
  });

  test("after a restore from a backup the published version stays, and the next one is above it", async () => {
    await publish();
    await dropHeartbeat();
    await applyRules(database, { ...ada, above: 6 });
    expect(await publish()).toMatchObject({ version: 7 });
    // The same metadata, of before: another database.
    const restored = `${name}_restored`;
    await server.query(`CREATE DATABASE ${restored}`);
    const older = connect(restored);
    try {
      await migratePostgres(older);
      await seedRules(older, seed);
      await applyRules(older, ada);
      const again = () => publishNewest({ database: older, objects, id: { lane: "test", generation: 1 }, actor: "test" });
      expect(await again()).toMatchObject({ version: 1, pointerMoved: false, newerThanKnown: 7 });
      expect((await published()).version).toBe(7);
      await older.query("UPDATE event_types SET is_active = false WHERE name = 'click'");
      await applyRules(older, { ...ada, above: await publishedVersion(objects) });
      expect(await again()).toMatchObject({ version: 8, pointerMoved: true });
    } finally {
      await older.close();
      await server.query(`DROP DATABASE ${restored} WITH (FORCE)`);
    }
  });

  test("a damaged pointer is mended by publishing again", async () => {
    await publish();
    writeFileSync(join(dataDir, "rules/current.json"), "{");
    expect(await publish()).toMatchObject({ version: 1, pointerMoved: true });
    expect(await loadPublished(objects)).toMatchObject({ fallback: null, release: { version: 1 } });
  });

  describe("announced in the log", () => {
    /** events.valid as far as announcements go: records per partition, and a partition whose leader is away. */
    let log: string[][];
    let away: number;

    beforeEach(() => {
      log = [[], [], []];
      away = -1;
    });

    const announce = () =>
      publishNewest({
        database,
        objects,
        id: { lane: "test", generation: 1 },
        actor: "test",
        withKafka: (work) =>
          work({
            partitionCount: () => Promise.resolve(log.length),
            listOffset: ({ partition }) => Promise.resolve(log[partition]!.length),
            produce: async ({ partition }, records) => {
              if (partition === away) throw new UnavailableError("the leader is away", { code: "KAFKA_UNAVAILABLE" });
              for (const { value } of records) log[partition]!.push(Buffer.from(value!).toString());
              return log[partition]!.length - records.length;
            },
          }),
      });
    const switches = () => readSwitches(database, "rules_switches", { lane: "test", generation: 1 });

    test("once per partition, and recorded with its place", async () => {
      log[1]!.push("a block", "another");
      await announce();
      await announce();
      expect(log).toEqual([['{"version":1}'], ["a block", "another", '{"version":1}'], ['{"version":1}']]);
      expect(await switches()).toEqual([0, 2, 0].map((offset, partition) => ({ partition, version: 1, offset })));
    });

    test("a partition that failed is told by the next publication, the others are not told again", async () => {
      away = 1;
      await expect(announce()).rejects.toMatchObject({
        name: "UnavailableError",
        code: "KAFKA_UNAVAILABLE",
        message: expect.stringContaining("version 1 is published, but not announced in every partition") as string,
      });
      expect((await published()).version).toBe(1);
      expect(log).toEqual([['{"version":1}'], [], []]);
      away = -1;
      await announce();
      expect(log).toEqual([['{"version":1}'], ['{"version":1}'], ['{"version":1}']]);
    });

    test("a topic that was made anew is told again, and so is another lane or generation", async () => {
      await announce();
      log = [[], [], []];
      await announce();
      expect(log).toEqual([['{"version":1}'], ['{"version":1}'], ['{"version":1}']]);
      expect(await readSwitches(database, "rules_switches", { lane: "test", generation: 2 })).toEqual([]);
    });
  });
});

describe("an enrichment table", () => {
  const ada = { actor: "ada", reason: "tiers", table: { key: "source", rows: { web: { tier: "1" } } } };
  let folder: string;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "weir-enrichment-"));
    await migratePostgres(database);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("is told to no partition before its object reads back whole, nor behind a newer one that a restored database does not know", async () => {
    const objects = openFolderObjects(folder);
    const told: string[] = [];
    const publish = () =>
      publishNewestEnrichment({
        database,
        objects,
        id: { lane: "test", generation: 1 },
        actor: "test",
        withKafka: (work) =>
          work({
            partitionCount: () => Promise.resolve(1),
            listOffset: () => Promise.resolve(told.length),
            produce: async (_at, records) => told.push(Buffer.from(records[0]!.value!).toString()) - 1,
          }),
      });
    expect(await publish()).toBeNull();
    const { made } = await addEnrichment(database, ada);
    const path = join(folder, enrichmentKey(made!));
    await objects.createOnce(enrichmentKey(made!), Buffer.from("torn"));
    await expect(publish()).rejects.toMatchObject({
      code: "ENRICHMENT_INVALID",
      message: expect.stringContaining("weir enrichment publish") as string,
    });
    expect(told).toEqual([]);
    rmSync(path);
    expect(await publish()).toEqual({ version: 1, written: [1], appended: [{ partition: 0, offset: 0 }], newerThanKnown: null });
    expect(await publish()).toEqual({ version: 1, written: [], appended: [], newerThanKnown: null });
    expect(told).toEqual([JSON.stringify({ version: 1, sha256: made!.sha256 })]);
    expect(readFileSync(path, "utf8")).toBe('{"version":1,"key":"source","rows":{"web":{"tier":"1"}}}');

    await objects.createOnce(enrichmentKey({ version: 7, sha256: "0".repeat(64) }), Buffer.from("{}"));
    await addEnrichment(database, { ...ada, table: { ...ada.table, rows: {} } });
    expect(await publish()).toMatchObject({ version: 2, written: [2], appended: [], newerThanKnown: 7 });
    expect((await rollBackEnrichment(database, { ...ada, to: null, above: await newestPublished(objects) })).made).toMatchObject({
      version: 8,
      restores: 1,
      table_sha256: made!.table_sha256,
    });
    expect(await publish()).toMatchObject({ version: 8, written: [8], appended: [{ partition: 0, offset: 1 }], newerThanKnown: null });
  });

  test("of two decided at the same time each has a version, and a rollback without a table before it is refused by name", async () => {
    await expect(rollBackEnrichment(database, { ...ada, to: null })).rejects.toMatchObject({ code: "ENRICHMENT_VERSION" });
    const other = connect();
    const outcomes = await Promise.all([
      addEnrichment(database, ada),
      addEnrichment(other, { ...ada, table: { key: "source", rows: {} } }),
      addEnrichment(database, { ...ada, dryRun: true, table: { key: "event_type", rows: {} } }),
    ]);
    await other.close();
    expect(
      outcomes
        .slice(0, 2)
        .map(({ made }) => made!.version)
        .toSorted((a, b) => a - b),
    ).toEqual([1, 2]);
    expect(await database.query("SELECT version FROM enrichment_releases ORDER BY version")).toEqual([{ version: 1 }, { version: 2 }]);
    await expect(rollBackEnrichment(database, { ...ada, to: 9 })).rejects.toMatchObject({ code: "ENRICHMENT_VERSION" });
  });
});
