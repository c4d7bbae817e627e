import { nearest } from "#shared/config/config.ts";
import { compareReleases, compareVersions, type RulesChange } from "#shared/rules/compatibility.ts";
import { type EventTypeRule, type Release, rulesJsonSchema } from "#shared/rules/release-schema.ts";
import {
  type Command,
  type CommandContext,
  EXIT,
  type ExitCode,
  numberOption,
  parseOptions,
  runSubcommand,
  type Subcommands,
  table,
  UsageError,
} from "./command.ts";
import { publishedRelease, readReleaseFile, rulesConfig } from "./rules-sources.ts";

const SUBCOMMANDS: Subcommands = {
  check: async () => checkSchema,
  json: async () => printSchema,
};

export const command: Command = {
  summary: "schemas: what a change means for events, before it is made",
  help: `usage: weir schema check OLD NEW [--forward] [--strict]
       weir schema check NEW --against published
       weir schema check FILE --type NAME --from VERSION --to VERSION
       weir schema json

Says of every difference between two releases of the rules whether events that the old one accepts are still accepted (BACKWARD), and whether
events that the new one accepts would have been (FORWARD). docs/RULES.md has the rules of evolution.

  --against published  the release that the pipeline uses, in place of OLD
  --type, --from, --to two versions of one event type in the same release
  --forward            a change that is not FORWARD compatible fails, too
  --strict             also counts fields that were never declared, but kept
  --json  --data-dir DIR  --lane NAME

json prints the JSON Schema of a release, of event_types.schema and of processing_rules.config.

Exit codes: 0 compatible, 3 breaking (each field is named) or a file that is no release.

examples:
  weir rules show > old.json && weir schema check old.json new.json
  weir schema check new.json --against published --json
`,
  run: (context) => runSubcommand("schema", SUBCOMMANDS, context),
};

function printSchema({ args, out }: CommandContext): ExitCode {
  parseOptions(args, {});
  out(`${JSON.stringify(rulesJsonSchema(), null, 2)}\n`);
  return EXIT.ok;
}

const OPTIONS = {
  against: { type: "string" },
  type: { type: "string" },
  from: { type: "string" },
  to: { type: "string" },
  forward: { type: "boolean" },
  strict: { type: "boolean" },
} as const;

async function checkSchema({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, OPTIONS);
  const { against, type, from, to, forward = false, strict = false } = values;
  const release = (file: string | undefined): Release => readReleaseFile(file!).release;
  let changes: RulesChange[];
  if (type !== undefined) {
    if (positionals.length !== 1 || from === undefined || to === undefined || against !== undefined)
      throw new UsageError(
        "schema check --type: one file, --from and --to must be named",
        "weir schema check FILE --type NAME --from 1 --to 2",
      );
    const versions = release(positionals[0]);
    changes = compareVersions(versionOf(versions, type, "from", from), versionOf(versions, type, "to", to), { strict });
  } else if (against === undefined) {
    if (positionals.length !== 2)
      throw new UsageError("schema check: two files must be named, or one and --against published", "weir schema check old.json new.json");
    changes = compareReleases(release(positionals[0]), release(positionals[1]), { strict });
  } else {
    if (against !== "published" || positionals.length !== 1)
      throw new UsageError(`schema check: --against takes "published", beside one file`, "weir schema check new.json --against published");
    const fresh = release(positionals[0]);
    changes = compareReleases((await publishedRelease(rulesConfig(values))).release, fresh, { strict });
  }
  const breaking = changes.filter((change) => !change.backward || (forward && !change.forward));
  if (values.json === true) out(`${JSON.stringify({ compatible: breaking.length === 0, changes })}\n`);
  else out(describe(changes, breaking, forward));
  return breaking.length === 0 ? EXIT.ok : EXIT.checkFailed;
}

/** @throws UsageError */
function versionOf(release: Release, name: string, option: string, text: string): EventTypeRule {
  const wanted = numberOption(option, text, { from: 1, to: 65_535, whole: true });
  const versions = release.eventTypes.filter((type) => type.name === name);
  if (versions.length === 0)
    throw new UsageError(
      `--type: there is no event type ${name}${nearest(
        name,
        release.eventTypes.map((type) => type.name),
      )}`,
    );
  const found = versions.find(({ schemaVersion }) => schemaVersion === wanted);
  if (found !== undefined) return found;
  throw new UsageError(
    `--${option}: ${name} has no version ${wanted}, only ${versions.map(({ schemaVersion }) => schemaVersion).join(", ")}`,
  );
}

function describe(changes: readonly RulesChange[], breaking: readonly RulesChange[], forward: boolean): string {
  if (changes.length === 0) return "compatible: nothing has changed\n";
  const rows = changes
    .toSorted((a, b) => Number(a.backward) - Number(b.backward) || Number(a.forward) - Number(b.forward))
    .map(({ what, field, change, ...is }) => [
      is.backward ? "compatible" : "BREAKING",
      is.forward ? "" : forward ? "NOT FORWARD" : "not forward",
      what,
      field,
      change,
    ]);
  const verdict =
    breaking.length === 0
      ? `compatible: ${changes.length} change${changes.length === 1 ? "" : "s"}`
      : `breaking: ${breaking.length} of ${changes.length} changes. Events that are fine today would be rejected; a new schemaVersion takes them beside the old one`;
  return `${table(rows)}\n${verdict}\n`;
}
