/** Connected as each role, on a real server: what it may do, what it is refused, and that no write goes without its audit row. */
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFolderLocation } from "#backup/folder-location.ts";
import { PartWriter } from "#backup/parts.ts";
import { dumpPostgres } from "#backup/postgres-dump.ts";
import { type EnrichmentPorts, publishNewestEnrichment } from "#shared/clients/enrichment/publication.ts";
import { openFolderObjects } from "#shared/clients/objects/folder-objects.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { addEnrichment } from "#shared/clients/postgres/enrichment-store.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { applyRules, seedRules } from "#shared/clients/postgres/rules-store.ts";
import { publishNewest } from "#shared/clients/rules/publication.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { uniqueLane } from "#test/support/stack.ts";

const suffix = uniqueLane().replace("-", "_");
const name = `weir_${suffix}`;
/** Login by its roles; `shop` sees one source only. */
const LOGINS = {
  reader: "weir_reader, weir_all_sources",
  editor: "weir_editor, weir_all_sources",
  shop: "weir_editor",
  onlooker: "weir_reader",
  admin: "weir_admin",
  pipeline: "weir_pipeline",
  backup: "weir_backup",
  stranger: "",
} as const;
type Login = keyof typeof LOGINS;

let server: Database;
let owner: Database;
const as = {} as Record<Login, Database>;
const loginOf = (login: Login): string => `${login}_${suffix}`;

function connect(user?: string): Database {
  const url = new URL(inject("stack").postgres);
  url.pathname = `/${name}`;
  if (user !== undefined) url.username = user;
  return new Database(url.toString());
}

beforeAll(async () => {
  server = new Database(inject("stack").postgres);
  await server.query(`CREATE DATABASE ${name}`);
  owner = connect();
  await migratePostgres(owner);
  await seedRules(owner, loadSeedRelease());
  await applyRules(owner, { actor: "test", reason: "first" });
  for (const [login, roles] of Object.entries(LOGINS) as [Login, string][]) {
    await server.query(`CREATE ROLE ${loginOf(login)} LOGIN ${roles === "" ? "" : `IN ROLE ${roles}`}`);
    as[login] = connect(loginOf(login));
  }
  await owner.query("INSERT INTO data_sources (name) VALUES ('shop'), ('till')");
  await owner.query(
    `INSERT INTO processing_rules (name, rule_type, config, is_active) VALUES
     ('of shop', 'validation', '{"sources": ["shop"]}', false), ('of till', 'validation', '{"sources": ["till"]}', false),
     ('of both', 'validation', '{"sources": ["shop", "till"]}', false), ('of all', 'validation', '{}', false)`,
  );
  await as.admin.query("INSERT INTO source_grants (grantee, source) VALUES ($1, 'shop')", [loginOf("shop")]);
});

afterAll(async () => {
  await Promise.all(Object.values(as).map((database) => database.close()));
  await owner.close();
  await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
  for (const login of Object.keys(LOGINS) as Login[]) await server.query(`DROP ROLE IF EXISTS ${loginOf(login)}`);
  await server.close();
});

const refused = (call: Promise<unknown>, why: RegExp): Promise<void> => expect(call).rejects.toThrow(why);
const DENIED = /permission denied/;
const POLICY = /row-level security/;

async function names(login: Login, table: string, like = "%"): Promise<string[]> {
  const rows = await as[login].query<{ name: string }>(`SELECT name FROM ${table} WHERE name LIKE $1 ORDER BY name`, [like]);
  return rows.map((row) => row.name);
}

test("who has no role sees nothing", async () => {
  for (const table of [
    "event_types",
    "data_sources",
    "processing_rules",
    "audit_logs",
    "rules_releases",
    "enrichment_releases",
    "source_grants",
  ]) {
    await refused(as.stranger.query(`SELECT * FROM ${table}`), DENIED);
  }
  await refused(as.stranger.query("CREATE TABLE mine (x int)"), DENIED);
});

