/** Where the commands about rules find releases: a file, the tables, what is published. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import { Database, type Session } from "#shared/clients/postgres/database.ts";
import { draftRelease, newestRelease } from "#shared/clients/postgres/rules-store.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import { loadPublished, type LoadedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { parseRelease, type Release } from "#shared/rules/release.ts";
import { UsageError } from "./command.ts";
import { dataFolders, findPipeline } from "./pipeline.ts";

interface Where {
  readonly "data-dir"?: string | undefined;
  readonly lane?: string | undefined;
}

/** Of the pipeline that runs or, since releases are also there without one, of its data folder. */
export function rulesConfig(values: Where): Config {
  try {
    return findPipeline({ dataDir: values["data-dir"], lane: values.lane }).config;
  } catch (thrown) {
    if (!(thrown instanceof OperatingError) || thrown.code !== "PIPELINE_NOT_FOUND") throw thrown;
    const folders = dataFolders(values["data-dir"]);
    const dataDir = folders.find((folder) => existsSync(join(folder, "rules"))) ?? folders[0]!;
    return { ...loadConfig(), dataDir };
  }
}

export async function withDatabase<T>(config: Config, work: (database: Database) => Promise<T>): Promise<T> {
  const database = new Database(config.postgres);
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

export interface ReleaseFileContent {
  readonly release: Release;
  /** undefined: the file does not say what it was made from. */
  readonly base: number | undefined;
}

/** Checked as far as it can be without anything else. @throws UsageError, OperatingError RULES_INVALID naming every problem. */
export function readReleaseFile(file: string): ReleaseFileContent {
  let text: string;
  try {
    text = readFileSync(file === "-" ? 0 : file, "utf8");
  } catch (thrown) {
    throw new UsageError(`${file}: ${toError(thrown).message}`);
  }
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (thrown) {
    throw new OperatingError(`rules ${file} are no JSON: ${toError(thrown).message}`, { code: "RULES_INVALID" });
  }
  const hasVersion = typeof input === "object" && input !== null && "version" in input;
  const release = parseRelease(hasVersion ? input : Object.assign({ version: 1 }, input), file);
  compilePlan(release);
  return { release, base: hasVersion ? release.version : undefined };
}

export async function publishedRelease(config: Config): Promise<LoadedRelease> {
  return loadPublished(await openRulesObjects(config));
}

/** What an apply would make of the tables now. */
export async function tableDraft(session: Session): Promise<Release> {
  return draftRelease(session, ((await newestRelease(session))?.version ?? 0) + 1);
}
