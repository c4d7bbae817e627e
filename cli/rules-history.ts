import { readSwitches } from "#shared/clients/announcement.ts";
import { listReleases, newestRelease, releaseOf, type StoredRelease } from "#shared/clients/postgres/rules-store.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { parseRelease } from "#shared/rules/release.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, printable, table, UsageError } from "./command.ts";
import { findPipeline } from "./pipeline.ts";
import { describeChanges, rulesChanges } from "./rules-diff.ts";
import { publishedRelease, withDatabase } from "./rules-sources.ts";

const VERSIONS = { from: 1, to: 2_147_483_647, whole: true } as const;

export async function listRules({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { last: { type: "string" } });
  if (positionals.length > 0) throw new UsageError("rules ls takes no arguments", "weir rules ls --last 50");
  const last = numberOption("last", values.last, { from: 1, to: 10_000, whole: true }) ?? 20;
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const { releases, switches } = await withDatabase(config, async (database) => ({
    releases: await listReleases(database, last),
    switches: await readSwitches(database, "rules_switches", { lane: config.lane, generation: config.generation }),
  }));
  const published = await publishedRelease(config);
  const rows = releases.map((release) => ({
    version: release.version,
    published: published.release.version === release.version,
    at: release.created_at.toISOString(),
    by: release.actor,
    kind: release.kind,
    restores: release.restores,
    reason: release.reason,
    switches: switches.filter(({ version }) => version === release.version).map(({ partition, offset }) => ({ partition, offset })),
  }));
  if (values.json === true)
    out(`${JSON.stringify({ published: published.release.version, fallback: published.fallback, releases: rows })}\n`);
  else {
    const lines = rows.map((row) => [
      row.version,
      row.published ? "*" : "",
      row.at.slice(0, 19).replace("T", " "),
      printable(row.by),
      row.restores === null ? row.kind : `back to ${row.restores}`,
      row.switches.map(({ partition, offset }) => `${partition}@${offset}`).join(" "),
      printable(row.reason),
    ]);
    out(table([["version", "", "when (UTC)", "who", "how", "announced", "why"], ...lines]));
    if (published.fallback !== null)
      out(`published release unusable, version ${published.release.version} goes on: ${published.fallback}\n`);
  }
  return EXIT.ok;
}

export async function showRules({ args, out, err }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { diff: { type: "string" } });
  if (positionals.length > 1) throw new UsageError("rules show: one VERSION at most", "weir rules show 3 --diff 2");
  const version = numberOption("version", positionals[0], VERSIONS);
  const other = numberOption("diff", values.diff, VERSIONS);
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const [shown, compared] = await withDatabase(config, async (database) => {
    const release = version === undefined ? await newestRelease(database) : await releaseOf(database, version);
    if (release === null)
      throw new OperatingError("no release of the rules was ever made", { code: "RULES_VERSION", hint: "weir rules apply" });
    return [release, other === undefined ? null : await releaseOf(database, other)] as const;
  });
  const header = `version ${shown.version}, ${shown.kind} by ${printable(shown.actor)} at ${shown.created_at.toISOString()}: ${printable(shown.reason)}\n`;
  if (compared === null) {
    if (values.json === true) out(`${JSON.stringify({ ...factsOf(shown), release: JSON.parse(shown.content) as unknown })}\n`);
    else {
      // Apart from the content, which can be edited and applied.
      err(header);
      out(`${shown.content}\n`);
    }
    return EXIT.ok;
  }
  const changes = rulesChanges(parse(compared), parse(shown));
  if (values.json === true) out(`${JSON.stringify({ ...factsOf(shown), against: compared.version, changes })}\n`);
  else out(`${header}${changes.length === 0 ? `the same as version ${compared.version}\n` : describeChanges(changes)}`);
  return EXIT.ok;
}

function parse({ version, content }: StoredRelease) {
  return parseRelease(JSON.parse(content), `version ${version}`);
}

function factsOf({ version, sha256, kind, actor, reason, restores, created_at }: StoredRelease) {
  return { version, sha256, kind, by: actor, reason, restores, at: created_at.toISOString() };
}
