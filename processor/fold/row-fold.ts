/**
 * The row loop: what happens to each row of a block, one after the other, in log order (docs/ARCHITECTURE.md). Blocks and epochs are mere
 * packaging: any cut of the log into them gives the same rows.
 *
 * I1 Each row is counted in exactly one of redelivered, deadLettered, duplicate, late, clean.
 * I2 A row sees the watermark of the rows before it and moves it afterwards; what is due then closes before the next row, or may as well.
 */
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { VERDICT, type EventColumns } from "#shared/events/columns.ts";
import { conflictOf, deadLetterOf, type BlockOrigin, type DeadLetter } from "../operators/dead-letters.ts";
import { EventBuffer } from "../operators/event-buffer.ts";
import type { MinutePartial } from "../operators/minute-cells.ts";
import { addPartial } from "../operators/partial-hash.ts";
import { roleIndex, textHash } from "../operators/rolling-hash.ts";
import { WindowBuffer } from "../operators/window-buffer.ts";
import { SEEN } from "../state/id-table.ts";
import { hashEventId, hashUser } from "../state/key-hash.ts";
import { TILE_ROWS, Tile } from "../state/tile.ts";
import { closeWindows, nextEndMs } from "../windowing/window-closer.ts";
import { FIVE_MINUTES_MS, KIND, SESSION_GAP_MS, windowStart } from "../windowing/window-rules.ts";
import type { FoldState } from "./fold-state.ts";

export const ROLE = {
  clean: roleIndex("clean"),
  windows: roleIndex("windows"),
  dlq: roleIndex("dlq"),
  late: roleIndex("late"),
  partials: roleIndex("partials"),
} as const;

export class RowFold {
  readonly clean = new EventBuffer();
  readonly late = new EventBuffer();
  readonly windows: WindowBuffer;
  deadLetters: DeadLetter[] = [];
  partials: MinutePartial[] = [];
  readonly #state: FoldState;
  /** Of the score, standard deviations. */
  readonly #threshold: number;
  readonly #tile = new Tile();
  readonly #idHashes = new Int32Array(TILE_ROWS);
  readonly #scratch = new Int32Array(TILE_ROWS);
  /** Of the block, flagged for their score. Rare, so an array of numbers will do. */
  readonly #flagged: number[] = [];

  constructor(state: FoldState, threshold: number) {
    this.#state = state;
    this.#threshold = threshold;
    this.windows = new WindowBuffer(state.hash, ROLE.windows);
  }

