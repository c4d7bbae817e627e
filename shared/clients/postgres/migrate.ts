import { join } from "node:path";
import { type AppliedMigration, pendingMigrations } from "../../kernel/migration.ts";
import { readMigrations } from "../migration-files.ts";
import type { Database } from "./database.ts";

const FOLDER = join(import.meta.dirname, "migrations");
/** Any number, the same everywhere: two migrators at once must take turns. */
const LOCK = 7_236_101;

/**
 * Brings the metadata schema up to date; idempotent, each migration in the one transaction. Returns the names applied now. `upTo`: no further than
 * this one, for rows that were dumped under it.
 */
export async function migratePostgres(database: Database, { upTo }: { readonly upTo?: string } = {}): Promise<string[]> {
  return database.transaction("migrate", async (session) => {
    await session.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
    await session.query(
      "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
    );
    const applied = await session.query<AppliedMigration>("SELECT name, checksum FROM schema_migrations ORDER BY name");
    const all = pendingMigrations("PostgreSQL", readMigrations(FOLDER), applied);
    const pending = upTo === undefined ? all : all.filter(({ name }) => name <= upTo);
    for (const { name, sql, checksum } of pending) {
      await session.query(sql);
      await session.query("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", [name, checksum]);
    }
    return pending.map(({ name }) => name);
  });
}
