/**
 * Rules from PostgreSQL to where the validator reads them: `<dataDir>/rules/<version>.json` (create-once) and `<dataDir>/rules/current.json`, the
 * local stand-in for the bucket. The same content never makes a second version.
 */
import { createHash } from "node:crypto";
import { link, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CorruptStateError } from "../../kernel/errors.ts";
import { parseRelease, type Release } from "../../rules/release.ts";
import type { Database, Session } from "./database.ts";

interface EventTypeRow {
  readonly name: string;
  readonly schema_version: number;
  readonly schema: Record<string, unknown>;
}

interface ReleaseRow {
  readonly version: number;
  readonly sha256: string;
  readonly content: string;
}

/** Fills empty tables; changes nothing where there is anything. */
export async function seedRules(database: Database, seed: Release): Promise<void> {
  await database.transaction("seed", async (session) => {
    const [existing] = await session.query<{ count: string }>("SELECT count(*) FROM event_types");
    if (existing?.count !== "0") return;
    for (const { name, schemaVersion, ...schema } of seed.eventTypes) {
      await session.query("INSERT INTO event_types (name, schema_version, schema) VALUES ($1, $2, $3)", [name, schemaVersion, schema]);
    }
    for (const { name, historical } of seed.sources) {
      await session.query("INSERT INTO data_sources (name, is_historical) VALUES ($1, $2)", [name, historical]);
    }
  });
}

/** Makes a release of what is active now and publishes it. Returns its version. */
export async function publishRelease(database: Database, dataDir: string, actor: string): Promise<number> {
  const release = await database.transaction(actor, async (session) => {
    await session.query("LOCK TABLE rules_releases IN EXCLUSIVE MODE");
    const [latest] = await session.query<ReleaseRow>("SELECT version, sha256, content FROM rules_releases ORDER BY version DESC LIMIT 1");
    const parts = await activeParts(session);
    if (latest !== undefined && contentOf(latest.version, parts) === latest.content) return latest;
    const version = (latest?.version ?? 0) + 1;
    parseRelease({ version, ...parts }, "from PostgreSQL");
    const content = contentOf(version, parts);
    const sha256 = createHash("sha256").update(content).digest("hex");
    await session.query("INSERT INTO rules_releases (version, sha256, content) VALUES ($1, $2, $3)", [version, sha256, content]);
    return { version, sha256, content };
  });
  await writeRelease(dataDir, release);
  return release.version;
}

interface ReleaseParts {
  readonly eventTypes: readonly object[];
  readonly sources: readonly object[];
}

async function activeParts(session: Session): Promise<ReleaseParts> {
  const types = await session.query<EventTypeRow>(
    "SELECT name, schema_version, schema FROM event_types WHERE is_active ORDER BY name, schema_version",
  );
  const sources = await session.query<{ name: string; is_historical: boolean }>(
    "SELECT name, is_historical FROM data_sources WHERE is_active ORDER BY name",
  );
  return {
    eventTypes: types.map((row) => Object.assign({ name: row.name, schemaVersion: row.schema_version }, row.schema)),
    sources: sources.map((row) => ({ name: row.name, historical: row.is_historical })),
  };
}

function contentOf(version: number, parts: ReleaseParts): string {
  return JSON.stringify({ version, ...parts }, null, 1);
}

async function writeRelease(dataDir: string, release: ReleaseRow): Promise<void> {
  const folder = join(dataDir, "rules");
  await mkdir(folder, { recursive: true });
  const file = `${release.version}.json`;
  await createFile(join(folder, file), release.content);
  await replaceFile(join(folder, "current.json"), JSON.stringify({ version: release.version, file, sha256: release.sha256 }));
}

/** Once and for all: a version that exists with other content is never replaced, since blocks name the version that they were checked by. */
async function createFile(path: string, content: string): Promise<void> {
  const fresh = `${path}.${process.pid}.new`;
  try {
    await writeFile(fresh, content);
    await link(fresh, path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === "EEXIST" && (await readFile(path, "utf8")) === content) return;
    throw new CorruptStateError(`cannot create ${path}, or it exists with other content`, {
      code: "RULES_UNWRITABLE",
      hint: "if the metadata was made anew, move the old folder of rules away",
      cause: thrown,
    });
  } finally {
    await rm(fresh, { force: true });
  }
}

/** Readers see the old file or the new one, never half of one. */
async function replaceFile(path: string, content: string): Promise<void> {
  const fresh = `${path}.${process.pid}.new`;
  try {
    await writeFile(fresh, content);
    await rename(fresh, path);
  } catch (thrown) {
    throw new CorruptStateError(`cannot write ${path}`, { code: "RULES_UNWRITABLE", cause: thrown });
  }
}
