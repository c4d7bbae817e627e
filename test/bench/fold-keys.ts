/**
 * What a key costs: one event each of so many users, all within one five-minute window, then the memory of each table and the snapshot. The window
 * closes at the end, so that a table of that size has also been emptied.
 */
import { createFold, restoreFold } from "#processor/fold/partition-fold.ts";
import type { FoldOptions } from "#processor/model/ports.ts";
import { encodeControl } from "#shared/events/control.ts";
import { bytesColumn } from "../support/event-batch.ts";
import type { EventColumns } from "#shared/events/columns.ts";

const ROWS = 1_000;
const START_MS = 1_700_000_000_000 - (1_700_000_000_000 % 3_600_000);
const SPAN_MS = 250_000;
const BLOCKS_PER_EPOCH = 16;

export interface KeysResult {
  readonly keys: number;
  /** Memory of the table of open five-minute windows over its entries. */
  readonly bytes_per_open_window: number;
  /** The user's row and its place in the index. */
  readonly bytes_per_user: number;
  readonly state_mb: number;
  readonly fold_ns: number;
  /** Longest time that one block of 1,000 rows held the fold: growth of a table is spread. */
  readonly block_ms_max: number;
  readonly snapshot_ms: number;
  readonly snapshot_mb: number;
  readonly restore_ms: number;
  readonly close_ns_per_window: number;
}

export function measureKeys(options: FoldOptions, keys: number): KeysResult {
  const fold = createFold({ ...options, maxTableRows: Math.max(16_777_216, keys * 2) });
  const meta = { topic: "events.raw", partition: options.partition, rulesVersion: 1 };
  let foldMs = 0;
  let blockMsMax = 0;
  for (let from = 0; from < keys; from += ROWS) {
    const block = blockOf(from, keys);
    const begunMs = cpuMs();
    fold.applyColumns(block, START_MS, meta);
    const ms = cpuMs() - begunMs;
    foldMs += ms;
    blockMsMax = Math.max(blockMsMax, ms);
    if ((from / ROWS) % BLOCKS_PER_EPOCH === 0) fold.discardOutputs();
  }
  fold.discardOutputs();
  const memory = fold.memory();
  const snapshotFromMs = cpuMs();
  const snapshot = fold.snapshot();
  const restoreFromMs = cpuMs();
  const restored = restoreFold({ ...options, maxTableRows: Math.max(16_777_216, keys * 2) }, snapshot);
  const closeFromMs = cpuMs();
  const drain = encodeControl({ kind: "drain" });
  restored.apply({ offset: 0, timestampMs: START_MS, value: drain.value, headers: drain.headers });
  const closedMs = cpuMs() - closeFromMs;
  const windows = restored.pendingRows;
  const rounded = (number: number): number => Math.round(number * 10) / 10;
  return {
    keys,
    bytes_per_open_window: rounded(memory["tumbling_5m"]! / keys),
    bytes_per_user: rounded(memory["users"]! / keys),
    state_mb: Math.round(Object.values(memory).reduce((sum, bytes) => sum + bytes, 0) / 1e6),
    fold_ns: Math.round((foldMs * 1e6) / keys),
    block_ms_max: rounded(blockMsMax),
    snapshot_ms: Math.round(restoreFromMs - snapshotFromMs),
    snapshot_mb: Math.round(snapshot.length / 1e6),
    restore_ms: Math.round(closeFromMs - restoreFromMs),
    close_ns_per_window: Math.round((closedMs * 1e6) / windows),
  };
}

/** Of this thread: neighbours on the machine count less. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

function blockOf(from: number, keys: number): EventColumns {
  const rows = Math.min(ROWS, keys - from);
  const none = bytesColumn(Array.from({ length: rows }, () => null));
  const words = { codes: new Int16Array(rows), values: ["click"] };
  const block: EventColumns = {
    rows,
    sourceOffset: Float64Array.from({ length: rows }, (_, i) => from + i),
    eventId: new Uint8Array(rows * 16),
    eventTimeMs: Float64Array.from({ length: rows }, (_, i) => START_MS + Math.floor(((from + i) * SPAN_MS) / keys)),
    userId: new Uint32Array(rows * 2),
    eventType: words,
    source: words,
    sessionId: none,
    value: Float64Array.from({ length: rows }, (_, i) => (from + i) % 100),
    deviceInfo: none,
    geoLocation: none,
    properties: none,
    fingerprint: new Uint32Array(rows),
    verdict: new Uint8Array(rows),
    reason: { codes: new Int16Array(rows).fill(-1), values: [] },
    pointer: none,
    rawKey: none,
    raw: none,
    headers: none,
  };
  const ids = new Uint32Array(block.eventId.buffer);
  for (let i = 0; i < rows; i++) {
    ids[i * 4] = Math.imul(from + i + 1, 0x85ebca6b);
    ids[i * 4 + 3] = from + i;
    block.userId[i * 2] = Math.imul(from + i + 1, 0x9e3779b1);
  }
  return block;
}
