/** `weir migrate` on both stores: dry, applied, repeated, and refused where somebody altered a table by hand. */
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { Database } from "#shared/clients/postgres/database.ts";
import { postgresDrift } from "#shared/clients/postgres/schema-drift.ts";
import { RunningPipeline } from "./running-pipeline.ts";

let pipeline: RunningPipeline;
let server: Database;
let database: Database;
let name: string;

beforeAll(async () => {
  const stack = inject("stack");
  name = `weir_test_migrate${Date.now()}`;
  server = new Database(stack.postgres);
  await server.query(`CREATE DATABASE ${name}`);
  const postgres = new URL(stack.postgres);
  postgres.pathname = `/${name}`;
  database = new Database(postgres.toString());
  pipeline = new RunningPipeline(stack, { postgres: postgres.toString(), clickhouseDatabase: name });
});

afterAll(async () => {
  await database.close();
  await server.query(`DROP DATABASE ${name} WITH (FORCE)`);
  await server.close();
  await fetch(pipeline.config.clickhouse, { method: "POST", body: `DROP DATABASE IF EXISTS ${name}` });
  await pipeline.stop();
});

const tables = (): Promise<{ name: string }[]> =>
  database.query("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1");

test("--dry-run says what would be applied to both and changes neither", async () => {
  const outcome = await pipeline.weir(["migrate", "--dry-run"]);
  expect(outcome, outcome.err).toMatchObject({ code: 0 });
  expect(outcome.out).toMatch(/^clickhouse: 0001_events would be applied$/m);
  expect(outcome.out).toMatch(/^postgres: 0001_metadata would be applied$/m);
  expect(await tables()).toEqual([]);
  const answer = await fetch(pipeline.config.clickhouse, {
    method: "POST",
    body: `SELECT count() FROM system.databases WHERE name = '${name}'`,
  });
  expect((await answer.text()).trim()).toBe("0");
});

test("applied once, and the second time there is nothing to do", async () => {
  const first = await pipeline.weir(["migrate", "--json"]);
  expect(first, first.err).toMatchObject({ code: 0 });
  const { stores } = JSON.parse(first.out) as { stores: { store: string; applied: string[] }[] };
  expect(stores.map(({ store }) => store)).toEqual(["clickhouse", "postgres"]);
  for (const { applied } of stores) expect(applied.length).toBeGreaterThan(2);
  expect(await pipeline.weir(["migrate"])).toMatchObject({ code: 0, out: "clickhouse: up to date\npostgres: up to date\n" });
});

test("looking for drift in PostgreSQL leaves neither schema nor lock nor change", async () => {
  const before = await tables();
  expect(await postgresDrift(database)).toEqual([]);
  expect(await tables()).toEqual(before);
  expect(await database.query("SELECT 1 FROM pg_namespace WHERE nspname = 'weir_expected'")).toEqual([]);
});

test.for([
  ["ALTER TABLE event_types ADD COLUMN by_hand integer DEFAULT 3", "table event_types: column by_hand", null, "integer DEFAULT 3"],
  [
    "ALTER TABLE audit_logs DISABLE TRIGGER append_only",
    "table audit_logs: trigger append_only",
    /CREATE TRIGGER append_only/,
    /\(enabled: D\)/,
  ],
  ["ALTER TABLE data_sources DISABLE ROW LEVEL SECURITY", "table data_sources: row security", "enabled", "disabled"],
  ["DROP POLICY changed ON processing_rules", "table processing_rules: policy changed", /owns_rule/, null],
  ["CREATE INDEX by_hand ON audit_logs (actor)", "table audit_logs: index by_hand", null, /btree \(actor\)/],
] as const)("PostgreSQL: %s", async ([sql, what, expected, found]) => {
  const fits = (pattern: RegExp | string | null): unknown => (pattern instanceof RegExp ? expect.stringMatching(pattern) : pattern);
  await database.transaction(
    "test",
    async (session) => {
      await session.query(sql);
      // Inside the transaction nobody else sees it; the comparison runs in it too.
      expect(await postgresDrift({ ...asDatabase(session) } as Database)).toEqual([{ what, expected: fits(expected), found: fits(found) }]);
    },
    { dryRun: true },
  );
});

/** The one session in the place of a pool. */
function asDatabase(session: Pick<Database, "query">): Pick<Database, "query" | "transaction"> {
  return {
    query: (sql, parameters) => session.query(sql, parameters),
    transaction: async (_actor, work) => {
      await session.query("SAVEPOINT drift");
      const result = await work(session);
      await session.query("ROLLBACK TO SAVEPOINT drift");
      return result;
    },
  };
}

test("a table altered by hand is refused with a diff, in both stores at once, and nothing is applied", async () => {
  await pipeline.sql("ALTER TABLE windows ADD COLUMN by_hand UInt8");
  await database.query("ALTER TABLE event_types ADD COLUMN by_hand integer");
  for (const args of [["migrate"], ["migrate", "--dry-run"]]) {
    const { code, out, err } = await pipeline.weir(args);
    expect({ code, out }).toEqual({ code: 3, out: "" });
    expect(err).toContain("code: MIGRATION_DRIFT");
    expect(err).toMatch(/clickhouse:\ntable windows: column by_hand\n {2}\+ UInt8/);
    expect(err).toMatch(/postgres:\ntable event_types: column by_hand\n {2}\+ integer/);
  }
  expect(await pipeline.weir(["migrate", "postgres", "--dry-run"])).toMatchObject({ code: 3 });
  await database.query("ALTER TABLE event_types DROP COLUMN by_hand");
  expect(await pipeline.weir(["migrate", "postgres"])).toMatchObject({ code: 0, out: "postgres: up to date\n" });
});
