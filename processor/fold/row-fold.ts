/**
 * The row loop: what happens to each row of a block, one after the other, in log order (docs/ARCHITECTURE.md). Blocks and epochs are mere
 * packaging: any cut of the log into them gives the same rows.
 *
 * I1 Each row is counted in exactly one of redelivered, deadLettered, duplicate, late, clean.
 * I2 A row sees the watermark of the rows before it and moves it afterwards; what is due then closes before the next row.
 */
import { CorruptStateError } from "#shared/kernel/errors.ts";
import { VERDICT, type EventColumns } from "#shared/events/columns.ts";
import { conflictOf, deadLetterOf, type BlockOrigin, type DeadLetter } from "../operators/dead-letters.ts";
import { EventBuffer } from "../operators/event-buffer.ts";
import { roleIndex } from "../operators/rolling-hash.ts";
import { WindowBuffer } from "../operators/window-buffer.ts";
import { SEEN } from "../state/id-table.ts";
import { hashEventId, hashUser } from "../state/key-hash.ts";
import { closeWindows, nextEndMs } from "../windowing/window-closer.ts";
import { FIVE_MINUTES_MS, KIND, SESSION_GAP_MS, windowStart } from "../windowing/window-rules.ts";
import type { FoldState } from "./fold-state.ts";

export const ROLE = { clean: roleIndex("clean"), windows: roleIndex("windows"), dlq: roleIndex("dlq"), late: roleIndex("late") } as const;

/** Rows whose hashes are computed, and whose cache lines are read, ahead of folding them: their misses then overlap. */
const TILE = 64;

export class RowFold {
  readonly clean = new EventBuffer();
  readonly late = new EventBuffer();
  readonly windows: WindowBuffer;
  deadLetters: DeadLetter[] = [];
  readonly #state: FoldState;
  readonly #idHashes = new Int32Array(TILE);
  readonly #userHashes = new Int32Array(TILE);

  constructor(state: FoldState) {
    this.#state = state;
    this.windows = new WindowBuffer(state.hash, ROLE.windows);
  }

  block(block: EventColumns, origin: BlockOrigin): void {
    const { logTimeMs } = this.#state;
    const eventId = wordsOf(block.eventId);
    const userId = wordsOf(block.userId);
    this.clean.reserve(block.rows);
    const cleanFrom = this.clean.rows;
    const lateFrom = this.late.rows;
    for (let from = 0; from < block.rows; from += TILE) {
      const to = Math.min(from + TILE, block.rows);
      this.#hashRows(eventId, userId, from, to);
      for (let row = from; row < to; row++) this.#row(block, eventId, userId, row, from, origin);
    }
    if (this.clean.runs.rows > 0) {
      const added = this.clean.runs.rows;
      this.clean.append(block, eventId, userId, logTimeMs);
      this.clean.hash(this.#state.hash, ROLE.clean, cleanFrom);
      this.#state.cuts.add(added, this.clean.rows, logTimeMs);
    }
    if (this.late.runs.rows > 0) {
      this.late.append(block, eventId, userId, logTimeMs);
      this.late.hash(this.#state.hash, ROLE.late, lateFrom);
    }
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
  }

  #hashRows(eventId: Int32Array, userId: Int32Array, from: number, to: number): void {
    const idHashes = this.#idHashes;
    const userHashes = this.#userHashes;
    for (let row = from; row < to; row++) {
      idHashes[row - from] = hashEventId(eventId[row * 4]!, eventId[row * 4 + 1]!, eventId[row * 4 + 2]!, eventId[row * 4 + 3]!);
      userHashes[row - from] = hashUser(userId[row * 2]!, userId[row * 2 + 1]!);
    }
  }

  #row(block: EventColumns, eventId: Int32Array, userId: Int32Array, row: number, tile: number, origin: BlockOrigin): void {
    const state = this.#state;
    const { counts } = state;
    const offset = block.sourceOffset[row]!;
    const expected = state.highWaterMark + 1;
    if (offset < expected) {
      counts.redelivered++;
      return;
    }
    if (offset > expected && expected > 0) throw sourceGap(origin, expected, offset);
    state.highWaterMark = offset;
    counts.raw++;
    if (block.verdict[row] === VERDICT.reject) {
      this.#deadLetter(deadLetterOf(block, row, origin), block, row, block.reason.codes[row]!);
      return;
    }
    const e = row * 4;
    const idHash = this.#idHashes[row - tile]!;
    const seen = state.ids.see(eventId[e]!, eventId[e + 1]!, eventId[e + 2]!, eventId[e + 3]!, idHash, block.fingerprint[row]! | 0);
    if (seen !== SEEN.no) {
      if (seen === SEEN.same) counts.duplicate++;
      else this.#deadLetter(conflictOf(block, row, origin), block, row, -1);
      return;
    }
    const timeMs = block.eventTimeMs[row]!;
    const low = userId[row * 2]!;
    const high = userId[row * 2 + 1]!;
    const hash = this.#userHashes[row - tile]!;
    if (timeMs < state.watermark.timeMs && this.#isLate(low, high, hash, timeMs, row, block.rows)) return;
    const value = block.value[row]!;
    const window = state.fiveMinutes.at(timeMs);
    const windowEvents = window.add(window.rowOf(low, high, hash), timeMs - window.startMs, value);
    const session = state.sessions.add(low, high, hash, timeMs, value);
    const { clean } = this;
    const place = clean.rows + clean.runs.rows;
    clean.windowEvents[place] = windowEvents;
    clean.sessionStartMs[place] = state.sessions.firstMs(session);
    clean.sessionEvents[place] = state.sessions.events(session);
    clean.runs.add(row);
    counts.clean++;
    state.emitted[ROLE.clean] = state.emitted[ROLE.clean]! + 1;
    state.watermark.observe(timeMs);
    if (state.watermark.timeMs >= nextEndMs(state)) this.closeDue();
  }

  /** Puts a late row aside; the rules are in window-rules.ts. */
  #isLate(low: number, high: number, hash: number, timeMs: number, row: number, rows: number): boolean {
    const state = this.#state;
    const watermarkMs = state.watermark.timeMs;
    const windowStartMs = windowStart(timeMs, FIVE_MINUTES_MS);
    const isBehindWindow = windowStartMs + FIVE_MINUTES_MS <= watermarkMs;
    if (!isBehindWindow) {
      if (timeMs + SESSION_GAP_MS > watermarkMs || state.sessions.canJoin(low, high, hash, timeMs)) return false;
    }
    const { late } = this;
    late.reserve(rows);
    const place = late.rows + late.runs.rows;
    late.windowEvents[place] = 0;
    late.sessionStartMs[place] = 0;
    late.sessionEvents[place] = 0;
    late.lateKind[place] = isBehindWindow ? KIND.fiveMinutes : KIND.session;
    late.lateWindowStartMs[place] = isBehindWindow ? windowStartMs : timeMs;
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
    const reason = textHash(reasonCode < 0 ? "id.conflict" : block.reason.values[reasonCode]!);
    const offset = block.sourceOffset[row]!;
    const low = offset | 0;
    const high = Math.floor(offset / 4294967296) | 0;
    const bytes = letter.value === null ? -1 : letter.value.length;
    state.hash.add(ROLE.dlq, Math.imul(low, 0x9e3779b1) + Math.imul(high, 0x85ebca77) + reason, Math.imul(reason, 0xd6e8feb9) + Math.imul(bytes, 0xa2b4c5d7) + low);
  }
}

function textHash(text: string): number {
  let hash = 0x811c9dc5 | 0;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
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
