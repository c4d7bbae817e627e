/**
 * Five of NEXMark's queries from the parts that the fold is made of: tables by user or auction, tumbling windows, sessions.
 *
 * q5   auctions with the most bids in the last 10 s, every 2 s: panes of a hop, added up
 * q7   highest bid of each 10 s
 * q8   persons who came and opened an auction within the same 10 s
 * q11  bids per bidder and session, gap 10 s
 * q12  bids per bidder and 10 s; of processing time, which here is the log's, as everywhere in the fold
 */
import { hashUser } from "#processor/state/key-hash.ts";
import { CHUNK_BITS, CHUNK_MASK, ChunkPool } from "#processor/state/row-chunks.ts";
import { Tile, TILE_ROWS } from "#processor/state/tile.ts";
import { SCORE_DEFAULTS } from "#processor/state/score.ts";
import { UserTable } from "#processor/state/user-table.ts";
import { WindowTable } from "#processor/state/window-table.ts";
import { SessionWindows } from "#processor/windowing/session-windows.ts";
import { TumblingWindows } from "#processor/windowing/tumbling-windows.ts";
import { SESSION_GAP_MS } from "#processor/windowing/window-rules.ts";
import { KIND, type NexmarkBatch } from "./nexmark-events.ts";

export const WINDOW_MS = 10_000;
export const HOP_MS = 2_000;
export const NEXMARK_GAP_MS = 10_000;
/** The fold's sessions have a gap of 30 s: on a clock three times as fast it is NEXMark's. */
const SESSION_SCALE = SESSION_GAP_MS / NEXMARK_GAP_MS;
const MAX_ROWS = 16_777_216;
/** Behind every event, and still a time. */
const END_MS = Number.MAX_SAFE_INTEGER;

/** Rows of a result as a sum of sums that knows no order. */
export class ResultDigest {
  rows = 0;
  #low = 0;
  #high = 0;

  add(a: number, b: number, c: number, d = 0): void {
    let x = Math.imul(a | 0, 0x9e3779b1) ^ Math.imul((a / 4_294_967_296) | 0, 0x85ebca77);
    x = Math.imul(x ^ (x >>> 15) ^ (b | 0), 0xc2b2ae3d);
    x = Math.imul(x ^ (x >>> 13) ^ (c | 0), 0x27d4eb2f);
    x = Math.imul(x ^ (x >>> 16) ^ (d | 0), 0x165667b1);
    this.rows += 1;
    this.#low = (this.#low + x) | 0;
    this.#high = (this.#high + Math.imul(x ^ (x >>> 11), 0x2c1b3c6d)) | 0;
  }

  text(): string {
    return [this.rows, this.#low >>> 0, this.#high >>> 0].join("/");
  }
}

export interface NexmarkQuery {
  readonly digest: ResultDigest;
  add(batch: NexmarkBatch): void;
  /** Closes what is open. */
  finish(): void;
}

/** Gathers tiles; events come in order of time, so the watermark is the last one's. */
abstract class TiledQuery implements NexmarkQuery {
  readonly digest = new ResultDigest();
  protected readonly tile = new Tile();

  abstract add(batch: NexmarkBatch): void;

  protected abstract fold(tile: Tile): void;

  protected abstract close(watermarkMs: number): void;

  protected put(key: number, timeMs: number, value: number): void {
    const { tile } = this;
    const at = tile.count++;
    tile.low[at] = key;
    tile.high[at] = 0;
    tile.hash[at] = hashUser(key, 0);
    tile.timeMs[at] = timeMs;
    tile.value[at] = value;
    if (tile.count === TILE_ROWS) this.flush();
  }

  protected flush(): void {
    const { tile } = this;
    if (tile.count === 0) return;
    const latestMs = tile.timeMs[tile.count - 1]!;
    this.fold(tile);
    tile.clear();
    this.close(latestMs);
  }

