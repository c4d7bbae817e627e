/**
 * NEXMark's events as its generator specifies them (github.com/nexmark/nexmark; Tucker, Tufte, Papadimos, Maier, "NEXMark", 2002): of 50 events one
 * person, three auctions, 46 bids; every second bid on the hot auction, three of four by the hot bidder, three of four auctions by the hot
 * seller; the others among 1,000 active people and 100 auctions in flight, each with a lead of ten ids that do not exist yet. 10,000 events
 * a second of event time, in order. Texts are left out: no query here reads one. Own random numbers, so the values are not Java's, their
 * distribution is.
 */
export const KIND = { person: 0, auction: 1, bid: 2 } as const;

const PERSONS = 1;
const AUCTIONS = 3;
const TOTAL = 50;
const FIRST_ID = 1_000;
const HOT_BATCH = 100;
const HOT_AUCTION_RATIO = 2;
const HOT_BIDDER_RATIO = 4;
const HOT_SELLER_RATIO = 4;
const ACTIVE_PEOPLE = 1_000;
const AUCTIONS_IN_FLIGHT = 100;
const ID_LEAD = 10;
export const EVENTS_PER_SECOND = 10_000;
const BASE_TIME_MS = 1_436_918_400_000;

export interface NexmarkBatch {
  rows: number;
  readonly kind: Uint8Array;
  readonly timeMs: Float64Array;
  /** Bids: the auction. */
  readonly auction: Int32Array;
  /** Persons: their id. Auctions: the seller. Bids: the bidder. */
  readonly person: Int32Array;
  readonly price: Float64Array;
}

/** The batch is filled again for each turn. */
export function* nexmarkBatches(events: number, batchRows: number): Generator<NexmarkBatch> {
  const batch: NexmarkBatch = {
    rows: 0,
    kind: new Uint8Array(batchRows),
    timeMs: new Float64Array(batchRows),
    auction: new Int32Array(batchRows),
    person: new Int32Array(batchRows),
    price: new Float64Array(batchRows),
  };
  let random = 0x2545f491;
  /** 0 to 1, exclusive (xorshift32). */
  const next = (): number => {
    random ^= random << 13;
    random ^= random >>> 17;
    random ^= random << 5;
    return (random >>> 0) / 4_294_967_296;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  const activePerson = (lastPerson: number): number => {
    const people = lastPerson + 1;
    const active = Math.min(people, ACTIVE_PEOPLE);
    return people - active + below(active + ID_LEAD);
  };
  for (let from = 0; from < events; from += batchRows) {
    batch.rows = Math.min(batchRows, events - from);
    for (let row = 0; row < batch.rows; row++) {
      const event = from + row;
      const epoch = Math.floor(event / TOTAL);
      const place = event % TOTAL;
      const lastPerson = epoch * PERSONS;
      batch.timeMs[row] = BASE_TIME_MS + Math.floor((event * 1_000) / EVENTS_PER_SECOND);
      if (place < PERSONS) {
        batch.kind[row] = KIND.person;
        batch.person[row] = lastPerson + FIRST_ID;
      } else if (place < PERSONS + AUCTIONS) {
        batch.kind[row] = KIND.auction;
        const isHot = below(HOT_SELLER_RATIO) > 0;
        batch.person[row] = (isHot ? Math.floor(lastPerson / HOT_BATCH) * HOT_BATCH : activePerson(lastPerson)) + FIRST_ID;
      } else {
        batch.kind[row] = KIND.bid;
        const lastAuction = epoch * AUCTIONS + AUCTIONS - 1;
        const first = Math.max(lastAuction - AUCTIONS_IN_FLIGHT, 0);
        const isHotAuction = below(HOT_AUCTION_RATIO) > 0;
        const auction = isHotAuction ? Math.floor(lastAuction / HOT_BATCH) * HOT_BATCH : first + below(lastAuction - first + 1 + ID_LEAD);
        batch.auction[row] = auction + FIRST_ID;
        const isHotBidder = below(HOT_BIDDER_RATIO) > 0;
        const bidder = isHotBidder ? Math.floor(lastPerson / HOT_BATCH) * HOT_BATCH + 1 : activePerson(lastPerson);
        batch.person[row] = bidder + FIRST_ID;
        batch.price[row] = Math.round(10 ** (next() * 6) * 100);
      }
    }
    yield batch;
  }
}
