/** Which rules a command judges events by: a file's, else the published ones, else the seed. */
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { readLocalState } from "#local/state.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { Config } from "#shared/config/config.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { loadPublished, loadRelease, loadSeedRelease, releaseKey } from "#shared/rules/load-release.ts";
import { parseRelease } from "#shared/rules/release.ts";
import { compilePlan, type Plan } from "#shared/rules/plan.ts";
import { UsageError } from "./command.ts";
import { dataFolders } from "./pipeline.ts";

export async function loadPlan(
  config: Config,
  { rulesFile, dataDir }: { readonly rulesFile?: string | undefined; readonly dataDir?: string | undefined },
): Promise<Plan> {
  if (rulesFile !== undefined) return compilePlan(loadRelease(resolve(rulesFile)));
  const folder = dataFolders(dataDir).find((candidate) => existsSync(candidate));
  if (folder === undefined && dataDir !== undefined) throw new UsageError(`--data-dir: there is no folder ${dataDir}`);
  const local = folder === undefined ? undefined : readLocalState(folder);
  return publishedPlan({ rulesUrl: local?.rulesUrl ?? config.rulesUrl, dataDir: folder ?? config.dataDir });
}

export async function publishedPlan(config: Pick<Config, "rulesUrl" | "dataDir">): Promise<Plan> {
  const { release } = await loadPublished(await openRulesObjects(config));
  return compilePlan(release);
}

/** What was published under that version, whatever is current now. @throws OperatingError RULES_UNREADABLE, RULES_INVALID. */
export async function planOfVersion(config: Pick<Config, "rulesUrl" | "dataDir">, version: number): Promise<Plan> {
  const objects = await openRulesObjects(config);
  const key = releaseKey(version);
  const content = await objects.read(key);
  if (content !== null && content !== "unchanged")
    return compilePlan(parseRelease(JSON.parse(Buffer.from(content.bytes).toString()), `${objects.address} ${key}`));
  const seed = loadSeedRelease();
  if (seed.version === version) return compilePlan(seed);
  throw new OperatingError(`rules version ${version} is not at ${objects.address} any more`, { code: "RULES_UNREADABLE" });
}
