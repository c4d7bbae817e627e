import { setTimeout as sleep } from "node:timers/promises";
import { findChain, readCatalog } from "#backup/catalog.ts";
import type { BackupLocation } from "#backup/location.ts";
import { startOf } from "#backup/manifest.ts";
import { openLocation } from "#backup/open-location.ts";
import { restoreBackup } from "#backup/restore.ts";
import { type BackupRun, runBackup } from "#backup/run.ts";
import { verifyBackup } from "#backup/verify.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { withRestoreServers, withStores } from "./backup-servers.ts";
import {
  type Command,
  type CommandContext,
  durationOption,
  EXIT,
  type ExitCode,
  parseOptions,
  printable,
  table,
  UsageError,
} from "./command.ts";
import { dataFolders, findPipeline } from "./pipeline.ts";
import { ProgressLine } from "./progress-line.ts";

const MIN_EVERY_MS = 60_000;

export const command: Command = {
  summary: "back up ClickHouse, PostgreSQL, snapshots and rules; verify and restore it",
  help: `usage: weir backup run [--full | --incremental] [--every 1h] [--store WHERE]
       weir backup ls [--store WHERE]
       weir backup verify [NAME] [--store WHERE]
       weir backup restore [NAME] [--into DATABASE | --without-log] [--store WHERE]

run      positions of every reader of the log, then ClickHouse, PostgreSQL, snapshots and rules; the manifest with the SHA-256 of every part comes last:
         without it there is no backup. Full when the last full one is a day old, else the difference to the newest. Incremental ones are kept 7 days,
         full ones 90; nothing goes that a kept one needs. --every goes on until Ctrl-C.
ls       what there is, oldest first
verify   reads every byte of the backup and of those that it is a difference to (default: the newest). Exit 3 when a part is damaged or missing, each named.
restore  into empty stores; those that hold rows are refused. The sinks then go on from the positions of the backup and read again what came after. Stop the
         pipeline before (its servers are started for it) or name running servers by WEIR_* and stop the services.
         --into DATABASE: a rehearsal beside the running pipeline, under that name in ClickHouse and PostgreSQL.
         --without-log: Kafka's log is gone too; go on with a new generation.

WHERE is a folder or s3://bucket/prefix; default WEIR_BACKUP_URL, else the folder beside the data folder that is named like it with -backups. ClickHouse
writes its files on its own machine: run this there.

examples:
  weir backup run --every 1h --store s3://my-backups/weir
  weir backup verify && weir backup restore --into rehearsal
`,
  async run(context) {
    const { values, positionals } = parseOptions(context.args, {
      full: { type: "boolean" },
      incremental: { type: "boolean" },
      every: { type: "string" },
      store: { type: "string" },
      into: { type: "string" },
      "without-log": { type: "boolean" },
    });
    const [what = "ls", name, ...rest] = positionals;
    if (rest.length > 0 || ((what === "run" || what === "ls") && name !== undefined))
      throw new UsageError(`too many words: ${positionals.join(" ")}`, "weir backup --help");
    const call: Call = { context, json: values.json === true, dataDir: values["data-dir"], lane: values.lane, store: values.store };
    if (what === "ls") return list(call);
    if (what === "verify") return verify(call, name);
    if (what === "run") {
      if (values.full === true && values.incremental === true) throw new UsageError("--full or --incremental, not both");
      const everyMs = values.every === undefined ? null : durationOption("every", values.every, 0);
      if (everyMs !== null && everyMs < MIN_EVERY_MS) throw new UsageError("--every: at least 1m");
      return make(call, values.full === true ? "full" : values.incremental === true ? "incremental" : undefined, everyMs);
    }
    if (what === "restore") {
      const into = values.into;
      if (into !== undefined && !/^[a-z_][a-z0-9_]{0,62}$/.test(into)) throw new UsageError("--into: lower-case letters, digits and _");
      if (into !== undefined && values["without-log"] === true) throw new UsageError("--into looks at no log: not with --without-log");
      return restore(call, name, into, values["without-log"] === true);
    }
    throw new UsageError(`${printable(what)}: run, ls, verify or restore`, "weir backup --help");
  },
};

interface Call {
  readonly context: CommandContext;
  readonly json: boolean;
  readonly dataDir: string | undefined;
  readonly lane: string | undefined;
  readonly store: string | undefined;
}

function locationOf({ store }: Call, config: Pick<Config, "backupUrl" | "dataDir">): Promise<BackupLocation> {
  return openLocation({ dataDir: config.dataDir, backupUrl: store ?? config.backupUrl });
}

/** Needs no pipeline. */
function storedLocation(call: Call): Promise<BackupLocation> {
  return locationOf(call, { ...loadConfig(), dataDir: dataFolders(call.dataDir)[0]! });
}

