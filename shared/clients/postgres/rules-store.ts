/**
 * Releases of the rules in PostgreSQL, which is where they are decided: one transaction takes the tables, makes the next version and writes who,
 * when and why. Publishing what was decided is another step (shared/clients/rules/publication.ts), which can be repeated at any time.
 */
import { isDeepStrictEqual } from "node:util";
import { OperatingError } from "../../kernel/errors.ts";
import { failpoint } from "../../kernel/failpoint.ts";
import { assembleRelease, rowsOf, type RulesRows } from "../../rules/assemble.ts";
import { brokenVersions } from "../../rules/compatibility.ts";
import { sha256Of } from "../../rules/load-release.ts";
import { compilePlan } from "../../rules/plan.ts";
import { parseRelease, type Release } from "../../rules/release.ts";
import type { Database, Session } from "./database.ts";
import { readRows, writeRows } from "./rules-tables.ts";

/** Somebody who edits in an open transaction holds this up; an apply should say so rather than hang. */
const LOCK_LIMIT_MS = 5_000;
const LOCK_NOT_AVAILABLE = "55P03";

export interface StoredRelease {
  readonly version: number;
  readonly sha256: string;
  /** The very bytes that are published. */
  readonly content: string;
  readonly kind: "seed" | "apply" | "rollback";
  readonly actor: string;
  readonly reason: string;
  /** Of a rollback: the version whose content this is. */
  readonly restores: number | null;
  readonly created_at: Date;
}

export interface Edit {
  readonly actor: string;
  readonly reason: string;
  readonly dryRun?: boolean;
  /** What was changed in the tables since the newest release may be overwritten. */
  readonly discardEdits?: boolean;
  /** A version of an event type may become stricter than producers know it. */
  readonly allowBreaking?: boolean;
  /** A published version that this database may not know, after a restore from a backup: versions only rise. */
  readonly above?: number;
}

export interface ReleaseFile {
  readonly release: Release;
  /** The version that the file was made from. */
  readonly base: number;
}

export interface EditOutcome {
  /** null: what is there already is what was asked for. */
  readonly made: StoredRelease | null;
  readonly before: StoredRelease | null;
}

const COLUMNS = "version, sha256, content, kind, actor, reason, restores, created_at";

export async function newestRelease(session: Session): Promise<StoredRelease | null> {
  const [row] = await session.query<StoredRelease>(`SELECT ${COLUMNS} FROM rules_releases ORDER BY version DESC LIMIT 1`);
  return row ?? null;
}

/** @throws OperatingError RULES_VERSION */
export async function releaseOf(session: Session, version: number): Promise<StoredRelease> {
  const [row] = await session.query<StoredRelease>(`SELECT ${COLUMNS} FROM rules_releases WHERE version = $1`, [version]);
  if (row !== undefined) return row;
  throw new OperatingError(`there is no release ${version} of the rules`, { code: "RULES_VERSION", hint: "weir rules ls" });
}

export async function listReleases(session: Session, limit: number): Promise<StoredRelease[]> {
  return session.query<StoredRelease>(`SELECT ${COLUMNS} FROM rules_releases ORDER BY version DESC LIMIT $1`, [limit]);
}

export async function draftRelease(session: Session, version: number): Promise<Release> {
  return assemble(await readRows(session), version);
}

/** Fills empty tables and makes their release; changes nothing where there is anything. */
export async function seedRules(database: Database, seed: Release): Promise<void> {
  await database.transaction("seed", async (session) => {
    const [existing] = await session.query<{ count: string }>("SELECT count(*) FROM event_types");
    if (existing?.count === "0") await writeRows(session, rowsOf(seed));
  });
}

/** Makes a release of what stands in the tables or, with `file`, of that, which is written into them first. */
export async function applyRules(database: Database, edit: Edit & { readonly file?: ReleaseFile }): Promise<EditOutcome> {
  return decide(database, edit, async (session, newest) => {
    if (edit.file !== undefined) await takeFile(session, edit.file, newest, edit.discardEdits === true);
    return { kind: newest === null ? "seed" : "apply", restores: null };
  });
}

/** The content of an older release as a new version. `to` null = the one before the newest that differs from it. */
export async function rollBackRules(database: Database, edit: Edit & { readonly to: number | null }): Promise<EditOutcome> {
  return decide(database, edit, async (session, newest) => {
    if (newest === null)
      throw new OperatingError("no release of the rules was ever made", { code: "RULES_VERSION", hint: "weir rules apply" });
    const target = edit.to === null ? await differentBefore(session, newest) : await releaseOf(session, edit.to);
    const [{ source } = { source: null }] = await session.query<{ source: RulesRows | null }>(
      "SELECT source FROM rules_releases WHERE version = $1",
      [target.version],
    );
    if (edit.discardEdits !== true) await refusePendingEdits(session, newest);
    await writeRows(session, source ?? rowsOf(contentOf(target)));
    return { kind: "rollback", restores: target.version };
  });
}

