/**
 * Enrichment tables in PostgreSQL, which is where they are decided: one transaction makes the next version and writes who, when and why. Publishing
 * what was decided is another step (shared/clients/enrichment/publication.ts), which can be repeated at any time.
 */
import { draftOf, encodeEnrichment, type EnrichmentDraft } from "../../events/enrichment-table.ts";
import { OperatingError } from "../../kernel/errors.ts";
import { failpoint } from "../../kernel/failpoint.ts";
import { sha256Of } from "../../rules/load-release.ts";
import type { Database, Session } from "./database.ts";
import { takeLock } from "./rules-store.ts";

/** Any number, the same everywhere: who decides or publishes takes turns. */
const LOCK = 7_236_103;
/** A publisher that waits for a broker that is away holds it for a while. */
const LOCK_LIMIT_MS = 20_000;

export interface EnrichmentFacts {
  readonly version: number;
  /** Of the object's bytes. */
  readonly sha256: string;
  /** Of the table without its version. */
  readonly table_sha256: string;
  readonly key: string;
  readonly row_count: number;
  readonly kind: "publish" | "rollback";
  readonly actor: string;
  readonly reason: string;
  /** Of a rollback: the version whose rows these are. */
  readonly restores: number | null;
  readonly created_at: Date;
}

export interface StoredEnrichment extends EnrichmentFacts {
  /** The very bytes that are published. */
  readonly content: string;
}

export interface EnrichmentEdit {
  readonly actor: string;
  readonly reason: string;
  readonly dryRun?: boolean;
  /** A published version that this database may not know, after a restore from a backup: versions only rise. */
  readonly above?: number;
}

export interface EnrichmentOutcome {
  /** null: what is there already is what was asked for. */
  readonly made: StoredEnrichment | null;
  readonly before: StoredEnrichment | null;
}

const FACTS = "version, sha256, table_sha256, key, row_count, kind, actor, reason, restores, created_at";
const COLUMNS = `${FACTS}, content`;

export async function newestEnrichment(session: Session): Promise<StoredEnrichment | null> {
  const [row] = await session.query<StoredEnrichment>(`SELECT ${COLUMNS} FROM enrichment_releases ORDER BY version DESC LIMIT 1`);
  return row ?? null;
}

/** @throws OperatingError ENRICHMENT_VERSION */
export async function enrichmentOf(session: Session, version: number): Promise<StoredEnrichment> {
  const [row] = await session.query<StoredEnrichment>(`SELECT ${COLUMNS} FROM enrichment_releases WHERE version = $1`, [version]);
  return row ?? absent(`there is no enrichment table ${version}`, "weir enrichment ls");
}

/** Newest first. */
export async function listEnrichments(session: Session, limit: number | null): Promise<EnrichmentFacts[]> {
  return session.query<EnrichmentFacts>(`SELECT ${FACTS} FROM enrichment_releases ORDER BY version DESC LIMIT $1`, [limit]);
}

/** Makes a version of the table, unless the newest has the same rows. */
export async function addEnrichment(
  database: Database,
  edit: EnrichmentEdit & { readonly table: EnrichmentDraft },
): Promise<EnrichmentOutcome> {
  return decide(database, edit, async () => ({ kind: "publish", restores: null, table: edit.table }));
}

/** The rows of an older version as a new one. `to` null = the one before the newest that differs from it. */
export async function rollBackEnrichment(
  database: Database,
  edit: EnrichmentEdit & { readonly to: number | null },
): Promise<EnrichmentOutcome> {
  return decide(database, edit, async (session, newest) => {
    if (newest === null) return noneYet();
    const target = edit.to === null ? await differentBefore(session, newest) : await enrichmentOf(session, edit.to);
    return { kind: "rollback", restores: target.version, table: draftOf(target.content) };
  });
}

/** @throws OperatingError ENRICHMENT_VERSION */
export function noneYet(): never {
  return absent("no enrichment table was ever published", "weir enrichment publish FILE --key source --reason TEXT");
}

/** Until the transaction ends. @throws OperatingError RULES_BUSY */
export function lockEnrichments(session: Session): Promise<void> {
  return takeLock(session, {
    sql: `SELECT pg_advisory_xact_lock(${LOCK})`,
    limitMs: LOCK_LIMIT_MS,
    holder: "another publication of an enrichment table is under way and has been",
  });
}

interface Decision extends Pick<EnrichmentFacts, "kind" | "restores"> {
  readonly table: EnrichmentDraft;
}

async function decide(
  database: Database,
  { actor, reason, dryRun = false, above = 0 }: EnrichmentEdit,
  choose: (session: Session, newest: StoredEnrichment | null) => Promise<Decision>,
): Promise<EnrichmentOutcome> {
  const outcome = await database.transaction(
    actor,
    async (session): Promise<EnrichmentOutcome> => {
      await lockEnrichments(session);
      const newest = await newestEnrichment(session);
      const { kind, restores, table } = await choose(session, newest);
      // Canonical, so that the order of a file's lines makes no new version.
      const tableSha256 = sha256Of(Buffer.from(encodeEnrichment(table, 0)));
      if (tableSha256 === newest?.table_sha256) return { made: null, before: newest };
      const version = Math.max(newest?.version ?? 0, above) + 1;
      const content = encodeEnrichment(table, version);
      const [made] = await session.query<StoredEnrichment>(
        `INSERT INTO enrichment_releases (version, sha256, content, table_sha256, key, row_count, kind, actor, reason, restores)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${COLUMNS}`,
        [
          version,
          sha256Of(Buffer.from(content)),
          content,
          tableSha256,
          table.key,
          Object.keys(table.rows).length,
          kind,
          actor,
          reason,
          restores,
        ],
      );
      return { made: made!, before: newest };
    },
    { reason, dryRun },
  );
  if (!dryRun && outcome.made !== null) failpoint("enrichment-committed");
  return outcome;
}

async function differentBefore(session: Session, newest: StoredEnrichment): Promise<StoredEnrichment> {
  const [row] = await session.query<StoredEnrichment>(
    `SELECT ${COLUMNS} FROM enrichment_releases WHERE version < $1 AND table_sha256 <> $2 ORDER BY version DESC LIMIT 1`,
    [newest.version, newest.table_sha256],
  );
  return (
    row ?? absent(`there is no enrichment table before version ${newest.version} to go back to`, "weir enrichment publish FILE --empty")
  );
}

function absent(message: string, hint: string): never {
  throw new OperatingError(message, { code: "ENRICHMENT_VERSION", hint });
}
