/**
 * The metadata as lines of JSON, one per row, all tables in one snapshot of the database. Lines rather than COPY's columns: a newer schema takes them
 * (new columns get their defaults), a person reads them, and the same rows give the same bytes, so a restore is compared with its dump.
 */
import { createHash } from "node:crypto";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { Database, Session } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { CorruptStateError, OperatingError } from "#shared/kernel/errors.ts";
import type { BackupLocation } from "./location.ts";
import type { DumpedTable, Manifest } from "./manifest.ts";
import { CHUNK_BYTES, type PartWriter, readPart } from "./parts.ts";

const PREFIX = "postgres/";
const ROWS_PER_FETCH = 1_000;
/** Of lines, before compression. */
const PIECE_BYTES = CHUNK_BYTES / 2;

interface TableShape {
  readonly name: string;
  readonly columns: readonly string[];
  /** Quoted, in the order of the primary key: what sorts the lines. */
  readonly order: string;
}

/** Every table but the record of migrations; referenced ones before those that refer to them. */
async function readShapes(session: Session): Promise<TableShape[]> {
  const shapes = await session.query<{ name: string; columns: string[]; key: string[] | null }>(
    `SELECT c.relname AS name,
            (SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns,
            (SELECT array_agg(a.attname::text ORDER BY array_position(i.indkey::int2[], a.attnum)) FROM pg_index i
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) WHERE i.indrelid = c.oid AND i.indisprimary) AS key
     FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
     ORDER BY c.relname`,
  );
  const edges = await session.query<{ from: string; to: string }>(
    `SELECT DISTINCT c.conrelid::regclass::text AS "from", c.confrelid::regclass::text AS "to" FROM pg_constraint c
     WHERE c.contype = 'f' AND c.conrelid <> c.confrelid`,
  );
  const ordered: TableShape[] = [];
  for (let rest = shapes; rest.length > 0;) {
    const isFree = (name: string): boolean => !edges.some(({ from, to }) => from === name && rest.some((other) => other.name === to));
    const free = rest.filter(({ name }) => isFree(name));
    if (free.length === 0) throw new Error(`tables refer to each other in a circle: ${rest.map(({ name }) => name).join(", ")}`);
    for (const { name, columns, key } of free) ordered.push({ name, columns, order: (key ?? columns).map(quoted).join(", ") });
    rest = rest.filter((shape) => !free.includes(shape));
  }
  return ordered;
}

export async function dumpPostgres(database: Database, writer: PartWriter): Promise<Manifest["postgres"]> {
  return database.transaction(
    "backup",
    async (session) => {
      await refuseHiddenRows(session);
      await session.query("SET LOCAL TimeZone = 'UTC'");
      const migrations = await session.query<{ name: string }>("SELECT name FROM schema_migrations ORDER BY name");
      const tables: DumpedTable[] = [];
      for (const shape of await readShapes(session)) {
        let piece: string[] = [];
        let pieceBytes = 0;
        let at = 0;
        const flush = async (): Promise<void> => {
          const packed = zstdCompressSync(Buffer.from(piece.join("")));
          await writer.add(`${PREFIX}${shape.name}.jsonl.zst`, packed, at);
          at += packed.length;
          [piece, pieceBytes] = [[], 0];
        };
        const { rows, sha256 } = await eachLine(session, shape, async (line) => {
          piece.push(line);
          pieceBytes += line.length;
          if (pieceBytes > PIECE_BYTES) await flush();
        });
        if (piece.length > 0) await flush();
        tables.push({ name: shape.name, columns: [...shape.columns], rows, sha256 });
      }
      return { migrations: migrations.map(({ name }) => name), tables };
    },
    { frozen: true },
  );
}

/** Rows that a policy hides from this login would be missing without a word. @throws OperatingError BACKUP_ROWS_HIDDEN */
async function refuseHiddenRows(session: Session): Promise<void> {
  const [hidden] = await session.query<{ table: string; login: string }>(
    `SELECT c.relname AS table, session_user AS login FROM pg_class c
     WHERE c.relnamespace = 'public'::regnamespace AND c.relrowsecurity AND row_security_active(c.oid)
     AND NOT EXISTS (SELECT 1 FROM pg_roles r WHERE r.rolname = 'weir_all_sources' AND pg_has_role(session_user, r.oid, 'MEMBER'))
     LIMIT 1`,
  );
  if (hidden === undefined) return;
  throw new OperatingError(`login ${hidden.login} does not see all rows of table ${hidden.table}`, {
    code: "BACKUP_ROWS_HIDDEN",
    hint: `GRANT weir_backup TO ${hidden.login}`,
  });
}

