/**
 * A few accepted rows of a block, between de-duplication and the windows. Work goes tile by tile and table by table: small loops over
 * independent rows, whose cache misses overlap.
 */
export const TILE_ROWS = 128;

export class Tile {
  count = 0;
  /** Row of the block. */
  readonly row = new Int32Array(TILE_ROWS);
  /** User id, as words, and its hash. */
  readonly low = new Int32Array(TILE_ROWS);
  readonly high = new Int32Array(TILE_ROWS);
  readonly hash = new Int32Array(TILE_ROWS);
  /** Row in the table of users. */
  readonly userRow = new Int32Array(TILE_ROWS);
  /** Scratch: rows in the table at work, -1 = unknown. */
  readonly rows = new Int32Array(TILE_ROWS);
  readonly timeMs = new Float64Array(TILE_ROWS);
  readonly value = new Float64Array(TILE_ROWS);
  /** What the tables tell. */
  readonly windowEvents = new Int32Array(TILE_ROWS);
  readonly sessionStartMs = new Float64Array(TILE_ROWS);
  readonly sessionEvents = new Int32Array(TILE_ROWS);
  readonly score = new Float64Array(TILE_ROWS);

  /** Smallest and largest event time. */
  earliestMs = Infinity;
  latestMs = -Infinity;

  clear(): void {
    this.count = 0;
    this.earliestMs = Infinity;
    this.latestMs = -Infinity;
  }
}
