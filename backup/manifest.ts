/**
 * What a backup says of itself. The manifest is written last and once: a backup without one does not exist, one with it is whole. Layout below the
 * backups' root: `<name>/running.json` while it is made, `<name>/<part...>`, `<name>/manifest.json`.
 */
import { z } from "zod";
import { CorruptStateError, toError } from "#shared/kernel/errors.ts";

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** One stored object. A file above CHUNK_BYTES is several of them, in order of `at`. */
const part = z.strictObject({
  /** Below the backups' root; of an earlier backup where the same bytes lie there already. */
  key: z.string().min(1),
  /** What it is a piece of: `clickhouse/...` as the server wrote it, `postgres/<table>.jsonl.zst`, `objects/<kind>/<key>`. */
  file: z.string().min(1),
  at: z.int().min(0),
  bytes: z.int().min(0),
  sha256,
});

const position = z.strictObject({
  group: z.string(),
  topic: z.string(),
  partition: z.int().min(0),
  /** Next offset to read. */
  offset: z.int().min(0),
  metadata: z.string(),
});

const lane = z.strictObject({
  lane: z.string(),
  generation: z.int().min(1),
  /** Of the lane's topics; 0 = they are gone, so nothing of it can be replayed. */
  partitions: z.int().min(0),
});

const table = z.strictObject({
  name: z.string(),
  columns: z.array(z.string()),
  rows: z.int().min(0),
  /** Of the lines, uncompressed: the rows as text in the order of their key. */
  sha256,
});

const eventsCheck = z.strictObject({
  lane: z.string(),
  generation: z.int(),
  partition: z.int(),
  /** Rows up to this number, of event times since `sinceMs`: how many, and the XOR of their hashes. */
  upTo: z.int(),
  rows: z.int(),
  hash: z.string(),
});

const schema = z.strictObject({
  v: z.literal(1),
  name: z.string(),
  kind: z.enum(["full", "incremental"]),
  /** Of an incremental one: what it is a difference to. */
  base: z.string().nullable(),
  startedAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  lanes: z.array(lane),
  /** Read before any store was: what the stores hold is at least what lies below. */
  positions: z.array(position),
  clickhouse: z.strictObject({
    database: z.string(),
    version: z.string(),
    tables: z.array(z.strictObject({ name: z.string(), rows: z.int() })),
    /** Partitions of `events` that got rows behind the positions while the backup was made: views may have more of them than the table. */
    unsettled: z.array(z.string()),
    /** Epoch milliseconds: event times that no TTL can have taken when the backup is restored soon. */
    sinceMs: z.int(),
    events: z.array(eventsCheck),
  }),
  postgres: z.strictObject({ migrations: z.array(z.string()), tables: z.array(table) }),
  parts: z.array(part),
  /** Written by this backup, without what lies with earlier ones. */
  bytesWritten: z.int().min(0),
});

export type Manifest = z.output<typeof schema>;
export type Part = z.output<typeof part>;
export type GroupPosition = z.output<typeof position>;
export type LaneId = z.output<typeof lane>;
export type DumpedTable = z.output<typeof table>;
export type EventsCheck = z.output<typeof eventsCheck>;

export const MANIFEST_FILE = "manifest.json";
export const RUNNING_FILE = "running.json";
const NAME = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z-(full|incremental)$/;

/** Names sort by time. */
export function backupName(atMs: number, kind: Manifest["kind"]): string {
  return `${new Date(atMs).toISOString().replaceAll(/[-:.]/g, "")}-${kind}`;
}

/** Epoch milliseconds; null: not a backup's name. */
export function startOf(name: string): number | null {
  const [, year, month, day, hour, minute, second, ms] = NAME.exec(name) ?? [];
  return year === undefined ? null : Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}.${ms}Z`);
}

/** @throws CorruptStateError BACKUP_DAMAGED */
export function parseManifest(bytes: Uint8Array, where: string): Manifest {
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (thrown) {
    throw new CorruptStateError(`${where} is no manifest of a backup: ${toError(thrown).message.slice(0, 300)}`, {
      code: "BACKUP_DAMAGED",
      hint: "weir backup ls; take an older one",
      cause: thrown,
    });
  }
}