async function eachLine(
  session: Session,
  { name, columns, order }: TableShape,
  visit: (line: string) => Promise<void> | void,
): Promise<{ readonly rows: number; readonly sha256: string }> {
  await session.query(
    `DECLARE dump NO SCROLL CURSOR FOR SELECT row_to_json(t)::text AS line FROM (SELECT ${columns.map(quoted).join(", ")} FROM ${quoted(name)} ORDER BY ${order}) t`,
  );
  const hash = createHash("sha256");
  let rows = 0;
  for (;;) {
    const fetched = await session.query<{ line: string }>(`FETCH ${ROWS_PER_FETCH} FROM dump`);
    if (fetched.length === 0) break;
    for (const { line } of fetched) {
      hash.update(line).update("\n");
      await visit(`${line}\n`);
    }
    rows += fetched.length;
  }
  await session.query("CLOSE dump");
  return { rows, sha256: hash.digest("hex") };
}

/** @throws OperatingError RESTORE_NOT_EMPTY naming a table. "same" = an earlier attempt has loaded this very backup. */
export async function refuseFilledPostgres(database: Database, backup: string): Promise<"empty" | "same"> {
  return database.transaction(
    "restore",
    async (session) => {
      for (const { name } of await readShapes(session)) {
        const [filled] = await session.query<{ comment: string | null }>(
          `SELECT obj_description($1::regclass, 'pg_class') AS comment FROM (SELECT 1 FROM ${quoted(name)} LIMIT 1) t`,
          [quoted(name)],
        );
        if (filled === undefined) continue;
        if (filled.comment === restoredComment(backup)) return "same";
        throw new OperatingError(`PostgreSQL's table ${name} has rows`, {
          code: "RESTORE_NOT_EMPTY",
          hint: "--into NAME restores into a database beside it; or drop and create the database, when you are sure that it may go",
        });
      }
      return "empty";
    },
    { frozen: true },
  );
}

/** Into an empty database, as one transaction; the lines of what is there then have the hashes of the dump. */
export async function loadPostgres(
  database: Database,
  { name: backup, postgres, parts }: Manifest,
  location: BackupLocation,
): Promise<void> {
  const last = postgres.migrations.at(-1);
  if (last === undefined) return;
  await migratePostgres(database, { upTo: last });
  await database.transaction("restore", async (session) => {
    await session.query("SET LOCAL row_security = off");
    await session.query("SET LOCAL TimeZone = 'UTC'");
    const applied = await session.query<{ name: string }>("SELECT name FROM schema_migrations ORDER BY name");
    if (applied.at(-1)?.name !== last) {
      throw new OperatingError(`the backup was made under migration ${last}, which this version of weir does not have`, {
        code: "RESTORE_OTHER_VERSION",
        hint: "restore with the version that made it, or a newer one",
      });
    }
    const shapes = await readShapes(session);
    for (const { name } of shapes) {
      const dumped = postgres.tables.find((table) => table.name === name);
      if (dumped === undefined) continue;
      // What the triggers would write stands in the dump already.
      await session.query(`ALTER TABLE ${quoted(name)} DISABLE TRIGGER USER`);
      const columns = dumped.columns.map(quoted).join(", ");
      for (const part of parts.filter(({ file }) => file === `${PREFIX}${name}.jsonl.zst`)) {
        const lines = zstdDecompressSync(await readPart(location, part))
          .toString()
          .split("\n")
          .slice(0, -1);
        for (let from = 0; from < lines.length; from += ROWS_PER_FETCH) {
          await session.query(
            `INSERT INTO ${quoted(name)} (${columns}) OVERRIDING SYSTEM VALUE
             SELECT ${columns} FROM json_populate_recordset(NULL::${quoted(name)}, $1::json)`,
            [`[${lines.slice(from, from + ROWS_PER_FETCH).join(",")}]`],
          );
        }
      }
      await session.query(`ALTER TABLE ${quoted(name)} ENABLE TRIGGER USER`);
      await session.query(`COMMENT ON TABLE ${quoted(name)} IS '${restoredComment(backup)}'`);
      await restartIdentity(session, name);
      const { order } = shapes.find((shape) => shape.name === name)!;
      const now = await eachLine(session, { name, columns: dumped.columns, order }, () => undefined);
      if (now.rows !== dumped.rows || now.sha256 !== dumped.sha256) {
        throw new CorruptStateError(
          `table ${name} has ${now.rows} rows after the restore, not the ${dumped.rows} that were dumped, or others`,
          {
            code: "RESTORE_DIFFERS",
            hint: "weir backup verify; restore an older backup",
          },
        );
      }
    }
  });
  // What came after the backup's version.
  await migratePostgres(database);
}

/** The next id is behind the highest that was restored. */
async function restartIdentity(session: Session, table: string): Promise<void> {
  const identities = await session.query<{ column: string }>(
    `SELECT attname::text AS column FROM pg_attribute WHERE attrelid = $1::regclass AND attidentity <> '' AND NOT attisdropped`,
    [quoted(table)],
  );
  for (const { column } of identities) {
    await session.query(
      `SELECT setval(pg_get_serial_sequence($1, $2), greatest(coalesce((SELECT max(${quoted(column)}) FROM ${quoted(table)}), 0), 1),
                     EXISTS (SELECT 1 FROM ${quoted(table)}))`,
      [quoted(table), column],
    );
  }
}

function restoredComment(backup: string): string {
  return `restored from backup ${backup}`;
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
