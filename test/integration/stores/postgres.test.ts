import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, test } from "vitest";
import { Database } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { publishRelease, seedRules } from "#shared/clients/postgres/rules-store.ts";
import { loadPublished, loadSeedRelease } from "#shared/rules/load-release.ts";
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

function connect(): Database {
  const url = new URL(inject("stack").postgres);
  url.pathname = `/${name}`;
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
    for (const table of ["event_types", "data_sources", "processing_rules", "rules_releases"]) {
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
    "TRUNCATE rules_releases",
  ])("is only ever added to, as releases are: %s is refused", async (sql) => {
    await database.query("INSERT INTO rules_releases (version, sha256, content) VALUES (1, 'x', '{}')");
    await expect(database.query(sql)).rejects.toMatchObject({
      code: "POSTGRES_REFUSED",
      message: expect.stringContaining("append-only") as string,
    });
    expect(await database.query("SELECT version FROM rules_releases")).toEqual([{ version: 1 }]);
    expect(await database.query("SELECT table_name FROM audit_logs")).toEqual([{ table_name: "rules_releases" }]);
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
  let dataDir: string;

  beforeEach(async () => {
    dataDir = mkdtempSync(join(tmpdir(), "weir-rules-"));
    await migratePostgres(database);
    await seedRules(database, loadSeedRelease());
  });

  afterEach(() => {
    rmSync(dataDir, { recursive: true, force: true });
  });

  test("the seeded tables give the seed's release back, and the validator's loader takes it", async () => {
    expect(await publishRelease(database, dataDir, "test")).toBe(1);
    const { release, fallback } = loadPublished(dataDir);
    expect(fallback).toBeNull();
    const byName = <T extends { readonly name: string }>(list: readonly T[]): T[] =>
      list.toSorted((a, b) => a.name.localeCompare(b.name, "en"));
    const seed = loadSeedRelease();
    expect({ ...release, eventTypes: byName(release.eventTypes), sources: byName(release.sources) }).toEqual({
      ...seed,
      eventTypes: byName(seed.eventTypes),
      sources: byName(seed.sources),
    });
  });

  test("seeding again changes nothing, publishing the same again makes no new version", async () => {
    await publishRelease(database, dataDir, "test");
    await seedRules(database, loadSeedRelease());
    expect(await publishRelease(database, dataDir, "test")).toBe(1);
    expect(await database.query("SELECT count(*)::int AS n FROM rules_releases")).toEqual([{ n: 1 }]);
  });

  test("a change makes the next version; the old file stays, current.json names the new one with its hash, the audit names who", async () => {
    await publishRelease(database, dataDir, "test");
    const first = readFileSync(join(dataDir, "rules/1.json"), "utf8");
    await database.query("UPDATE event_types SET is_active = false WHERE name = 'heartbeat'");
    expect(await publishRelease(database, dataDir, "ada")).toBe(2);
    expect(readFileSync(join(dataDir, "rules/1.json"), "utf8")).toBe(first);
    const second = readFileSync(join(dataDir, "rules/2.json"));
    expect(JSON.parse(readFileSync(join(dataDir, "rules/current.json"), "utf8"))).toEqual({
      version: 2,
      file: "2.json",
      sha256: createHash("sha256").update(second).digest("hex"),
    });
    expect(loadPublished(dataDir).release.eventTypes.map((type) => type.name)).not.toContain("heartbeat");
    expect(readdirSync(join(dataDir, "rules")).toSorted()).toEqual(["1.json", "2.json", "current.json"]);
    expect(await database.query("SELECT actor FROM audit_logs WHERE table_name = 'rules_releases' ORDER BY id")).toEqual([
      { actor: "test" },
      { actor: "ada" },
    ]);
  });

  test("a version that exists with other content is never replaced, and what is current stays current", async () => {
    await publishRelease(database, dataDir, "test");
    const current = readFileSync(join(dataDir, "rules/current.json"), "utf8");
    writeFileSync(join(dataDir, "rules/2.json"), "{}");
    await database.query("UPDATE event_types SET is_active = false WHERE name = 'heartbeat'");
    await expect(publishRelease(database, dataDir, "test")).rejects.toMatchObject({ code: "RULES_UNWRITABLE" });
    expect(readFileSync(join(dataDir, "rules/2.json"), "utf8")).toBe("{}");
    expect(readFileSync(join(dataDir, "rules/current.json"), "utf8")).toBe(current);
  });

  test("rules that nobody could load are not published", async () => {
    await publishRelease(database, dataDir, "test");
    await database.query(
      `UPDATE event_types SET schema = '{"fields": {"/properties/n": {"type": "integer", "min": 5, "max": 1}}}' WHERE name = 'click'`,
    );
    await expect(publishRelease(database, dataDir, "test")).rejects.toMatchObject({ code: "RULES_INVALID" });
    expect(readdirSync(join(dataDir, "rules")).toSorted()).toEqual(["1.json", "current.json"]);
  });
});
