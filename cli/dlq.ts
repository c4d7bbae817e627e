import { Database } from "#shared/clients/postgres/database.ts";
import { listReplays } from "#shared/clients/postgres/dlq-replays-store.ts";
import { nearest } from "#shared/config/config.ts";
import { type Command, type CommandContext, EXIT, type ExitCode, parseOptions, table, UsageError } from "./command.ts";
import { list, show, stats } from "./dlq/browse.ts";
import { EDIT_HELP } from "./dlq/event-edit.ts";
import { exportLetters } from "./dlq/export.ts";
import { FILTER_HELP } from "./dlq/filter.ts";
import { replay } from "./dlq/replay.ts";
import { findPipeline } from "./pipeline.ts";

const VERBS: Readonly<Record<string, (context: CommandContext) => Promise<ExitCode>>> = {
  stats,
  ls: list,
  show,
  export: exportLetters,
  replay,
  replays,
};

export const command: Command = {
  summary: "the dead letters: count, look, export, mend and replay",
  help: `usage: weir dlq stats | ls | show | export | replay | replays [options]

  stats                      how many, by reason, source partition and age
  ls [-n N]                  the newest N (default 50), oldest first
  show PARTITION/OFFSET|ID   everything of one: headers, value, what the reason means and what to do
  export [FILE] [--raw]      JSON lines with the original bytes in base64; --raw: the values alone, into FILE
  replay                     sends them again: those alone that the rules accept now, each once
  replays                    the replays so far and how far each came

which letters (stats, ls, export, replay):
${FILTER_HELP}

replay:
  --dry-run         what would be sent and left, by reason and verdict, and three samples; writes nothing
${EDIT_HELP}
  --key-from /a     the record's key becomes this member's text
  --target TOPIC    the events.raw of another lane, or a topic of WEIR_DLQ_REPLAY_TARGETS
  --limit N         so many at most        --rate N    so many a second
  --again           those too that a replay has sent before
  --even-rejected   those too that the rules would reject again
  --by NAME         for the audit log (default: the user of this machine)
  --resume NAME  --abandon NAME

A replay that was stopped or killed goes on when the same command is run again; each letter goes out once whatever happens in between. An event
that came back from 3 replays is left. Both the beginning and the end of a replay stand in the audit log.

examples:
  weir dlq replay --reason schema.type --set '/properties/amount=0' --dry-run
  weir dlq replay --reason key.mismatch --since 24h --key-from /user_id --rate 500
`,
  async run(context) {
    const [verb, ...args] = context.args;
    const run = verb !== undefined && Object.hasOwn(VERBS, verb) ? VERBS[verb] : undefined;
    if (run === undefined) {
      const guess = verb === undefined ? "a verb is missing" : `${verb}: unknown verb${nearest(verb, Object.keys(VERBS))}`;
      throw new UsageError(guess, "weir dlq --help");
    }
    return run({ ...context, args });
  },
};

async function replays({ args, out }: CommandContext): Promise<ExitCode> {
  const { values } = parseOptions(args, {});
  const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
  const database = new Database(config.postgres);
  let stored;
  try {
    stored = await listReplays(database, config);
  } finally {
    await database.close();
  }
  const rows = stored.map(({ name, state, counts, progress, createdBy, createdAtMs, updatedAtMs }) => ({
    name,
    state,
    sent: progress.reduce((sum, { sequence }) => sum + sequence, 0),
    planned: counts["planned"] ?? 0,
    by: createdBy,
    began: new Date(createdAtMs).toISOString(),
    lastSign: new Date(updatedAtMs).toISOString(),
  }));
  if (values.json === true) for (const [i, row] of rows.entries()) out(`${JSON.stringify({ ...row, request: stored[i]!.request })}\n`);
  else
    out(
      table([
        ["replay", "state", "sent", "planned", "by", "began", "last sign"],
        ...rows.map((row) => [row.name, row.state, row.sent, row.planned, row.by, row.began, row.lastSign]),
      ]),
    );
  return EXIT.ok;
}
