import { type Command, runSubcommand, type Subcommands } from "./command.ts";

const SUBCOMMANDS: Subcommands = {
  ls: async () => (await import("./enrichment-history.ts")).listTables,
  show: async () => (await import("./enrichment-history.ts")).showTable,
  publish: async () => (await import("./enrichment-change.ts")).publishTable,
  rollback: async () => (await import("./enrichment-change.ts")).rollBackTable,
};

export const command: Command = {
  summary: "the table that gives events attributes by source, type or property: publish, look back, roll back",
  help: `usage: weir enrichment publish FILE|- --key KEY --reason TEXT [--by NAME] [--column NAME] [--empty] [--dry-run]
       weir enrichment publish
       weir enrichment ls [--last N]
       weir enrichment show [VERSION]
       weir enrichment rollback [VERSION] --reason TEXT [--by NAME] [--dry-run]

FILE is CSV with a header, or one JSON object per line: a column with the key, the others are the attributes. It is the whole table, at most 10,000 rows
and 1 MiB, and is checked whole before anything is written. Events behind the switch carry the attributes of their key in the column enrichment.

  publish    one transaction (who, when, why in audit_logs), then the object, then one control record in each partition of the lane. Without FILE: finishes
             what a killed publish began, puts lost objects back, tells a new lane; safe at any time
  ls         versions, and where in each partition's log they took effect
  show       a table (default: the newest) as JSON lines, which publish takes
  rollback   the rows of an older version (default: the one before that differs) under a new version

  --key KEY      source, event_type, or a value of the properties such as /properties/account/plan
  --column NAME  the column with the key, if it is not called as the key is (source, event_type, plan)
  --empty        a table without rows: from then on nothing is enriched
  --lane NAME  --data-dir DIR  --json

Exit codes: 0 done, or nothing to do; 3 refused; 4 PostgreSQL, Kafka or the store of releases is away.

examples:
  weir enrichment publish tiers.csv --key source --reason "tiers of the new contract"
  weir enrichment show > table.jsonl && $EDITOR table.jsonl && weir enrichment publish table.jsonl --key source --reason "app moved" --dry-run
`,
  run: (context) => runSubcommand("enrichment", SUBCOMMANDS, context),
};
