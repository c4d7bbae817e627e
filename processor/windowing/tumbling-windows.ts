/**
 * The open tumbling windows of one size. There are few at a time (the out-of-orderness over the size, plus two), so they stand in a short
 * array in order of time; the users of each are in its table.
 */
import { ChunkPool } from "../state/row-chunks.ts";
import { TILE_ROWS, type Tile } from "../state/tile.ts";
import { WindowTable } from "../state/window-table.ts";
import { windowStart } from "./window-rules.ts";

export class TumblingWindows {
  readonly sizeMs: number;
  readonly #name: string;
  readonly #maxRows: number;
  readonly #pool = new ChunkPool();
  #open: WindowTable[] = [];
  #recent: WindowTable | null = null;
  #expectedRows = 0;
  #nextEndMs = Infinity;
  readonly #scratch = new Int32Array(TILE_ROWS);

  readonly #isIndexed: boolean;

  constructor(name: string, sizeMs: number, maxRows: number, { isIndexed } = { isIndexed: true }) {
    this.#isIndexed = isIndexed;
    this.#name = name;
    this.sizeMs = sizeMs;
    this.#maxRows = maxRows;
  }

  /** In order of time. */
  get open(): readonly WindowTable[] {
    return this.#open;
  }

  /** End of the window that closes next; Infinity = none is open. */
  get nextEndMs(): number {
    return this.#nextEndMs;
  }

  get bytes(): number {
    return this.#open.reduce((sum, table) => sum + table.bytes, this.#pool.bytes);
  }

  /** End of the window that holds `timeMs`, open or not. */
  endOf(timeMs: number): number {
    return windowStart(timeMs, this.sizeMs) + this.sizeMs;
  }

  /** The window that holds `timeMs`, opened if it is not. */
  at(timeMs: number): WindowTable {
    const recent = this.#recent;
    if (recent !== null && timeMs >= recent.startMs && timeMs < recent.endMs) return recent;
    const startMs = windowStart(timeMs, this.sizeMs);
    const table = this.#open.find((candidate) => candidate.startMs === startMs) ?? this.openAt(startMs, this.#expectedRows);
    this.#recent = table;
    return table;
  }

  /** Counts the tile's rows in, each in its window. */
  addTile(tile: Tile): void {
    for (let from = 0, to = 0; from < tile.count; from = to) {
      const window = this.at(tile.timeMs[from]!);
      for (to = from + 1; to < tile.count && tile.timeMs[to]! >= window.startMs && tile.timeMs[to]! < window.endMs;) to++;
      window.addTile(tile, from, to, this.#scratch);
    }
  }

  openAt(startMs: number, expectedRows: number): WindowTable {
    const options = {
      name: this.#name,
      startMs,
      endMs: startMs + this.sizeMs,
      maxRows: this.#maxRows,
      expectedRows,
      isIndexed: this.#isIndexed,
    };
    const table = new WindowTable(this.#pool, options);
    this.#open.push(table);
    this.#open.sort((a, b) => a.startMs - b.startMs);
    this.#nextEndMs = this.#open[0]!.endMs;
    return table;
  }

  /** Takes the window that closes next out; give it back with {@link recycle} when its rows have been read. */
  close(): WindowTable {
    const table = this.#open.shift()!;
    if (this.#recent === table) this.#recent = null;
    this.#nextEndMs = this.#open[0]?.endMs ?? Infinity;
    this.#expectedRows = table.rows;
    return table;
  }

  recycle(table: WindowTable): void {
    this.#pool.give(table.chunks);
  }
}