async function list(call: Call): Promise<ExitCode> {
  const { context, json } = call;
  const location = await storedLocation(call);
  const { backups, unreadable, unfinished } = await readCatalog(location);
  if (json) {
    const facts = backups.map(({ name, kind, base, startedAt, finishedAt, bytesWritten, parts }) => {
      return { name, kind, base, startedAt, finishedAt, bytesWritten, parts: parts.length };
    });
    context.out(
      `${JSON.stringify({ location: location.address, backups: facts, unreadable: Object.fromEntries(unreadable), unfinished })}\n`,
    );
    return EXIT.ok;
  }
  const rows = backups.map(({ name, clickhouse, bytesWritten, parts, startedAt, finishedAt, base }) => [
    name,
    clickhouse.tables.reduce((sum, { rows: count }) => sum + count, 0),
    parts.length,
    bytesWritten,
    ((Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000).toFixed(1),
    base ?? "",
  ]);
  context.out(`${location.address}\n`);
  context.out(rows.length === 0 ? "no backup\n" : table([["name", "rows", "parts", "bytes written", "s", "difference to"], ...rows]));
  for (const [bad, problem] of unreadable) context.out(`damaged: ${bad}: ${problem}\n`);
  for (const left of unfinished) context.out(`unfinished: ${left}: the next run takes it away when its process is gone\n`);
  return EXIT.ok;
}

async function verify(call: Call, name: string | undefined): Promise<ExitCode> {
  const { context, json } = call;
  const location = await storedLocation(call);
  const chain = findChain(await readCatalog(location), location, name);
  const result = await verifyBackup(location, chain);
  if (json) context.out(`${JSON.stringify(result)}\n`);
  else {
    for (const problem of result.problems) context.out(`damaged: ${problem}\n`);
    for (const stray of result.strays) context.out(`not in the manifest: ${stray}\n`);
    const verdict = result.problems.length === 0 ? "whole" : `${result.problems.length} of ${result.parts} parts damaged`;
    context.out(`${result.name}: ${verdict}; ${result.parts} parts, ${result.bytes} bytes read, ${chain.length} in the chain\n`);
  }
  return result.problems.length === 0 ? EXIT.ok : EXIT.checkFailed;
}

async function make(call: Call, kind: "full" | "incremental" | undefined, everyMs: number | null): Promise<ExitCode> {
  const { context } = call;
  const { config } = findPipeline({ dataDir: call.dataDir, lane: call.lane });
  const location = await locationOf(call, config);
  for (let isFirst = true; ; isFirst = false) {
    const fromMs = Date.now();
    const line = new ProgressLine({ write: context.err, isTerminal: context.errIsTerminal });
    const ports = { config, location, now: Date.now, onStep: (step: string) => line.show(step) };
    const done = await withStores(config, (stores) => runBackup({ ...ports, ...stores }, isFirst ? kind : undefined)).finally(() =>
      line.end(),
    );
    context.out(call.json ? `${JSON.stringify(factsOf(done))}\n` : describeRun(done, location));
    if (everyMs === null) return EXIT.ok;
    await sleep(Math.max(0, fromMs + everyMs - Date.now()), undefined, { signal: context.stop });
  }
}

function factsOf({ manifest, swept, removed }: BackupRun): object {
  const { name, kind, base, startedAt, finishedAt, bytesWritten, parts, positions } = manifest;
  return { name, kind, base, startedAt, finishedAt, bytesWritten, parts: parts.length, positions, swept, removed };
}

function describeRun({ manifest, swept, removed }: BackupRun, location: BackupLocation): string {
  const { name, clickhouse, postgres, parts, bytesWritten, startedAt, finishedAt } = manifest;
  const rows = clickhouse.tables.reduce((sum, each) => sum + each.rows, 0);
  const seconds = ((Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000).toFixed(1);
  return [
    `${name} in ${location.address}: ${rows} rows of ClickHouse, ${postgres.tables.reduce((sum, each) => sum + each.rows, 0)} of PostgreSQL,`,
    `  ${parts.length} parts, ${bytesWritten} bytes written in ${seconds} s`,
    ...swept.map((left) => `  taken away, since its process had died: ${left}`),
    ...removed.map((old) => `  expired: ${old}`),
    "",
  ].join("\n");
}

async function restore(call: Call, name: string | undefined, into: string | undefined, withoutLog: boolean): Promise<ExitCode> {
  const { context } = call;
  const options = { dataDir: call.dataDir, lane: call.lane, into };
  const line = new ProgressLine({ write: context.err, isTerminal: context.errIsTerminal });
  const done = await withRestoreServers(options, async (config, stores) => {
    const location = await locationOf(call, config);
    const chain = findChain(await readCatalog(location), location, name);
    const ports = { config, location, chain, now: Date.now, onStep: (step: string) => line.show(step), ...stores };
    return restoreBackup(ports, { beside: into !== undefined, withoutLog });
  }).finally(() => line.end());
  if (call.json) {
    context.out(`${JSON.stringify(done)}\n`);
    return EXIT.ok;
  }
  const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;
  const lines = [
    `${done.name} restored${into === undefined ? "" : ` into ${into}`} in ${seconds(done.tookMs)} (ClickHouse ${seconds(done.clickhouseMs)}, PostgreSQL ${seconds(done.postgresMs)})`,
    `  ${done.rows} rows; ${done.trimmed} behind the positions taken out, views counted anew: ${done.rebuiltViews.join(", ") || "none"}`,
    ...(into === undefined
      ? [
          `  ${done.objects} snapshots and rules put back; ${done.toReplay} records of the log to read again`,
          `  events that are lost for good: ${withoutLog ? `those since ${new Date(startOf(done.name)!).toISOString()}, ${seconds(done.rpoMs)}` : "none, the log has what came after"}`,
        ]
      : []),
    ...(withoutLog ? [`  go on with WEIR_GENERATION=${done.generation}`] : []),
    "",
  ];
  context.out(lines.join("\n"));
  return EXIT.ok;
}
