/**
 * Whether the metadata schema is what the applied migrations make: they are run once more into a schema of its own inside a transaction that is
 * undone, and the catalogues are compared. Nothing is left behind, not even for a moment that another session could see.
 */
import { join } from "node:path";
import { type AppliedMigration, type Migration, pendingMigrations } from "../../kernel/migration.ts";
import { compareSchemas, type Drift } from "../../kernel/schema-drift.ts";
import { readMigrations } from "../migration-files.ts";
import type { Database, Session } from "./database.ts";

const FOLDER = join(import.meta.dirname, "migrations");
/** That of migrate.ts: nobody migrates meanwhile. */
const LOCK = 7_236_101;
const SCRATCH = "weir_expected";
const LEDGER =
  "CREATE TABLE schema_migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";

/** Definitions of one schema: columns, constraints, indexes, triggers, row security, policies, functions. `$1` is the schema. */
const DEFINITIONS = `
  SELECT 'table ' || c.relname AS owner, 'column ' || a.attname AS part,
         concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)) AS definition
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
  UNION ALL
  SELECT 'table ' || c.relname, 'constraint ' || n.conname, pg_get_constraintdef(n.oid)
  FROM pg_constraint n JOIN pg_class c ON c.oid = n.conrelid WHERE c.relnamespace = $1::regnamespace AND n.contype <> 'n'
  UNION ALL
  SELECT 'table ' || c.relname, 'index ' || i.relname, pg_get_indexdef(i.oid)
  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid WHERE c.relnamespace = $1::regnamespace
  UNION ALL
  SELECT 'table ' || c.relname, 'trigger ' || t.tgname, pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'O' THEN '' ELSE ' (enabled: ' || t.tgenabled::text || ')' END
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = $1::regnamespace AND NOT t.tgisinternal
  UNION ALL
  SELECT 'table ' || c.relname, 'row security', concat_ws(' ', CASE WHEN c.relrowsecurity THEN 'enabled' ELSE 'disabled' END, CASE WHEN c.relforcerowsecurity THEN 'forced' END)
  FROM pg_class c WHERE c.relnamespace = $1::regnamespace AND c.relkind IN ('r', 'p')
  UNION ALL
  SELECT 'table ' || c.relname, 'policy ' || p.polname,
         concat_ws(' ', p.polcmd::text, pg_get_expr(p.polqual, p.polrelid), 'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
  FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = $1::regnamespace
  UNION ALL
  SELECT 'function ' || f.proname, 'definition', pg_get_functiondef(f.oid) FROM pg_proc f WHERE f.pronamespace = $1::regnamespace AND f.prokind = 'f'`;

interface Definition {
  readonly owner: string;
  readonly part: string;
  readonly definition: string;
}

/** Names of the migrations that have not been applied, in order. Changes nothing. @throws OperatingError MIGRATION_DRIFT */
export async function pendingPostgresMigrations(database: Database): Promise<string[]> {
  return (await state(database)).pending.map(({ name }) => name);
}

/** Empty: as the migrations made it, or nothing was migrated yet. Takes the rights of who migrates. */
export async function postgresDrift(database: Database): Promise<Drift[]> {
  const { applied } = await state(database);
  if (applied.length === 0) return [];
  return database.transaction(
    "drift",
    async (session) => {
      await session.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
      const [live] = await session.query<{ name: string }>("SELECT current_schema() AS name");
      await session.query(`CREATE SCHEMA ${SCRATCH}`);
      await session.query(`SET LOCAL search_path = ${SCRATCH}, ${live!.name}`);
      await session.query(LEDGER);
      for (const { sql } of applied) await session.query(sql);
      const expected = await definitionsOf(session, SCRATCH);
      const found = await definitionsOf(session, live!.name);
      const owners = new Set([...expected.keys()].map((what) => what.split(": ")[0]));
      return compareSchemas(expected, found, (what) => owners.has(what.split(": ")[0]));
    },
    { dryRun: true },
  );
}

export interface ExpectedTrigger {
  readonly name: string;
  readonly table: string;
}

/** What the migrations that were applied say that every change runs through. Wants no rights beyond reading the catalogue. */
export async function missingTriggers(database: Database): Promise<{ expected: number; missing: ExpectedTrigger[] }> {
  const { applied } = await state(database);
  const expected = applied.flatMap(({ sql }) =>
    [...sql.matchAll(/CREATE TRIGGER (\w+)[^;]*? ON (\w+)/g)].map(([, name, table]) => ({ name: name!, table: table! })),
  );
  const live = await database.query<ExpectedTrigger>(
    `SELECT t.tgname AS name, c.relname AS table FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
     WHERE c.relnamespace = current_schema()::regnamespace AND t.tgenabled IN ('O', 'A')`,
  );
  const known = new Set(live.map(({ name, table }) => `${table}.${name}`));
  return { expected: expected.length, missing: expected.filter(({ name, table }) => !known.has(`${table}.${name}`)) };
}

async function state(database: Database): Promise<{ applied: Migration[]; pending: Migration[] }> {
  const [exists] = await database.query<{ yes: boolean }>("SELECT to_regclass('schema_migrations') IS NOT NULL AS yes");
  const rows =
    exists?.yes === true ? await database.query<AppliedMigration>("SELECT name, checksum FROM schema_migrations ORDER BY name") : [];
  const files = readMigrations(FOLDER);
  const pending = pendingMigrations("PostgreSQL", files, rows);
  return { applied: files.slice(0, files.length - pending.length), pending };
}

async function definitionsOf(session: Session, schema: string): Promise<Map<string, string>> {
  const rows = await session.query<Definition>(DEFINITIONS, [schema]);
  // The same object prints with or without its schema, by what the search path shows first.
  const plain = (text: string): string => text.replaceAll(new RegExp(`\\b(${schema}|${SCRATCH}|public)\\.`, "g"), "");
  return new Map(
    rows
      .filter(({ owner }) => owner !== "table schema_migrations")
      .map(({ owner, part, definition }) => [`${owner}: ${part}`, plain(definition)]),
  );
}
