import { refuseBreaking } from "#shared/clients/postgres/rules-store.ts";
import { describeError, OperatingError, UnavailableError } from "#shared/kernel/errors.ts";
import type { Release } from "#shared/rules/release.ts";
import { type CommandContext, EXIT, type ExitCode, parseOptions, UsageError } from "./command.ts";
import { publishedRelease, readReleaseFile, rulesConfig, tableDraft, withDatabase } from "./rules-sources.ts";

interface Verdict {
  readonly origin: string;
  readonly problem: string | null;
  readonly eventTypes: number;
  readonly sources: number;
}

export async function lintRules({ args, out }: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { db: { type: "boolean" }, published: { type: "boolean" } });
  if ((positionals.length === 0) === (values.db !== true))
    throw new UsageError("rules lint: either files or --db must be named", "weir rules lint rules.json");
  const verdicts: Verdict[] = [];
  const known = values.published === true || values.db === true ? await publishedRelease(rulesConfig(values)) : null;
  const lint = async (origin: string, load: () => Release | Promise<Release>): Promise<void> => {
    try {
      const release = await load();
      if (known?.published === true) refuseBreaking(known.release, release);
      const { eventTypes, sources } = release;
      verdicts.push({ origin, problem: null, eventTypes: eventTypes.length, sources: sources.length });
    } catch (thrown) {
      if (!(thrown instanceof OperatingError) || thrown instanceof UnavailableError || thrown instanceof UsageError) throw thrown;
      verdicts.push({ origin, problem: describeError(thrown), eventTypes: 0, sources: 0 });
    }
  };
  for (const file of positionals) await lint(file, () => readReleaseFile(file).release);
  if (values.db === true) await lint("tables", () => withDatabase(rulesConfig(values), (database) => tableDraft(database)));
  if (values.json === true) out(`${JSON.stringify(verdicts)}\n`);
  else
    for (const { origin, problem, eventTypes, sources } of verdicts)
      out(problem === null ? `${origin}: ok, ${eventTypes} event types, ${sources} sources\n` : `${problem}\n`);
  return verdicts.every(({ problem }) => problem === null) ? EXIT.ok : EXIT.checkFailed;
}