  finish(): void {
    this.flush();
    this.close(END_MS);
  }
}

class BidsPerBidder extends TiledQuery {
  readonly #windows = new TumblingWindows("q12", WINDOW_MS, MAX_ROWS);

  add({ rows, kind, person, timeMs }: NexmarkBatch): void {
    for (let row = 0; row < rows; row++) if (kind[row] === KIND.bid) this.put(person[row]!, timeMs[row]!, Number.NaN);
  }

  protected fold(tile: Tile): void {
    this.#windows.addTile(tile);
  }

  protected close(watermarkMs: number): void {
    while (this.#windows.nextEndMs <= watermarkMs && this.#windows.nextEndMs < Infinity) {
      const table = this.#windows.close();
      for (let row = 0; row < table.rows; row++) {
        const words = table.chunks.words[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        this.digest.add(table.startMs, words[at]!, words[at + 2]!);
      }
      this.#windows.recycle(table);
    }
  }
}

class BidsPerSession extends TiledQuery {
  readonly #bidders = new UserTable(SCORE_DEFAULTS, MAX_ROWS);
  readonly #sessions = new SessionWindows(MAX_ROWS, this.#bidders);

  add({ rows, kind, person, timeMs }: NexmarkBatch): void {
    for (let row = 0; row < rows; row++) if (kind[row] === KIND.bid) this.put(person[row]!, timeMs[row]! * SESSION_SCALE, Number.NaN);
  }

  protected fold(tile: Tile): void {
    this.#bidders.locate(tile);
    this.#sessions.addTile(tile);
  }

  protected close(watermarkMs: number): void {
    const sessions = this.#sessions;
    for (let row = sessions.nextDue(watermarkMs); row >= 0; row = sessions.nextDue(watermarkMs)) {
      const bidder = sessions.table.chunks.words[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 16]!;
      this.digest.add(sessions.firstMs(row) / SESSION_SCALE, bidder, sessions.events(row), (sessions.lastMs(row) / SESSION_SCALE) % 1e9);
      sessions.closeFirst();
    }
  }
}

class HighestBid extends TiledQuery {
  readonly #windows = new TumblingWindows("q7", WINDOW_MS, MAX_ROWS);
  readonly #auction = new Int32Array(TILE_ROWS);
  readonly #bidder = new Int32Array(TILE_ROWS);
  /** The bid that is the highest of the open window. */
  #highest = { price: -Infinity, auction: 0, bidder: 0 };

