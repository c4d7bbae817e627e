/**
 * A backup into empty stores, or beside full ones under another name. Afterwards the sinks go on from the positions of the backup and replay what came
 * after; the log is the truth and is left as it is. Killed anywhere, the same command begins again: ClickHouse's database is marked until the end, and
 * PostgreSQL's rows come in one transaction that says which backup they are of.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Database } from "#shared/clients/postgres/database.ts";
import type { Config } from "#shared/config/config.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { finishClickhouse, refuseFilledClickhouse, restoreClickhouse } from "./clickhouse-restore.ts";
import type { BackupLocation } from "./location.ts";
import { lookAtLog, type LogState, readPositions, setPositions } from "./log-positions.ts";
import type { Manifest } from "./manifest.ts";
import { restoreObjects } from "./objects.ts";
import { loadPostgres, refuseFilledPostgres } from "./postgres-dump.ts";

/** Sinks commit at least once a second while events flow, and a pipeline at rest has nothing to lose by its sinks. */
const QUIET_MS = 2_500;

export interface RestorePorts {
  readonly config: Config;
  readonly kafka: Kafka;
  readonly clickhouse: Clickhouse;
  readonly postgres: Database;
  readonly location: BackupLocation;
  readonly chain: readonly Manifest[];
  readonly now: () => number;
  readonly onStep: (step: string) => void;
}

export interface RestoreOptions {
  /** A rehearsal: only the tables, under the names that the ports lead to; no position, snapshot or rule is touched. */
  readonly beside: boolean;
  /** The log is gone or has a hole: the stores get what the backup has, and the pipeline begins a new generation. */
  readonly withoutLog: boolean;
}

export interface Restored {
  readonly name: string;
  readonly tookMs: number;
  readonly clickhouseMs: number;
  readonly postgresMs: number;
  readonly rows: number;
  /** Rows of `events` behind the positions: the log gives them again. */
  readonly trimmed: number;
  readonly rebuiltViews: readonly string[];
  readonly objects: number;
  /** Records of the log that the sinks have to read again. */
  readonly toReplay: number;
  /** With the log there, acknowledged events are all in it: 0. Without it, the age of the positions. */
  readonly rpoMs: number;
  readonly generation: number;
}

export async function restoreBackup(ports: RestorePorts, { beside, withoutLog }: RestoreOptions): Promise<Restored> {
  const { config, kafka, clickhouse, postgres, location, chain, now, onStep } = ports;
  const startedMs = now();
  const wanted = chain.at(-1)!;
  onStep("looking at the stores");
  await refuseFilledClickhouse(clickhouse, config.clickhouseDatabase);
  const metadata = await refuseFilledPostgres(postgres, wanted.name);
  const log = beside || withoutLog ? null : await usableLog(ports, wanted);

  onStep("ClickHouse");
  const clickhouseFromMs = now();
  const target = { client: clickhouse, chain, location, database: config.clickhouseDatabase, nowMs: startedMs };
  const { trimmed, rebuilt } = await restoreClickhouse(target);
  const clickhouseMs = now() - clickhouseFromMs;
  onStep("PostgreSQL");
  const postgresFromMs = now();
  if (metadata === "empty") await loadPostgres(postgres, wanted, location);
  const postgresMs = now() - postgresFromMs;
  onStep("snapshots and rules");
  // Without the log a snapshot has nothing to go on from.
  const objects = beside ? 0 : await restoreObjects(config, withoutLog ? wanted.parts.filter(isRule) : wanted.parts, location);
  failpoint("restore-before-positions");
  onStep("positions");
  if (log !== null) await setPositions(kafka, log.positions);
  await finishClickhouse(clickhouse, config.clickhouseDatabase);
  const endedMs = now();
  return {
    name: wanted.name,
    tookMs: endedMs - startedMs,
    clickhouseMs,
    postgresMs,
    rows: wanted.clickhouse.tables.reduce((sum, { rows }) => sum + rows, 0) - trimmed,
    trimmed,
    rebuiltViews: rebuilt,
    objects,
    toReplay: log?.toReplay ?? 0,
    rpoMs: log === null ? startedMs - Date.parse(wanted.startedAt) : 0,
    generation: withoutLog ? Math.max(...wanted.lanes.map(({ generation }) => generation)) + 1 : config.generation,
  };
}

function isRule({ file }: { readonly file: string }): boolean {
  return file.startsWith("objects/rules/");
}

/** @throws OperatingError RESTORE_LOG_HOLE, RESTORE_SINKS_RUN */
async function usableLog({ kafka, onStep }: RestorePorts, { lanes, positions }: Manifest): Promise<LogState> {
  const log = await lookAtLog(kafka, lanes, positions);
  if (log.holes.length > 0) {
    throw new OperatingError(`the log does not go on from the backup:\n${log.holes.map((hole) => `  ${hole}`).join("\n")}`, {
      code: "RESTORE_LOG_HOLE",
      hint: "take a newer backup (weir backup ls); or --without-log, then start with the next WEIR_GENERATION",
    });
  }
  onStep("seeing whether the sinks stand still");
  const before = await readPositions(kafka, lanes);
  await sleep(QUIET_MS);
  const after = await readPositions(kafka, lanes);
  const moved = after.find(
    (at, i) => at.group.startsWith("weir-sink-clickhouse-") && (before[i]?.offset !== at.offset || before.length !== after.length),
  );
  if (moved !== undefined) {
    throw new OperatingError(`a sink is at work on ${moved.topic}/${moved.partition}`, {
      code: "RESTORE_SINKS_RUN",
      hint: "stop the sinks first: they would write into what is being restored and move the positions on",
    });
  }
  return log;
}