test("a reader sees everything that people edit, and changes nothing", async () => {
  expect(await names("reader", "data_sources")).toEqual(expect.arrayContaining(["shop", "till"]));
  expect((await names("reader", "event_types")).length).toBeGreaterThan(0);
  expect((await as.reader.query("SELECT * FROM audit_logs")).length).toBeGreaterThan(0);
  await refused(as.reader.query("INSERT INTO data_sources (name) VALUES ('mine')"), DENIED);
  await refused(as.reader.query("UPDATE event_types SET is_active = false"), DENIED);
  await refused(as.reader.query("DELETE FROM processing_rules"), DENIED);
  await refused(as.reader.query("INSERT INTO source_grants VALUES ('x', 'shop')"), DENIED);
});

test("an editor changes types, sources and rules, and neither releases, grants nor history", async () => {
  await as.editor.query("INSERT INTO data_sources (name) VALUES ('kiosk')");
  await as.editor.query("UPDATE event_types SET description = 'edited'");
  await as.editor.query("DELETE FROM data_sources WHERE name = 'kiosk'");
  await refused(as.editor.query("INSERT INTO rules_releases (version, sha256, content) VALUES (99, '', '')"), DENIED);
  await refused(as.editor.query("INSERT INTO audit_logs (actor, action, table_name, row_key) VALUES ('x', 'DELETE', 'x', 'x')"), DENIED);
  await refused(as.editor.query("DELETE FROM audit_logs"), DENIED);
  await refused(as.editor.query("TRUNCATE data_sources"), DENIED);
  await refused(as.editor.query("ALTER TABLE data_sources DISABLE TRIGGER audit"), /must be owner/);
  await refused(as.editor.query("SET session_replication_role = replica"), DENIED);
  await refused(applyRules(as.editor, { actor: "x", reason: "x" }), DENIED);
});

describe("an editor of one source", () => {
  test("sees its source and the rules that bear on it, and no other source's", async () => {
    expect(await names("shop", "data_sources")).toEqual(["shop"]);
    expect(await names("shop", "processing_rules", "of %")).toEqual(["of all", "of both", "of shop"]);
    expect((await names("shop", "event_types")).length).toBeGreaterThan(0);
    const seen = await as.shop.query<{ row_key: string }>(
      "SELECT DISTINCT row_key FROM audit_logs WHERE table_name <> 'event_types' ORDER BY 1",
    );
    expect(seen.map((row) => row.row_key).filter((key) => ["shop", "till"].includes(key) || key.startsWith("of "))).toEqual([
      "of all",
      "of both",
      "of shop",
      "shop",
    ]);
  });

  test("changes what is of its source alone, and can take over nothing else", async () => {
    const changed = await as.shop.query("UPDATE data_sources SET description = 'ours' RETURNING name");
    expect(changed).toEqual([{ name: "shop" }]);
    const rules = await as.shop.query("UPDATE processing_rules SET priority = 5 WHERE name LIKE 'of %' RETURNING name");
    expect(rules).toEqual([{ name: "of shop" }]);
    await refused(as.shop.query("INSERT INTO data_sources (name) VALUES ('new')"), POLICY);
    await refused(as.shop.query("UPDATE data_sources SET name = 'till2' WHERE name = 'shop'"), POLICY);
    await refused(as.shop.query(`UPDATE processing_rules SET config = '{"sources": ["till"]}' WHERE name = 'of shop'`), POLICY);
    await refused(as.shop.query(`INSERT INTO processing_rules (name, rule_type, config) VALUES ('wide', 'validation', '{}')`), POLICY);
    expect(await as.shop.query("UPDATE event_types SET is_active = false RETURNING name")).toEqual([]);
    expect(await as.shop.query("DELETE FROM processing_rules WHERE name <> 'of shop' RETURNING name")).toEqual([]);
  });

  test("without a grant nothing of any source is seen", async () => {
    expect(await names("onlooker", "data_sources")).toEqual([]);
    expect(await names("onlooker", "processing_rules", "of %")).toEqual(["of all"]);
  });
});

