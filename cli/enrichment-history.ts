import { readSwitches } from "#shared/clients/announcement.ts";
import { newestPublished } from "#shared/clients/enrichment/publication.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import { enrichmentOf, listEnrichments, newestEnrichment, noneYet } from "#shared/clients/postgres/enrichment-store.ts";
import { draftOf } from "#shared/events/enrichment-table.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, printable, table, UsageError } from "./command.ts";
import { columnOf } from "./enrichment-file.ts";
import { findPipeline } from "./pipeline.ts";
import { withDatabase } from "./rules-sources.ts";

export async function listTables({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { last: { type: "string" } });
  if (positionals.length > 0) throw new UsageError("enrichment ls takes no arguments", "weir enrichment ls --last 50");
  const last = numberOption("last", values.last, { from: 1, to: 10_000, whole: true }) ?? 20;
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const { releases, switches } = await withDatabase(config, async (database) => ({
    releases: await listEnrichments(database, last),
    switches: await readSwitches(database, "enrichment_switches", { lane: config.lane, generation: config.generation }),
  }));
  const published = await newestPublished(await openRulesObjects(config));
  const rows = releases.map((release) => ({
    version: release.version,
    published: release.version === published,
    at: release.created_at.toISOString(),
    by: release.actor,
    kind: release.kind,
    restores: release.restores,
    key: release.key,
    rows: release.row_count,
    reason: release.reason,
    switches: switches.filter(({ version }) => version === release.version).map(({ partition, offset }) => ({ partition, offset })),
  }));
  if (values.json === true) {
    out(`${JSON.stringify({ published, releases: rows })}\n`);
    return EXIT.ok;
  }
  if (rows.length === 0) out("no enrichment table was ever published\n");
  else {
    const lines = rows.map((row) => [
      row.version,
      row.published ? "*" : "",
      row.at.slice(0, 19).replace("T", " "),
      printable(row.by),
      row.restores === null ? row.kind : `back to ${row.restores}`,
      printable(row.key),
      row.rows,
      row.switches.map(({ partition, offset }) => `${partition}@${offset}`).join(" "),
      printable(row.reason),
    ]);
    out(table([["version", "", "when (UTC)", "who", "how", "key", "rows", "in force from", "why"], ...lines]));
  }
  return EXIT.ok;
}

export async function showTable({ args, out, err }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {});
  if (positionals.length > 1) throw new UsageError("enrichment show: one VERSION at most", "weir enrichment show 3");
  const version = numberOption("version", positionals[0], { from: 1, to: 2_147_483_647, whole: true });
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const shown = await withDatabase(config, async (database) =>
    version === undefined ? ((await newestEnrichment(database)) ?? noneYet()) : enrichmentOf(database, version),
  );
  const { key, rows } = draftOf(shown.content);
  if (values.json === true) {
    const { sha256, kind, actor, reason, restores, created_at } = shown;
    const facts = { version: shown.version, sha256, kind, by: actor, reason, restores, at: created_at.toISOString() };
    out(`${JSON.stringify({ ...facts, key, rows })}\n`);
    return EXIT.ok;
  }
  // Apart from the rows, which can be edited and published.
  const what = `version ${shown.version}, ${shown.row_count} rows by ${printable(key)}`;
  err(`${what}, ${shown.kind} by ${printable(shown.actor)} at ${shown.created_at.toISOString()}: ${printable(shown.reason)}\n`);
  const column = columnOf(key);
  for (const [value, attributes] of Object.entries(rows)) out(`${JSON.stringify({ [column]: value, ...attributes })}\n`);
  return EXIT.ok;
}