  add({ rows, kind, person, auction, price, timeMs }: NexmarkBatch): void {
    for (let row = 0; row < rows; row++) {
      if (kind[row] !== KIND.bid) continue;
      // A tile may not span two windows: the highest bid of one of them would be lost.
      if (this.tile.count > 0 && timeMs[row]! >= this.#windows.endOf(this.tile.timeMs[0]!)) this.flush();
      if (timeMs[row]! >= this.#windows.nextEndMs) this.close(timeMs[row]!);
      this.#auction[this.tile.count] = auction[row]!;
      this.#bidder[this.tile.count] = person[row]!;
      this.put(0, timeMs[row]!, price[row]!);
    }
  }

  protected fold(tile: Tile): void {
    this.#windows.addTile(tile);
    const [window] = this.#windows.open;
    const max = window!.chunks.doubles[0]![6]!;
    if (max <= this.#highest.price) return;
    let at = 0;
    while (tile.value[at] !== max) at++;
    this.#highest = { price: max, auction: this.#auction[at]!, bidder: this.#bidder[at]! };
  }

  protected close(watermarkMs: number): void {
    if (this.#windows.nextEndMs > watermarkMs || this.#windows.nextEndMs === Infinity) return;
    const table = this.#windows.close();
    this.digest.add(table.startMs, this.#highest.price, this.#highest.auction, this.#highest.bidder);
    this.#highest = { price: -Infinity, auction: 0, bidder: 0 };
    this.#windows.recycle(table);
  }
}

class HotAuctions extends TiledQuery {
  readonly #panes = new TumblingWindows("q5", HOP_MS, MAX_ROWS);
  readonly #pool = new ChunkPool();
  readonly #hashes = new Int32Array(TILE_ROWS);
  readonly #scratch = new Int32Array(TILE_ROWS);
  /** Closed panes that a window yet to close holds, oldest first. */
  #recent: WindowTable[] = [];

  add({ rows, kind, auction, timeMs }: NexmarkBatch): void {
    for (let row = 0; row < rows; row++) if (kind[row] === KIND.bid) this.put(auction[row]!, timeMs[row]!, Number.NaN);
  }

  protected fold(tile: Tile): void {
    this.#panes.addTile(tile);
  }

  protected close(watermarkMs: number): void {
    while (this.#panes.nextEndMs <= watermarkMs && this.#panes.nextEndMs < Infinity) {
      const pane = this.#panes.close();
      this.#recent.push(pane);
      this.#emit(pane.endMs);
    }
    if (watermarkMs < END_MS) return;
    const lastEndMs = this.#recent.at(-1)?.endMs ?? 0;
    for (let endMs = lastEndMs + HOP_MS; endMs < lastEndMs + WINDOW_MS; endMs += HOP_MS) this.#emit(endMs);
  }

  #emit(endMs: number): void {
    const startMs = endMs - WINDOW_MS;
    while (this.#recent.length > 0 && this.#recent[0]!.startMs < startMs) this.#panes.recycle(this.#recent.shift()!);
    const expectedRows = this.#recent.reduce((sum, pane) => sum + pane.rows, 0);
    const table = new WindowTable(this.#pool, { name: "q5", startMs, endMs, maxRows: MAX_ROWS, expectedRows, isIndexed: true });
    for (const pane of this.#recent) {
      for (let from = 0; from < pane.rows; from += TILE_ROWS) {
        table.mergeRows(pane, from, Math.min(from + TILE_ROWS, pane.rows), this.#hashes, this.#scratch);
      }
    }
    const eventsOf = (row: number): number => table.chunks.words[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 16 + 2]!;
    let most = 0;
    for (let row = 0; row < table.rows; row++) most = Math.max(most, eventsOf(row));
    for (let row = 0; row < table.rows; row++) {
      if (eventsOf(row) === most) this.digest.add(startMs, table.chunks.words[row >>> CHUNK_BITS]![(row & CHUNK_MASK) * 16]!, most);
    }
    this.#pool.give(table.chunks);
  }
}

/** A row counts a user's events; those with a value are the person's own. */
class NewSellers extends TiledQuery {
  readonly #windows = new TumblingWindows("q8", WINDOW_MS, MAX_ROWS);

  add({ rows, kind, person, timeMs }: NexmarkBatch): void {
    for (let row = 0; row < rows; row++) {
      if (kind[row] !== KIND.bid) this.put(person[row]!, timeMs[row]!, kind[row] === KIND.person ? 1 : Number.NaN);
    }
  }

  protected fold(tile: Tile): void {
    this.#windows.addTile(tile);
  }

  protected close(watermarkMs: number): void {
    while (this.#windows.nextEndMs <= watermarkMs && this.#windows.nextEndMs < Infinity) {
      const table = this.#windows.close();
      for (let row = 0; row < table.rows; row++) {
        const words = table.chunks.words[row >>> CHUNK_BITS]!;
        const at = (row & CHUNK_MASK) * 16;
        if (words[at + 3]! > 0 && words[at + 2]! > words[at + 3]!) this.digest.add(table.startMs, words[at]!, 1);
      }
      this.#windows.recycle(table);
    }
  }
}

export const QUERIES = {
  q5: (): NexmarkQuery => new HotAuctions(),
  q7: (): NexmarkQuery => new HighestBid(),
  q8: (): NexmarkQuery => new NewSellers(),
  q11: (): NexmarkQuery => new BidsPerSession(),
  q12: (): NexmarkQuery => new BidsPerBidder(),
} as const;

export type QueryName = keyof typeof QUERIES;