/** One at a time, editors of the tables kept out, all or nothing. */
async function decide(
  database: Database,
  edit: Edit,
  change: (session: Session, newest: StoredRelease | null) => Promise<Pick<StoredRelease, "kind" | "restores">>,
): Promise<EditOutcome> {
  const { actor, reason, dryRun = false, above = 0 } = edit;
  const outcome = await database.transaction(
    actor,
    async (session): Promise<EditOutcome> => {
      await lockRules(session);
      const newest = await newestRelease(session);
      const { kind, restores } = await change(session, newest);
      const source = await readRows(session);
      const version = Math.max(newest?.version ?? 0, above) + 1;
      const release = assemble(source, version);
      if (newest !== null && isSameContent(release, newest)) return { made: null, before: newest };
      // A rollback goes back to what producers knew before.
      if (newest !== null && kind !== "rollback" && edit.allowBreaking !== true) refuseBreaking(contentOf(newest), release);
      const content = JSON.stringify(release, null, 1);
      const [made] = await session.query<StoredRelease>(
        `INSERT INTO rules_releases (version, sha256, content, kind, actor, reason, restores, source)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb) RETURNING ${COLUMNS}`,
        [version, sha256Of(Buffer.from(content)), content, kind, actor, reason, restores, JSON.stringify(source)],
      );
      return { made: made!, before: newest };
    },
    { reason, dryRun },
  );
  if (!dryRun && outcome.made !== null) failpoint("rules-committed");
  return outcome;
}

function lockRules(session: Session): Promise<void> {
  return takeLock(session, {
    sql: "LOCK TABLE rules_releases, event_types, data_sources, processing_rules IN SHARE ROW EXCLUSIVE MODE",
    limitMs: LOCK_LIMIT_MS,
    holder: "somebody has been editing the rules in an open transaction",
  });
}

/** @throws OperatingError RULES_BUSY after `limitMs`. */
export async function takeLock(
  session: Session,
  { sql, limitMs, holder }: { readonly sql: string; readonly limitMs: number; readonly holder: string },
): Promise<void> {
  await session.query(`SET LOCAL lock_timeout = ${limitMs}`);
  try {
    await session.query(sql);
  } catch (thrown) {
    if ((thrown as { readonly code?: string }).code !== LOCK_NOT_AVAILABLE) throw thrown;
    throw new OperatingError(`${holder} for more than ${limitMs / 1_000} s`, {
      code: "RULES_BUSY",
      hint: "wait until it has ended (pg_stat_activity shows it), then again",
      cause: thrown,
    });
  }
}

async function takeFile(session: Session, file: ReleaseFile, newest: StoredRelease | null, discardEdits: boolean): Promise<void> {
  // Done already, perhaps by this very command before its answer was lost: no conflict with itself.
  const isNewest = newest !== null && isSameContent(file.release, newest);
  if (!isNewest && newest !== null && file.base !== newest.version) {
    throw new OperatingError(
      `the file was made from version ${file.base}, and version ${newest.version} has been applied since by ${newest.actor}: ${newest.reason}`,
      {
        code: "RULES_CONFLICT",
        hint: `weir rules show ${newest.version} --diff ${file.base}; take that over and set "version": ${newest.version}`,
      },
    );
  }
  if (newest !== null && !discardEdits) await refusePendingEdits(session, newest);
  await writeRows(session, rowsOf(file.release));
}

async function refusePendingEdits(session: Session, newest: StoredRelease): Promise<void> {
  let draft: Release | undefined;
  try {
    draft = await draftRelease(session, newest.version);
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
  }
  if (draft !== undefined && isSameContent(draft, newest)) return;
  throw new OperatingError(`the tables hold edits that no release has yet, made since version ${newest.version}`, {
    code: "RULES_EDITS_PENDING",
    hint: "weir rules apply --dry-run shows them; apply them first, or --discard-edits (the audit log keeps them)",
  });
}

async function differentBefore(session: Session, newest: StoredRelease): Promise<StoredRelease> {
  const release = contentOf(newest);
  for (const candidate of await listReleases(session, 1_000)) {
    if (candidate.version < newest.version && !isSameContent(release, candidate)) return candidate;
  }
  throw new OperatingError(`there is no release before version ${newest.version} to go back to`, {
    code: "RULES_VERSION",
    hint: "weir rules ls",
  });
}

/** @throws OperatingError RULES_BREAKING naming every field. */
export function refuseBreaking(before: Release, after: Release): void {
  const broken = brokenVersions(before, after);
  if (broken.length === 0) return;
  const lines = broken.map(({ what, field, change }) => `  ${what}, ${field}: ${change}`);
  throw new OperatingError(`events that producers may send by version ${before.version} would be refused:\n${lines.join("\n")}`, {
    code: "RULES_BREAKING",
    hint: "give the event type a new schemaVersion, tighten it by a processing rule, or --allow-breaking",
  });
}

function contentOf({ version, content }: StoredRelease): Release {
  return parseRelease(JSON.parse(content), `version ${version}`);
}

/** @throws OperatingError RULES_INVALID naming every problem. */
function assemble(rows: RulesRows, version: number): Release {
  const { release, problems } = assembleRelease(rows, version);
  if (release === null) {
    throw new OperatingError(
      `the rules in PostgreSQL have ${problems.length} problem${problems.length === 1 ? "" : "s"}:\n${problems.map((problem) => `  ${problem}`).join("\n")}`,
      { code: "RULES_INVALID" },
    );
  }
  compilePlan(release);
  return release;
}

/** By what they mean, not by their bytes: a newer version of weir may write a default that an older one left out. */
function isSameContent(release: Release, stored: StoredRelease): boolean {
  const { version: _ours, ...ours } = release;
  const { version: _theirs, ...theirs } = contentOf(stored);
  return isDeepStrictEqual(sorted(ours), sorted(theirs));
}

function sorted({ eventTypes, sources, rules, ...rest }: Omit<Release, "version">): object {
  const key = (entry: { readonly name: string; readonly schemaVersion?: number }): string => `${entry.name} ${entry.schemaVersion ?? 0}`;
  const byKey = <T extends { readonly name: string }>(list: readonly T[]): T[] => list.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
  return { ...rest, eventTypes: byKey(eventTypes), sources: byKey(sources), rules: byKey(rules) };
}
