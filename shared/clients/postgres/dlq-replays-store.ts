/** Replays of dead letters in PostgreSQL: what was asked for, how far each is, and which letters were sent. The audit rows are written by triggers. */
import { OperatingError, toError } from "../../kernel/errors.ts";
import type { Database } from "./database.ts";

export type ReplayState = "running" | "done" | "abandoned";

/** By target partition. */
export interface TargetProgress {
  /** Of the target: everything below is accounted for. */
  readonly logOffset: number;
  /** Next sequence = letters sent to this partition. */
  readonly sequence: number;
  /** In events.dlq; null = none sent yet. */
  readonly last: { readonly partition: number; readonly offset: number } | null;
}

/** Letters of one partition of events.dlq, offsets rising, as they follow each other in one target partition. */
interface SentLetters {
  readonly target: number;
  readonly sequence: number;
  readonly partition: number;
  readonly offsets: readonly number[];
}

export interface StoredReplay<Request> {
  readonly name: string;
  readonly commandHash: string;
  readonly request: Request;
  readonly producerId: bigint;
  readonly progress: readonly TargetProgress[];
  readonly state: ReplayState;
  readonly counts: Readonly<Record<string, number>>;
  /** Grows with every change. */
  readonly version: number;
  readonly createdBy: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

export interface ReplayStep {
  readonly progress: readonly TargetProgress[];
  /** What is not stored yet. */
  readonly sent: readonly SentLetters[];
  /** With it the replay is over. */
  readonly end?: { readonly state: "done" | "abandoned"; readonly counts: Readonly<Record<string, number>> };
}

interface PipelineKey {
  readonly lane: string;
  readonly generation: number;
}

interface ReplayRow {
  readonly name: string;
  readonly command_hash: string;
  readonly request: unknown;
  readonly producer_id: string;
  readonly progress: readonly TargetProgress[];
  readonly state: ReplayState;
  readonly counts: Readonly<Record<string, number>>;
  readonly version: number;
  readonly created_by: string;
  readonly created_at: Date;
  readonly updated_at: Date;
}

/** Newest first. */
export async function listReplays<Request>(database: Database, { lane, generation }: PipelineKey): Promise<StoredReplay<Request>[]> {
  const rows = await database.query<ReplayRow>(
    "SELECT * FROM dlq_replays WHERE lane = $1 AND generation = $2 ORDER BY created_at DESC, name",
    [lane, generation],
  );
  return rows.map((row) => ({
    name: row.name,
    commandHash: row.command_hash,
    request: row.request as Request,
    producerId: BigInt(row.producer_id),
    progress: row.progress,
    state: row.state,
    counts: row.counts,
    version: row.version,
    createdBy: row.created_by,
    createdAtMs: row.created_at.getTime(),
    updatedAtMs: row.updated_at.getTime(),
  }));
}

/** @throws OperatingError DLQ_REPLAY_UNFINISHED when another one began meanwhile. */
export async function createReplay<Request>(
  database: Database,
  { lane, generation }: PipelineKey,
  replay: Pick<StoredReplay<Request>, "name" | "commandHash" | "request" | "producerId" | "progress" | "counts" | "createdBy">,
): Promise<void> {
  try {
    await database.transaction(replay.createdBy, (session) =>
      session.query(
        `INSERT INTO dlq_replays (name, lane, generation, command_hash, request, producer_id, progress, counts, created_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
        [
          replay.name,
          lane,
          generation,
          replay.commandHash,
          JSON.stringify(replay.request),
          String(replay.producerId),
          JSON.stringify(replay.progress),
          JSON.stringify(replay.counts),
          replay.createdBy,
        ],
      ),
    );
  } catch (thrown) {
    if (!toError(thrown).message.includes("dlq_replays_one_running")) throw thrown;
    throw new OperatingError("another replay of this lane began at the same moment", {
      code: "DLQ_REPLAY_UNFINISHED",
      hint: "weir dlq replays",
      cause: thrown,
    });
  }
}

/**
 * What was sent and how far the replay is, in one transaction; with `end` it is over, and the audit log says so. Returns the row's new version; null
 * when it is not at `version` any more: another process has it.
 */
export async function recordProgress(
  database: Database,
  { name, actor, version }: { readonly name: string; readonly actor: string; readonly version: number },
  { progress, sent, end }: ReplayStep,
): Promise<number | null> {
  return database.transaction(actor, async (session) => {
    const [changed] = await session.query<{ version: number }>(
      `UPDATE dlq_replays SET progress = $3, state = coalesce($4, state), counts = coalesce($5, counts)
       WHERE name = $1 AND version = $2 AND state = 'running' RETURNING version`,
      [name, version, JSON.stringify(progress), end?.state ?? null, end === undefined ? null : JSON.stringify(end.counts)],
    );
    if (changed === undefined) return null;
    for (const { target, sequence, partition, offsets } of sent) {
      await session.query(
        "INSERT INTO dlq_replay_letters (replay, target, sequence, partition, letters, offsets) VALUES ($1, $2, $3, $4, $5, $6)",
        [name, target, sequence, partition, offsets.length, encodeOffsets(offsets)],
      );
    }
    return changed.version;
  });
}

/** How often each letter was sent by replays that have ended: by partition of events.dlq, by offset. */
export async function replayedLetters(database: Database, { lane, generation }: PipelineKey): Promise<Map<number, Map<number, number>>> {
  const rows = await database.query<{ partition: number; offsets: Buffer }>(
    `SELECT l.partition, l.offsets FROM dlq_replay_letters l JOIN dlq_replays r ON r.name = l.replay
     WHERE r.lane = $1 AND r.generation = $2 AND r.state <> 'running'`,
    [lane, generation],
  );
  const times = new Map<number, Map<number, number>>();
  for (const { partition, offsets } of rows) {
    let ofPartition = times.get(partition);
    if (ofPartition === undefined) times.set(partition, (ofPartition = new Map()));
    for (const offset of decodeOffsets(offsets)) ofPartition.set(offset, (ofPartition.get(offset) ?? 0) + 1);
  }
  return times;
}

export function encodeOffsets(offsets: readonly number[]): Buffer {
  const bytes: number[] = [];
  let previous = 0;
  for (const offset of offsets) {
    let rest = offset - previous;
    previous = offset;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
    bytes.push(rest);
  }
  return Buffer.from(bytes);
}

export function decodeOffsets(bytes: Uint8Array): number[] {
  const offsets: number[] = [];
  let previous = 0;
  let difference = 0;
  let scale = 1;
  for (const byte of bytes) {
    difference += (byte & 0x7f) * scale;
    scale *= 0x80;
    if (byte >= 0x80) continue;
    previous += difference;
    offsets.push(previous);
    difference = 0;
    scale = 1;
  }
  return offsets;
}
