/** `weir rules apply|rollback|publish`: decide in PostgreSQL, then publish. */
import { userInfo } from "node:os";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { Database } from "#shared/clients/postgres/database.ts";
import { applyRules, type Edit, type EditOutcome, newestRelease, rollBackRules } from "#shared/clients/postgres/rules-store.ts";
import { type Publication, publishedVersion, publishNewest } from "#shared/clients/rules/publication.ts";
import type { Config } from "#shared/config/config.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { parseRelease } from "#shared/rules/release.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, UsageError } from "./command.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { describeChanges, type RulesChange, rulesChanges } from "./rules-diff.ts";
import { readReleaseFile, withDatabase } from "./rules-sources.ts";

const OPTIONS = {
  reason: { type: "string" },
  by: { type: "string" },
  "dry-run": { type: "boolean" },
  "discard-edits": { type: "boolean" },
  "allow-breaking": { type: "boolean" },
} as const;

interface Values {
  readonly reason?: string | undefined;
  readonly by?: string | undefined;
  readonly "dry-run"?: boolean | undefined;
  readonly "discard-edits"?: boolean | undefined;
  readonly "allow-breaking"?: boolean | undefined;
  readonly json?: boolean | undefined;
}

export async function applyRelease(context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(context.args, OPTIONS);
  if (positionals.length > 1) throw new UsageError("rules apply: one FILE at most", "weir rules apply rules.json --reason TEXT");
  const file = positionals[0] === undefined ? undefined : readReleaseFile(positionals[0]);
  const edit = editOf(values, "apply");
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  return withDatabase(config, async (database) => {
    // Without a version in it, the file is a change of what is newest now.
    const base = file?.base ?? (await newestRelease(database))?.version ?? 0;
    const above = await publishedVersion(await openRulesObjects(config));
    return carryOut(context, values, {
      config,
      database,
      decide: () => applyRules(database, { ...edit, above, ...(file === undefined ? {} : { file: { release: file.release, base } }) }),
    });
  });
}

export async function rollBackRelease(context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(context.args, OPTIONS);
  if (positionals.length > 1) throw new UsageError("rules rollback: one VERSION at most", "weir rules rollback 3 --reason TEXT");
  const to = numberOption("version", positionals[0], { from: 1, to: 2_147_483_647, whole: true }) ?? null;
  const edit = editOf(values, "rollback");
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  return withDatabase(config, async (database) => {
    const above = await publishedVersion(await openRulesObjects(config));
    return carryOut(context, values, { config, database, decide: () => rollBackRules(database, { ...edit, above, to }) });
  });
}

export async function publishRelease({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {});
  if (positionals.length > 0) throw new UsageError("rules publish takes no arguments", "weir rules publish");
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const publication = await withDatabase(config, (database) => publish(config, database));
  if (publication === null)
    throw new OperatingError("no release of the rules was ever made", { code: "RULES_VERSION", hint: "weir rules apply" });
  out(values.json === true ? `${JSON.stringify(publication)}\n` : describePublication(publication));
  return EXIT.ok;
}

interface Work {
  readonly config: Config;
  readonly database: Database;
  readonly decide: () => Promise<EditOutcome>;
}

async function carryOut({ out }: CommandContext, values: Values, { config, database, decide }: Work): Promise<ExitCode> {
  const { made, before } = await decide();
  const changes = made === null || before === null ? [] : changesOf(before.content, made.content);
  const dryRun = values["dry-run"] === true;
  // Also when there is nothing to apply: an apply that died before may have left its publication to this one.
  const publication = dryRun ? null : await publish(config, database);
  if (values.json === true) {
    out(`${JSON.stringify({ dryRun, version: (made ?? before)?.version ?? null, made: made !== null, changes, publication })}\n`);
    return EXIT.ok;
  }
  if (made === null) out(`nothing to apply: version ${before!.version} is what was asked for\n`);
  else {
    out(describeChanges(changes));
    const what = made.restores === null ? "" : `, the content of version ${made.restores}`;
    out(
      dryRun
        ? `would become version ${made.version}${what}; nothing was changed\n`
        : `version ${made.version} applied by ${made.actor}${what}\n`,
    );
  }
  if (publication !== null) out(describePublication(publication));
  return EXIT.ok;
}

async function publish(config: Config, database: Database): Promise<Publication | null> {
  return publishNewest({
    database,
    objects: await openRulesObjects(config),
    withKafka: (work) => withKafka(config, work),
    id: { lane: config.lane, generation: config.generation },
    actor: "publisher",
  });
}

function changesOf(before: string, after: string): RulesChange[] {
  return rulesChanges(parseRelease(JSON.parse(before), "before"), parseRelease(JSON.parse(after), "after"));
}

function editOf(values: Values, command: string): Edit {
  const { reason = "", by = userInfo().username } = values;
  const dryRun = values["dry-run"] === true;
  if (reason.trim() === "" && !dryRun)
    throw new UsageError(
      `rules ${command}: --reason must say why, for whoever looks back`,
      `weir rules ${command} --reason "amounts in cents"`,
    );
  if (by.trim() === "") throw new UsageError("--by must be a name");
  return {
    actor: by.trim(),
    reason: reason.trim(),
    dryRun,
    discardEdits: values["discard-edits"] === true,
    allowBreaking: values["allow-breaking"] === true,
  };
}

function describePublication({ version, pointerMoved, fromMs, appended, newerThanKnown }: Publication): string {
  if (newerThanKnown !== null)
    return `published is version ${newerThanKnown}, newer than PostgreSQL's ${version}: it stays; the next apply makes version ${newerThanKnown + 1}\n`;
  if (!pointerMoved && appended.length === 0) return `version ${version} is published and announced already\n`;
  const where = appended.map(({ partition, offset }) => `${partition}@${offset}`).join(" ");
  const from = fromMs > Date.now() ? `, in force from ${new Date(fromMs).toISOString()} on` : "";
  return `version ${version} is published${from}${where === "" ? "" : `, announced in events.valid at ${where}`}\n`;
}
