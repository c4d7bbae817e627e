/**
 * Makes one backup. The order carries the meaning: the positions in the log first, then the stores, so that each store holds at least what lies below
 * its position; the manifest last. What a store has beyond its position comes again from the log and is recognised or, in `events`, taken out.
 */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Database } from "#shared/clients/postgres/database.ts";
import type { Config } from "#shared/config/config.ts";
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { markRunning, readCatalog, removeBackup, sweepUnfinished } from "./catalog.ts";
import { backUpClickhouse, lanesIn } from "./clickhouse-backup.ts";
import type { BackupLocation } from "./location.ts";
import { partitionsOf, readPositions, tableLimits } from "./log-positions.ts";
import { backupName, type LaneId, type Manifest, MANIFEST_FILE, startOf } from "./manifest.ts";
import { backUpObjects } from "./objects.ts";
import { PartWriter } from "./parts.ts";
import { dumpPostgres } from "./postgres-dump.ts";
import { chainOf, expired, RETENTION, type Retention } from "./retention.ts";

/** A full one each day bounds a chain to a day of differences. */
const FULL_EVERY_MS = 86_400_000;

export interface BackupPorts {
  readonly config: Config;
  readonly kafka: Kafka;
  readonly clickhouse: Clickhouse;
  readonly postgres: Database;
  readonly location: BackupLocation;
  readonly now: () => number;
  readonly onStep: (step: string) => void;
}

export interface BackupRun {
  readonly manifest: Manifest;
  /** What attempts that died had left. */
  readonly swept: readonly string[];
  /** By retention. */
  readonly removed: readonly string[];
}

/** `kind` undefined: full when the last full one is a day old or its chain is broken. */
export async function runBackup(ports: BackupPorts, kind?: Manifest["kind"], retention: Retention = RETENTION): Promise<BackupRun> {
  const { config, kafka, clickhouse, postgres, location, now, onStep } = ports;
  const catalog = await readCatalog(location);
  const swept = await sweepUnfinished(location, catalog.unfinished, now());
  const startedMs = now();
  const chain = chainToExtend(catalog.backups, config.clickhouseDatabase, kind, startedMs);
  const base = chain?.at(-1) ?? null;
  const name = backupName(startedMs, base === null ? "full" : "incremental");
  await markRunning(location, name);

  onStep("reading the positions");
  const lanes = await knownLanes(ports);
  const positions = await readPositions(kafka, lanes);
  const writer = new PartWriter(
    location,
    name,
    chain?.flatMap(({ parts }) => parts),
  );
  onStep("ClickHouse");
  const limits = tableLimits(lanes, positions);
  const stored = await backUpClickhouse({
    client: clickhouse,
    database: config.clickhouseDatabase,
    name,
    base,
    location,
    writer,
    limits,
    nowMs: startedMs,
  });
  onStep("PostgreSQL");
  const metadata = await dumpPostgres(postgres, writer);
  onStep("snapshots and rules");
  await backUpObjects(config, lanes, writer);
  failpoint("backup-before-manifest");
  const manifest: Manifest = {
    v: 1,
    name,
    kind: base === null ? "full" : "incremental",
    base: base?.name ?? null,
    startedAt: new Date(startedMs).toISOString(),
    finishedAt: new Date(now()).toISOString(),
    lanes,
    positions,
    clickhouse: stored,
    postgres: metadata,
    parts: writer.parts,
    bytesWritten: writer.bytesWritten,
  };
  if ((await location.createOnce(`${name}/${MANIFEST_FILE}`, Buffer.from(JSON.stringify(manifest)))) === "exists") {
    throw new CorruptStateError(`${name} has a manifest already`, {
      code: "BACKUP_DAMAGED",
      hint: "run it again: it gets a name of its own",
    });
  }
  onStep("retention");
  const removed = expired([...catalog.backups, manifest], now(), retention);
  for (const old of removed) await removeBackup(location, old);
  return { manifest, swept, removed };
}

async function knownLanes({ config, kafka, clickhouse }: BackupPorts): Promise<LaneId[]> {
  const found = await lanesIn(clickhouse, config.clickhouseDatabase);
  if (!found.some(({ lane, generation }) => lane === config.lane && generation === config.generation)) {
    found.push({ lane: config.lane, generation: config.generation });
  }
  const lanes: LaneId[] = [];
  for (const { lane, generation } of found) lanes.push({ lane, generation, partitions: await partitionsOf(kafka, lane) });
  return lanes;
}

/** null: begin anew. */
function chainToExtend(
  backups: readonly Manifest[],
  database: string,
  kind: Manifest["kind"] | undefined,
  nowMs: number,
): Manifest[] | null {
  const newest = backups.findLast((backup) => backup.clickhouse.database === database);
  if (kind === "full" || newest === undefined) return null;
  const chain = chainOf(backups, newest.name);
  if (chain === null) return null;
  const ageMs = nowMs - (startOf(chain[0]!.name) ?? 0);
  return kind === "incremental" || ageMs < FULL_EVERY_MS ? chain : null;
}
