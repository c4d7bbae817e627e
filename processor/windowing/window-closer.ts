/** Closes windows in the order of window-rules.ts and hands each to the output of closed windows. */
import type { WindowBuffer } from "../operators/window-buffer.ts";
import { CHUNK_BITS, CHUNK_MASK } from "../state/row-chunks.ts";
import { TILE_ROWS } from "../state/tile.ts";
import type { WindowTable } from "../state/window-table.ts";
import type { HoppingWindows } from "./hopping-windows.ts";
import type { SessionWindows } from "./session-windows.ts";
import type { TumblingWindows } from "./tumbling-windows.ts";
import { KIND, SESSION_GAP_MS } from "./window-rules.ts";

export interface OpenWindows {
  readonly fiveMinutes: TumblingWindows;
  readonly hours: TumblingWindows;
  readonly sessions: SessionWindows;
  readonly hopping: HoppingWindows | null;
}

const hashes = new Int32Array(TILE_ROWS);
const scratch = new Int32Array(TILE_ROWS);

/** Nothing closes before this; Infinity = no window is open. */
export function nextEndMs(open: OpenWindows): number {
  const endMs = Math.min(open.fiveMinutes.nextEndMs, open.hours.nextEndMs, open.sessions.nextEndMs);
  return open.hopping === null ? endMs : Math.min(endMs, open.hopping.nextEndMs);
}

/** End of the window that closes last; -Infinity = no window is open. */
export function latestEndMs(open: OpenWindows): number {
  const tumbling = [open.fiveMinutes, open.hours].map((windows) => windows.open.at(-1)?.endMs ?? -Infinity);
  // An hour is opened by its first closed five minutes; until then it is open all the same.
  const hourEndMs = open.fiveMinutes.open.map((table) => open.hours.endOf(table.startMs));
  return Math.max(...tumbling, ...hourEndMs, open.sessions.latestEndMs(), open.hopping?.latestEndMs ?? -Infinity);
}

export function closeWindows(open: OpenWindows, watermarkMs: number, into: WindowBuffer): void {
  const { fiveMinutes, hours, sessions, hopping } = open;
  for (;;) {
    const tumblingEndMs = Math.min(fiveMinutes.nextEndMs, hours.nextEndMs, hopping?.nextEndMs ?? Infinity);
    const row = sessions.nextDue(Math.min(watermarkMs, tumblingEndMs));
    if (row >= 0 && sessions.lastMs(row) + SESSION_GAP_MS < tumblingEndMs) closeSession(sessions, row, into);
    else if (tumblingEndMs > watermarkMs) return;
    else if (fiveMinutes.nextEndMs === tumblingEndMs) closeFiveMinutes(fiveMinutes, hours, into);
    else if (hours.nextEndMs === tumblingEndMs) closeHour(hours, into);
    else if (hopping !== null) closeHopping(hopping, into);
  }
}

function closeSession(sessions: SessionWindows, row: number, into: WindowBuffer): void {
  const words = sessions.table.chunks.words[row >>> CHUNK_BITS]!;
  const doubles = sessions.table.chunks.doubles[row >>> CHUNK_BITS]!;
  const at = (row & CHUNK_MASK) * 16;
  const d = (row & CHUNK_MASK) * 8;
  const target = into.open(KIND.session, words[at]!, words[at + 1]!, words[at + 8]!, words[at + 9]!);
  into.startMs[target] = doubles[d + 2]!;
  into.endMs[target] = doubles[d + 3]! + SESSION_GAP_MS;
  into.sum[target] = doubles[d + 5]!;
  into.min[target] = doubles[d + 6]!;
  into.max[target] = doubles[d + 7]!;
  into.firstMs[target] = doubles[d + 2]!;
  into.lastMs[target] = doubles[d + 3]!;
  into.seal(target);
  sessions.closeFirst();
}

function closeFiveMinutes(fiveMinutes: TumblingWindows, hours: TumblingWindows, into: WindowBuffer): void {
  const table = fiveMinutes.close();
  const hour = hours.at(table.startMs);
  for (let from = 0; from < table.rows; from += TILE_ROWS) {
    const to = Math.min(from + TILE_ROWS, table.rows);
    for (let row = from; row < to; row++) pushRow(KIND.fiveMinutes, table, row, into);
    hour.mergeRows(table, from, to, hashes, scratch);
  }
  fiveMinutes.recycle(table);
}

function closeHour(hours: TumblingWindows, into: WindowBuffer): void {
  const table = hours.close();
  for (let row = 0; row < table.rows; row++) pushRow(KIND.hour, table, row, into);
  hours.recycle(table);
}

function closeHopping(hopping: HoppingWindows, into: WindowBuffer): void {
  const table = hopping.close();
  for (let row = 0; row < table.rows; row++) pushRow(hopping.kind, table, row, into);
  hopping.recycle(table);
}

function pushRow(kind: number, table: WindowTable, row: number, into: WindowBuffer): void {
  const words = table.chunks.words[row >>> CHUNK_BITS]!;
  const doubles = table.chunks.doubles[row >>> CHUNK_BITS]!;
  const at = (row & CHUNK_MASK) * 16;
  const d = (row & CHUNK_MASK) * 8;
  const target = into.open(kind, words[at]!, words[at + 1]!, words[at + 2]!, words[at + 3]!);
  into.startMs[target] = table.startMs;
  into.endMs[target] = table.endMs;
  into.sum[target] = doubles[d + 4]!;
  into.min[target] = doubles[d + 5]!;
  into.max[target] = doubles[d + 6]!;
  into.firstMs[target] = table.startMs + words[at + 4]!;
  into.lastMs[target] = table.startMs + words[at + 5]!;
  into.seal(target);
}
