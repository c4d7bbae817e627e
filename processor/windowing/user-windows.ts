/**
 * The five-minute windows, found through the users' rows (state/user-table.ts): a user's row names the row in the newest of the windows that the user
 * is in, and that one, by its words 6 (row + 1, 0 = none) and 7 (window's number), the one before. So an event costs no look-up of its own here, a
 * user's first event in a window no insertion into an index, and a closing window no removal.
 *
 * I1 A link leads to an older window. One to a window that has closed is never followed: windows close oldest first, so its number is below the
 *    oldest open one's.
 * I2 Whoever has a row in an open window has a row in the table of users.
 * I3 Links follow from the rows; they stand as zero in a snapshot and are made again by {@link link}.
 */
import { CHUNK_BITS, CHUNK_MASK } from "../state/row-chunks.ts";
import { hashUser } from "../state/key-hash.ts";
import type { Tile } from "../state/tile.ts";
import type { UserTable } from "../state/user-table.ts";
import type { WindowTable } from "../state/window-table.ts";
import { TumblingWindows } from "./tumbling-windows.ts";

export class UserWindows extends TumblingWindows {
  readonly #users: UserTable;

  constructor(name: string, sizeMs: number, maxRows: number, users: UserTable) {
    super(name, sizeMs, maxRows, { isIndexed: false });
    this.#users = users;
  }

  /** Counts the tile's rows in, each in its window. The tile's users have been located. */
  override addTile(tile: Tile): void {
    const { words: userWords } = this.#users.chunks;
    const { userRow, timeMs, rows, value, windowEvents } = tile;
    for (let from = 0, to = 0; from < tile.count; from = to) {
      const window = this.at(timeMs[from]!);
      for (to = from + 1; to < tile.count && timeMs[to]! >= window.startMs && timeMs[to]! < window.endMs;) to++;
      const number = this.#numberOf(window);
      const { startMs, chunks } = window;
      for (let i = from; i < to; i++) {
        const user = userRow[i]!;
        const words = userWords[user >>> CHUNK_BITS]!;
        const u = (user & CHUNK_MASK) * 16;
        const other = words[u + 8]! ^ number;
        rows[i] = (words[u + 9]! - 1) | ((other | -other) >> 31);
      }
      chunks.touch(rows, from, to);
      chunks.saveRows(rows, from, to);
      for (let i = from; i < to; i++) {
        let row = rows[i]!;
        // Of a user whose first event in the window is in this tile the row was not yet known above.
        if (row < 0) {
          row = this.#rowOf(window, number, userRow[i]!, tile.low[i]!, tile.high[i]!);
          chunks.watch?.save(row);
        }
        // WindowTable.add, in one loop over local variables: this and SessionWindows.addTile are where a fold spends its time.
        const words = chunks.words[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        const events = words[at + 2]! + 1;
        words[at + 2] = events;
        windowEvents[i] = events;
        const offsetMs = timeMs[i]! - startMs;
        if (offsetMs < words[at + 4]!) words[at + 4] = offsetMs;
        if (offsetMs > words[at + 5]!) words[at + 5] = offsetMs;
        const measure = value[i]!;
        if (measure !== measure) continue;
        const doubles = chunks.doubles[row >>> CHUNK_BITS]!;
        const d = (row & CHUNK_MASK) * 8;
        words[at + 3] = words[at + 3]! + 1;
        doubles[d + 4] = doubles[d + 4]! + measure;
        if (measure < doubles[d + 5]!) doubles[d + 5] = measure;
        if (measure > doubles[d + 6]!) doubles[d + 6] = measure;
      }
    }
  }

  /** Counts one event in and returns the events of the user's window. */
  add(userRow: number, low: number, high: number, timeMs: number, value: number): number {
    const window = this.at(timeMs);
    return window.add(this.#rowOf(window, this.#numberOf(window), userRow, low, high), timeMs - window.startMs, value);
  }

  /** Whether the user is in an open window. */
  holds(userWords: Int32Array, at: number): boolean {
    const [oldest] = this.open;
    return oldest !== undefined && userWords[at + 9] !== 0 && userWords[at + 8]! >= this.#numberOf(oldest);
  }

  /** After windows and users have been restored. */
  link(): void {
    for (const window of this.open) {
      for (let row = 0; row < window.rows; row++) {
        const words = window.chunks.words[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        const user = this.#users.rowOf(words[at]!, words[at + 1]!, hashUser(words[at]!, words[at + 1]!));
        const userWords = this.#users.chunks.words[user >>> CHUNK_BITS]!;
        const u = (user & CHUNK_MASK) * 16;
        words[at + 6] = userWords[u + 9]!;
        words[at + 7] = userWords[u + 8]!;
        userWords[u + 8] = this.#numberOf(window);
        userWords[u + 9] = row + 1;
      }
    }
  }

  #numberOf(window: WindowTable): number {
    return Math.round(window.startMs / this.sizeMs);
  }

  /** The open window of this number. */
  #tableOf(number: number): WindowTable {
    const { open } = this;
    for (let i = 0; ; i++) if (this.#numberOf(open[i]!) === number) return open[i]!;
  }

  /** The user's row in the window, new and empty if there was none. */
  #rowOf(window: WindowTable, number: number, userRow: number, low: number, high: number): number {
    const userWords = this.#users.chunks.words[userRow >>> CHUNK_BITS]!;
    const u = (userRow & CHUNK_MASK) * 16;
    const oldest = this.#numberOf(this.open[0]!);
    // The words that hold the link which is followed, and where in them: the user's, then those of ever older windows.
    let words = userWords;
    let rowAt = u + 9;
    let numberAt = u + 8;
    while (words[rowAt] !== 0 && words[numberAt]! > number) {
      const row = words[rowAt]! - 1;
      words = this.#tableOf(words[numberAt]!).chunks.words[row >>> CHUNK_BITS]!;
      rowAt = (row & CHUNK_MASK) * 16 + 6;
      numberAt = rowAt + 1;
    }
    if (words[rowAt] !== 0 && words[numberAt] === number) return words[rowAt]! - 1;
    const row = window.append(low, high);
    const isOpen = words[rowAt] !== 0 && words[numberAt]! >= oldest;
    const added = window.chunks.words[row >>> CHUNK_BITS]!;
    const at = (row & CHUNK_MASK) * 16;
    added[at + 6] = isOpen ? words[rowAt]! : 0;
    added[at + 7] = isOpen ? words[numberAt]! : 0;
    words[rowAt] = row + 1;
    words[numberAt] = number;
    return row;
  }
}
