import { type Command, runSubcommand, type Subcommands } from "./command.ts";

const SUBCOMMANDS: Subcommands = {
  ls: async () => (await import("./rules-history.ts")).listRules,
  show: async () => (await import("./rules-history.ts")).showRules,
  lint: async () => (await import("./rules-lint.ts")).lintRules,
  test: async () => (await import("./rules-test.ts")).testRules,
  apply: async () => (await import("./rules-change.ts")).applyRelease,
  rollback: async () => (await import("./rules-change.ts")).rollBackRelease,
  publish: async () => (await import("./rules-change.ts")).publishRelease,
};

export const command: Command = {
  summary: "the rules: check, try on real events, apply, roll back, look back",
  help: `usage: weir rules ls [--last N]
       weir rules show [VERSION] [--diff VERSION]
       weir rules lint FILE... [--published] | --db
       weir rules test --release FILE|--db [--from FILE|- | --live] [--last N]
       weir rules apply [FILE] --reason TEXT [--by NAME] [--dry-run] [--discard-edits] [--allow-breaking]
       weir rules rollback [VERSION] --reason TEXT [--by NAME] [--dry-run] [--discard-edits]
       weir rules publish

A release is everything the validator checks events by, under a version that only rises. It is made of the tables event_types, data_sources and
processing_rules in PostgreSQL, or of FILE, which is taken into them; "version" in FILE is the release that it was made from, so that nobody's
change is lost. The pipeline itself reads published objects only: it runs on without PostgreSQL.

  lint       every problem of a release at once; nothing is changed
  test       verdicts of the published and of the new rules on the same events, and up to 3 examples of every difference; nothing is changed
  apply      one transaction (who, when, why in audit_logs), then published and announced in each partition
  rollback   an older release (default: the one before) under a new version
  publish    finishes what a killed apply began; safe at any time

  --db             the tables as they stand now
  --release FILE   a release as JSON, such as show prints
  --from FILE|-    events to try on, one JSON object per line
  --live           the newest events of the raw topic (default), --last N of them (default 1000)
  --published      lint: also against what is published: no version of an event type may refuse what it took
  --allow-breaking apply it all the same
  --discard-edits  what was edited in the tables and not applied may be overwritten
  --strict         test: exit 3 when an event that passes today would be rejected
  --lane NAME  --data-dir DIR  --json

Exit codes: 0 done, or nothing to do; 3 refused; 4 PostgreSQL, Kafka or the store of releases is away.

examples:
  weir rules show > rules.json && $EDITOR rules.json && weir rules test --release rules.json --live --last 5000
  weir rules apply rules.json --reason "amounts above 10,000 are tests"
`,
  run: (context) => runSubcommand("rules", SUBCOMMANDS, context),
};