test("every write of every role has its audit row with the login that made it, whatever name it gives itself", async () => {
  await as.editor.transaction("somebody else", (session) => session.query("INSERT INTO data_sources (name) VALUES ('forged')"));
  await as.editor.query("UPDATE data_sources SET description = 'x' WHERE name = 'forged'");
  await as.editor.query("DELETE FROM data_sources WHERE name = 'forged'");
  const rows = await as.admin.query<{ login: string; actor: string; action: string }>(
    "SELECT login, actor, action FROM audit_logs WHERE row_key = 'forged' ORDER BY id",
  );
  expect(rows).toEqual([
    { login: loginOf("editor"), actor: "somebody else", action: "INSERT" },
    { login: loginOf("editor"), actor: loginOf("editor"), action: "UPDATE" },
    { login: loginOf("editor"), actor: loginOf("editor"), action: "DELETE" },
  ]);
  const grants = await as.admin.query<{ login: string }>("SELECT login FROM audit_logs WHERE table_name = 'source_grants'");
  expect(grants).toEqual([{ login: loginOf("admin") }]);
});

test("an admin applies releases and gives sources, and cannot change what was", async () => {
  await as.admin.query("INSERT INTO data_sources (name) VALUES ('counter')");
  const { made } = await applyRules(as.admin, { actor: "admin", reason: "test" });
  expect(made).toMatchObject({ kind: "apply", reason: "test" });
  const table = { key: "source", rows: { counter: { tier: "1" } } };
  expect((await addEnrichment(as.admin, { actor: "admin", reason: "test", table })).made).toMatchObject({ version: 1, reason: "test" });
  await refused(addEnrichment(as.editor, { actor: "x", reason: "x", table }), DENIED);
  await refused(as.admin.query("UPDATE rules_releases SET content = ''"), /append-only/);
  await refused(as.admin.query("UPDATE enrichment_releases SET content = ''"), DENIED);
  await refused(as.admin.query("DELETE FROM audit_logs"), DENIED);
  await refused(as.admin.query("UPDATE audit_logs SET actor = 'x'"), DENIED);
  await refused(as.admin.query("TRUNCATE rules_releases"), DENIED);
});

test("the pipeline publishes with its own rights, and has no others", async () => {
  const folder = mkdtempSync(join(tmpdir(), "weir-roles-"));
  const produced: number[] = [];
  const ports: EnrichmentPorts = {
    database: as.pipeline,
    objects: openFolderObjects(folder),
    id: { lane: "live", generation: 1 },
    actor: "pipeline",
    withKafka: (work) =>
      work({
        partitionCount: async () => 2,
        listOffset: async () => 0,
        produce: async ({ partition }) => produced.push(partition) - 1,
      }),
  };
  try {
    expect(await publishNewest(ports)).toMatchObject({ pointerMoved: true });
    expect(await publishNewestEnrichment(ports)).toMatchObject({
      version: 1,
      written: [1],
      appended: [{ partition: 0 }, { partition: 1 }],
    });
    expect(produced).toEqual([0, 1, 0, 1]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await refused(as.pipeline.query("INSERT INTO data_sources (name) VALUES ('x')"), DENIED);
  await refused(as.pipeline.query("UPDATE rules_releases SET content = ''"), DENIED);
  await refused(as.pipeline.query("INSERT INTO enrichment_releases SELECT * FROM enrichment_releases"), DENIED);
  await refused(as.pipeline.query("SELECT * FROM audit_logs"), DENIED);
  await refused(as.pipeline.query("SELECT * FROM dlq_replays"), DENIED);
});

test("a backup's login sees every row of every table and writes none", async () => {
  const dump = async (database: Database): Promise<object> => {
    const folder = mkdtempSync(join(tmpdir(), "weir-roles-"));
    try {
      return await dumpPostgres(database, new PartWriter(openFolderLocation(folder), "any"));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  };
  expect(await dump(as.backup)).toEqual(await dump(owner));
  // Who would see only a part is told so, instead of making a part of a backup.
  await owner.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${loginOf("shop")}`);
  await refused(dump(as.shop), /does not see all rows/);
  await refused(as.backup.query("INSERT INTO source_grants VALUES ('x', 'shop')"), DENIED);
});
