/**
 * Hopping windows out of panes (Li, Maier, Tufte, Papadimos, Tucker: "No pane, no gain", 2005): a pane is a tumbling window of the hop's length; an
 * event is counted once, in its pane, and a window is the sum of its panes, added oldest first when it closes. So an event costs the same whatever
 * size / hop is, and a closing window costs its panes' users.
 *
 * I1 A window closes once: windows with an end at or before `#closedEndMs` have closed, and an event whose pane ends there is late.
 * I2 At a record's boundary every window that is due has closed, so `#closedEndMs` follows from the watermark and is not part of a snapshot.
 */
import { ChunkPool } from "../state/row-chunks.ts";
import { TILE_ROWS } from "../state/tile.ts";
import { WindowTable } from "../state/window-table.ts";
import { TumblingWindows } from "./tumbling-windows.ts";
import { windowStart } from "./window-rules.ts";

export class HoppingWindows {
  readonly name: string;
  /** Code of the kind. */
  readonly kind: number;
  readonly sizeMs: number;
  readonly panes: TumblingWindows;
  readonly #maxRows: number;
  readonly #pool = new ChunkPool();
  readonly #hashes = new Int32Array(TILE_ROWS);
  readonly #scratch = new Int32Array(TILE_ROWS);
  #closedEndMs = -Infinity;
  #expectedRows = 0;

  constructor(name: string, kind: number, lengths: { readonly sizeMs: number; readonly hopMs: number }, maxRows: number) {
    this.name = name;
    this.kind = kind;
    this.sizeMs = lengths.sizeMs;
    this.#maxRows = maxRows;
    this.panes = new TumblingWindows(name, lengths.hopMs, maxRows);
  }

  /** End of the window that closes next; Infinity = none is open. */
  get nextEndMs(): number {
    const [oldest] = this.panes.open;
    return oldest === undefined ? Infinity : Math.max(oldest.startMs, this.#closedEndMs) + this.panes.sizeMs;
  }

  /** End of the window that closes last; -Infinity = none is open. */
  get latestEndMs(): number {
    const newest = this.panes.open.at(-1);
    return newest === undefined ? -Infinity : newest.startMs + this.sizeMs;
  }

  get bytes(): number {
    return this.panes.bytes + this.#pool.bytes;
  }

  /** After the panes have been restored. */
  restoreClosed(watermarkMs: number): void {
    this.#closedEndMs = windowStart(watermarkMs, this.panes.sizeMs);
  }

  /** The window that closes next, summed up, in the order in which its users came, pane by pane. Valid until {@link recycle}. */
  close(): WindowTable {
    const endMs = this.nextEndMs;
    const options = {
      name: this.name,
      startMs: endMs - this.sizeMs,
      endMs,
      maxRows: this.#maxRows,
      expectedRows: this.#expectedRows,
      isIndexed: true,
    };
    const window = new WindowTable(this.#pool, options);
    for (const pane of this.panes.open) {
      if (pane.startMs >= endMs) break;
      for (let from = 0; from < pane.rows; from += TILE_ROWS) {
        window.mergeRows(pane, from, Math.min(from + TILE_ROWS, pane.rows), this.#hashes, this.#scratch);
      }
    }
    this.#closedEndMs = endMs;
    this.#expectedRows = window.rows;
    if (this.panes.open[0]!.startMs <= window.startMs) this.panes.recycle(this.panes.close());
    return window;
  }

  recycle(window: WindowTable): void {
    this.#pool.give(window.chunks);
  }
}