  block(block: EventColumns, origin: BlockOrigin): void {
    const { logTimeMs, minute } = this.#state;
    minute?.begin(block);
    const eventId = wordsOf(block.eventId);
    const userId = wordsOf(block.userId);
    this.clean.reserve(block.rows);
    const cleanFrom = this.clean.rows;
    const lateFrom = this.late.rows;
    for (let from = 0; from < block.rows; from += TILE_ROWS) {
      this.#accept(block, eventId, userId, from, Math.min(from + TILE_ROWS, block.rows), origin);
      this.#foldTile(block.rows);
    }
    if (minute !== null) {
      minute.addRows(block, this.clean.runs, logTimeMs, false);
      minute.addRows(block, this.late.runs, logTimeMs, true);
      for (const row of this.#flagged) minute.addFlagged(block, row);
    }
    this.#flagged.length = 0;
    if (this.clean.runs.rows > 0) {
      const added = this.clean.runs.rows;
      this.#state.counts.clean += added;
      this.#state.emitted[ROLE.clean] = this.#state.emitted[ROLE.clean]! + added;
      this.clean.append(block, eventId, userId, logTimeMs, this.#state.enrichment);
      this.clean.hash(this.#state.hash, ROLE.clean, cleanFrom);
      this.#state.cuts.add(added, this.clean.rows, logTimeMs);
    }
    if (this.late.runs.rows > 0) {
      this.late.append(block, eventId, userId, logTimeMs, this.#state.enrichment);
      this.late.hash(this.#state.hash, ROLE.late, lateFrom);
    }
  }

  /** Time has gone on: the minute that is over waits for output. */
  closeMinute(): void {
    const { minute, logTimeMs, emitted, hash } = this.#state;
    const partial = minute?.arrive(logTimeMs) ?? null;
    if (partial === null) return;
    this.partials.push(partial);
    emitted[ROLE.partials] = emitted[ROLE.partials]! + (partial.cells?.sources.length ?? 0);
    addPartial(hash, ROLE.partials, partial);
  }

  closeDue(): void {
    const { watermark, emitted } = this.#state;
    const before = this.windows.rows;
    closeWindows(this.#state, watermark.timeMs, this.windows);
    emitted[ROLE.windows] = emitted[ROLE.windows]! + this.windows.rows - before;
  }

  /** Forgets the rows that waited for output. */
  clear(): void {
    this.clean.clear();
    this.late.clear();
    this.windows.clear();
    this.deadLetters = [];
    this.partials = [];
  }

  /** Trims, rejects and de-duplicates rows from..to; what is left goes into the tile. */
  #accept(block: EventColumns, eventId: Int32Array, userId: Int32Array, from: number, to: number, origin: BlockOrigin): void {
    const { ids, counts, minute } = this.#state;
    const hashes = this.#idHashes;
    for (let row = from; row < to; row++) {
      const e = row * 4;
      hashes[row - from] = hashEventId(eventId[e]!, eventId[e + 1]!, eventId[e + 2]!, eventId[e + 3]!);
    }
    ids.index.touch(hashes, 0, to - from, this.#scratch);
    const { sourceOffset, verdict, fingerprint, eventTimeMs, value } = block;
    const tile = this.#tile;
    tile.clear();
    let expected = this.#state.highWaterMark + 1;
    let count = 0;
    for (let row = from; row < to; row++) {
      const offset = sourceOffset[row]!;
      if (offset !== expected) {
        if (offset < expected) {
          counts.redelivered++;
          continue;
        }
        if (expected > 0) throw sourceGap(origin, expected, offset);
      }
      expected = offset + 1;
      counts.raw++;
      if (verdict[row] === VERDICT.reject) {
        this.#deadLetter(deadLetterOf(block, row, origin), block, row, block.reason.codes[row]!);
        continue;
      }
      const e = row * 4;
      const seen = ids.see(eventId[e]!, eventId[e + 1]!, eventId[e + 2]!, eventId[e + 3]!, hashes[row - from]!, fingerprint[row]! | 0);
      if (seen !== SEEN.no) {
        if (seen === SEEN.same) {
          counts.duplicate++;
          minute?.addDuplicate(block, row);
        } else this.#deadLetter(conflictOf(block, row, origin), block, row, -1);
        continue;
      }
      const timeMs = eventTimeMs[row]!;
      const low = userId[row * 2]!;
      const high = userId[row * 2 + 1]!;
      tile.row[count] = row;
      tile.low[count] = low;
      tile.high[count] = high;
      tile.hash[count] = hashUser(low, high);
      tile.timeMs[count] = timeMs;
      tile.value[count] = value[row]!;
      if (timeMs < tile.earliestMs) tile.earliestMs = timeMs;
      if (timeMs > tile.latestMs) tile.latestMs = timeMs;
      count++;
    }
    tile.count = count;
    this.#state.highWaterMark = expected - 1;
  }

  /**
   * When no row of the tile is behind the watermark that the tile leads to, none of them is late, and none can reach a window that is due
   * before the tile's end: it would have to be earlier than that window's end. So the windows may close after the tile instead of in it,
   * in the same order. Otherwise row by row.
   */
  #foldTile(rows: number): void {
    const tile = this.#tile;
    const { watermark, fiveMinutes, sessions, hopping, users } = this.#state;
    if (tile.count === 0) return;
    if (tile.earliestMs < watermark.after(tile.latestMs)) {
      for (let i = 0; i < tile.count; i++) this.#foldRow(i, rows);
      return;
    }
    users.locate(tile);
    fiveMinutes.addTile(tile);
    sessions.addTile(tile);
    users.addTile(tile);
    for (let i = 0; i < tile.count; i++) this.#clean(i, tile.windowEvents[i]!);
    // Last, since it writes its own ranks into the tile.
    if (hopping !== null) hopping.panes.addTile(tile);
    this.#advance(tile.latestMs);
  }

  #foldRow(i: number, rows: number): void {
    const { row: blockRow, low, high, hash, timeMs, value, userRow } = this.#tile;
    const { watermark, fiveMinutes, sessions, hopping, users } = this.#state;
    const time = timeMs[i]!;
    if (time < watermark.timeMs && this.#isLate(low[i]!, high[i]!, hash[i]!, time, blockRow[i]!, rows)) return;
    const user = users.meet(low[i]!, high[i]!, hash[i]!);
    const windowEvents = fiveMinutes.add(user, low[i]!, high[i]!, time, value[i]!);
    userRow[i] = user;
    sessions.add(this.#tile, i);
    users.score(this.#tile, i);
    if (hopping !== null) {
      const pane = hopping.panes.at(time);
      pane.add(pane.rowOf(low[i]!, high[i]!, hash[i]!), time - pane.startMs, value[i]!);
    }
    this.#clean(i, windowEvents);
    this.#advance(time);
  }

  /** Appends the tile's event i to the clean rows. */
  #clean(i: number, windowEvents: number): void {
    const { row, sessionStartMs, sessionEvents, score } = this.#tile;
    const { clean } = this;
    const place = clean.rows + clean.runs.rows;
    const distance = score[i]!;
    clean.windowEvents[place] = windowEvents;
    clean.sessionStartMs[place] = sessionStartMs[i]!;
    clean.sessionEvents[place] = sessionEvents[i]!;
    clean.score[place] = distance;
    if (distance > this.#threshold || distance < -this.#threshold) {
      clean.flag(place);
      this.#flagged.push(row[i]!);
    }
    clean.runs.add(row[i]!);
  }

  #advance(timeMs: number): void {
    const { watermark } = this.#state;
    watermark.observe(timeMs);
    if (watermark.timeMs >= nextEndMs(this.#state)) this.closeDue();
  }

  /** Puts a late row aside; the rules are in window-rules.ts. */
  #isLate(low: number, high: number, hash: number, timeMs: number, row: number, rows: number): boolean {
    const state = this.#state;
    const watermarkMs = state.watermark.timeMs;
    const windowStartMs = windowStart(timeMs, FIVE_MINUTES_MS);
    const isBehindWindow = windowStartMs + FIVE_MINUTES_MS <= watermarkMs;
    const { hopping } = state;
    const paneEndMs = hopping === null ? Infinity : hopping.panes.endOf(timeMs);
    const isBehindPane = !isBehindWindow && paneEndMs <= watermarkMs;
    if (!isBehindWindow && !isBehindPane) {
      if (timeMs + SESSION_GAP_MS > watermarkMs || state.sessions.canJoin(low, high, hash, timeMs)) return false;
    }
    const { late } = this;
    late.reserve(rows);
    const place = late.rows + late.runs.rows;
    late.windowEvents[place] = 0;
    late.sessionStartMs[place] = 0;
    late.sessionEvents[place] = 0;
    late.score[place] = Number.NaN;
    late.lateKind[place] = isBehindWindow ? KIND.fiveMinutes : KIND.session;
    late.lateWindowStartMs[place] = isBehindWindow ? windowStartMs : timeMs;
    if (isBehindPane && hopping !== null) {
      late.lateKind[place] = hopping.kind;
      late.lateWindowStartMs[place] = paneEndMs - hopping.sizeMs;
    }
    late.runs.add(row);
    state.counts.late++;
    state.emitted[ROLE.late] = state.emitted[ROLE.late]! + 1;
    return true;
  }

  #deadLetter(letter: DeadLetter, block: EventColumns, row: number, reasonCode: number): void {
    const state = this.#state;
    this.deadLetters.push(letter);
    state.counts.deadLettered++;
    state.emitted[ROLE.dlq] = state.emitted[ROLE.dlq]! + 1;
    const name = reasonCode < 0 ? "id.conflict" : block.reason.values[reasonCode]!;
    state.minute?.addDeadLetter(block, row, name, (letter.key?.length ?? 0) + (letter.value?.length ?? 0));
    const reason = textHash(name);
    const offset = block.sourceOffset[row]!;
    const low = offset | 0;
    const high = Math.floor(offset / 4294967296) | 0;
    const bytes = letter.value === null ? -1 : letter.value.length;
    state.hash.add(
      ROLE.dlq,
      Math.imul(low, 0x9e3779b1) + Math.imul(high, 0x85ebca77) + reason,
      Math.imul(reason, 0xd6e8feb9) + Math.imul(bytes, 0xa2b4c5d7) + low,
    );
  }
}

/** The column as 32-bit words; copied when it does not begin on one, as Arrow buffers inside a Kafka record may not. */
function wordsOf(column: Uint8Array | Uint32Array): Int32Array {
  if (column.byteOffset % 4 === 0) return new Int32Array(column.buffer, column.byteOffset, column.byteLength >> 2);
  return new Int32Array(column.slice().buffer);
}

function sourceGap(origin: BlockOrigin, expected: number, found: number): CorruptStateError {
  return new CorruptStateError(`source offsets ${expected} to ${found - 1} of ${origin.topic}/${origin.partition} are missing`, {
    code: "SOURCE_GAP",
    hint: `the validator skipped records or their retention ended: find them, or begin a new generation behind ${found - 1}`,
  });
}
