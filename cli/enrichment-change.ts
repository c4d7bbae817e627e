/** `weir enrichment publish|rollback`: decide in PostgreSQL, then publish. */
import { userInfo } from "node:os";
import { type EnrichmentPublication, newestPublished, publishNewestEnrichment } from "#shared/clients/enrichment/publication.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import type { Database } from "#shared/clients/postgres/database.ts";
import {
  addEnrichment,
  type EnrichmentEdit,
  type EnrichmentOutcome,
  noneYet,
  rollBackEnrichment,
} from "#shared/clients/postgres/enrichment-store.ts";
import type { Config } from "#shared/config/config.ts";
import { draftOf, type EnrichmentDraft } from "#shared/events/enrichment-table.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, printable, UsageError } from "./command.ts";
import { checkKey, parseTable, readText } from "./enrichment-file.ts";
import { findPipeline, withKafka } from "./pipeline.ts";
import { withDatabase } from "./rules-sources.ts";

const OPTIONS = { reason: { type: "string" }, by: { type: "string" }, "dry-run": { type: "boolean" } } as const;
const FILE_OPTIONS = { ...OPTIONS, key: { type: "string" }, column: { type: "string" }, empty: { type: "boolean" } } as const;

interface Values {
  readonly reason?: string | undefined;
  readonly by?: string | undefined;
  readonly "dry-run"?: boolean | undefined;
  readonly json?: boolean | undefined;
  readonly "data-dir"?: string | undefined;
  readonly lane?: string | undefined;
}

export async function publishTable({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, FILE_OPTIONS);
  const [file] = positionals;
  if (positionals.length > 1)
    throw new UsageError("enrichment publish: one FILE at most", "weir enrichment publish FILE --key source --reason TEXT");
  if (file === undefined) {
    const given = Object.keys(FILE_OPTIONS).find((name) => name in values);
    if (given !== undefined) throw new UsageError(`enrichment publish: --${given} is about a FILE`, "weir enrichment publish --help");
    return finish(values, out);
  }
  const key = checkKey(values.key);
  const edit = editOf(values, "publish");
  const origin = file === "-" ? "stdin" : file;
  const table = parseTable(readText(file), { origin, key, column: values.column, mayBeEmpty: values.empty === true });
  return change(values, out, (database, above) => addEnrichment(database, { ...edit, above, table }));
}

export async function rollBackTable({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, OPTIONS);
  if (positionals.length > 1) throw new UsageError("enrichment rollback: one VERSION at most", "weir enrichment rollback 3 --reason TEXT");
  const to = numberOption("version", positionals[0], { from: 1, to: 2_147_483_647, whole: true }) ?? null;
  const edit = editOf(values, "rollback");
  return change(values, out, (database, above) => rollBackEnrichment(database, { ...edit, above, to }));
}

async function finish(values: Values, out: CommandContext["out"]): Promise<ExitCode> {
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const publication = (await withDatabase(config, (database) => publish(config, database))) ?? noneYet();
  out(values.json === true ? `${JSON.stringify(publication)}\n` : describePublication(publication));
  return EXIT.ok;
}

async function change(
  values: Values,
  out: CommandContext["out"],
  decide: (database: Database, above: number) => Promise<EnrichmentOutcome>,
): Promise<ExitCode> {
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const dryRun = values["dry-run"] === true;
  const { made, before, publication } = await withDatabase(config, async (database) => {
    const above = await newestPublished(await openRulesObjects(config));
    const outcome = await decide(database, above);
    // Also when there is nothing new: one that died before may have left its publication to this one.
    return { ...outcome, publication: dryRun ? null : await publish(config, database) };
  });
  const changes = made === null ? null : changesOf(before === null ? null : draftOf(before.content), draftOf(made.content));
  if (values.json === true) {
    out(`${JSON.stringify({ dryRun, version: (made ?? before)!.version, made: made !== null, changes, publication })}\n`);
    return EXIT.ok;
  }
  if (made === null) out(`nothing to publish: version ${before!.version} has these rows\n`);
  else {
    out(describeChanges(changes!));
    const what = `version ${made.version}${made.restores === null ? "" : `, the rows of version ${made.restores}`}`;
    const size = `${made.row_count} rows by ${made.key}`;
    out(dryRun ? `would become ${what}: ${size}; nothing was changed\n` : `${what} by ${printable(made.actor)}: ${size}\n`);
  }
  if (publication !== null) out(describePublication(publication));
  return EXIT.ok;
}

async function publish(config: Config, database: Database): Promise<EnrichmentPublication | null> {
  return publishNewestEnrichment({
    database,
    objects: await openRulesObjects(config),
    withKafka: (work) => withKafka(config, work),
    id: { lane: config.lane, generation: config.generation },
    actor: "publisher",
  });
}

export interface TableChanges {
  /** Another key: no row of the old table counts. */
  readonly key: readonly [before: string, after: string] | null;
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

/** Which keys have other attributes now. */
export function changesOf(before: EnrichmentDraft | null, after: EnrichmentDraft): TableChanges {
  const isSameKey = before?.key === after.key;
  const old = new Map(isSameKey ? Object.entries(before.rows) : []);
  const rows = Object.entries(after.rows);
  return {
    key: before === null || isSameKey ? null : [before.key, after.key],
    added: rows.filter(([key]) => !old.has(key)).map(([key]) => key),
    removed: [...old.keys()].filter((key) => !Object.hasOwn(after.rows, key)),
    // Both are in canonical order.
    changed: rows.filter(([key, own]) => old.has(key) && JSON.stringify(old.get(key)) !== JSON.stringify(own)).map(([key]) => key),
  };
}

const SHOWN = 5;

function describeChanges({ key, added, removed, changed }: TableChanges): string {
  const some = (keys: readonly string[]): string =>
    `${keys.slice(0, SHOWN).map(printable).join(" ")}${keys.length > SHOWN ? ` and ${keys.length - SHOWN} more` : ""}`;
  return [
    ...(key === null ? [] : [`! by ${key[1]} instead of ${key[0]}`]),
    ...(added.length === 0 ? [] : [`+ ${some(added)}`]),
    ...(removed.length === 0 ? [] : [`- ${some(removed)}`]),
    ...(changed.length === 0 ? [] : [`~ ${some(changed)}`]),
  ]
    .map((line) => `${line}\n`)
    .join("");
}

function describePublication({ version, written, appended, newerThanKnown }: EnrichmentPublication): string {
  const putBack = written.filter((each) => each !== version);
  const lines = putBack.length === 0 ? "" : `objects put back: version ${putBack.toSorted((a, b) => a - b).join(", ")}\n`;
  if (newerThanKnown !== null)
    return `${lines}published is version ${newerThanKnown}, newer than PostgreSQL's ${version}: it stays; the next publish makes version ${newerThanKnown + 1}\n`;
  if (appended.length === 0) return `${lines}version ${version} is published and announced already\n`;
  return `${lines}version ${version} is in force from events.valid ${appended.map(({ partition, offset }) => `${partition}@${offset}`).join(" ")} on\n`;
}

function editOf({ reason = "", by = userInfo().username, "dry-run": dryRun = false }: Values, command: string): EnrichmentEdit {
  if (reason.trim() === "" && !dryRun)
    throw new UsageError(
      `enrichment ${command}: --reason must say why, for whoever looks back`,
      `weir enrichment ${command} --reason "new contract"`,
    );
  if (by.trim() === "") throw new UsageError("--by must be a name");
  return { actor: by.trim(), reason: reason.trim(), dryRun };
}
