/** Deterministic events for the fold's bench: zipf 0.8 users, 5 % up to 2 s out of order, 0.5 % exact duplicates. */
import type { EventColumns } from "#shared/events/columns.ts";
import { bytesColumn, textAt } from "../support/event-batch.ts";

const EXPONENT = 0.8;
/** Event time of half a stream. */
export const SPAN_MS = 600_000;
const START_MS = 1_700_000_000_000 - (1_700_000_000_000 % 3_600_000);
const TYPES = ["view", "click", "search", "purchase", "login", "logout", "error", "scroll"];
const PROPERTIES = JSON.stringify({ page: "/products/4711", amount: 12.5, currency: "EUR", items: [1, 2, 3] });

export class EventStream {
  readonly #events: number;
  readonly #blockRows: number;
  readonly #cumulative: Float64Array;
  #random = 0x2545f491;

  constructor(users: number, events: number, blockRows: number) {
    this.#events = events;
    this.#blockRows = blockRows;
    this.#cumulative = new Float64Array(users);
    let sum = 0;
    for (let i = 0; i < users; i++) this.#cumulative[i] = sum += 1 / (i + 1) ** EXPONENT;
  }

  *blocks(): Generator<EventColumns> {
    const rows = this.#blockRows;
    const text = bytesColumn(Array.from({ length: rows }, () => PROPERTIES));
    const session = bytesColumn(Array.from({ length: rows }, (_, i) => `session-${i}`));
    const device = bytesColumn(Array.from({ length: rows }, () => '{"os":"linux","browser":"firefox"}'));
    const empty = bytesColumn(Array.from({ length: rows }, () => null));
    for (let from = 0; from < this.#events; from += rows) {
      const block = {
        rows,
        sourceOffset: new Float64Array(rows),
        eventId: new Uint8Array(rows * 16),
        eventTimeMs: new Float64Array(rows),
        userId: new Uint32Array(rows * 2),
        eventType: { codes: new Int16Array(rows), values: TYPES },
        source: { codes: new Int16Array(rows), values: ["web"] },
        sessionId: session,
        value: new Float64Array(rows),
        deviceInfo: device,
        geoLocation: empty,
        properties: text,
        fingerprint: new Uint32Array(rows),
        verdict: new Uint8Array(rows),
        reason: { codes: new Int16Array(rows).fill(-1), values: [] },
        pointer: empty,
        rawKey: empty,
        raw: empty,
        headers: empty,
      };
      const ids = new Uint32Array(block.eventId.buffer);
      for (let i = 0; i < rows; i++) this.#fill(block, ids, i, from + i);
      yield block;
    }
  }

  #fill(block: EventColumns, ids: Uint32Array, i: number, n: number): void {
    block.sourceOffset[i] = n;
    if (i > 0 && this.#next() < 0.005) {
      for (let w = 0; w < 4; w++) ids[i * 4 + w] = ids[i * 4 - 4 + w]!;
      for (let w = 0; w < 2; w++) block.userId[i * 2 + w] = block.userId[i * 2 - 2 + w]!;
      block.eventTimeMs[i] = block.eventTimeMs[i - 1]!;
      block.eventType.codes[i] = block.eventType.codes[i - 1]!;
      block.value[i] = block.value[i - 1]!;
      block.fingerprint[i] = block.fingerprint[i - 1]!;
      return;
    }
    for (let w = 0; w < 4; w++) ids[i * 4 + w] = this.#next() * 4294967296;
    const backMs = this.#next() < 0.05 ? this.#next() * 2_000 : 0;
    block.eventTimeMs[i] = Math.floor(START_MS + (n * 2 * SPAN_MS) / this.#events - backMs);
    block.userId[i * 2] = Math.imul(this.#user() + 1, 0x9e3779b1);
    block.eventType.codes[i] = Math.floor(this.#next() * TYPES.length);
    block.value[i] = this.#next() < 0.3 ? Number.NaN : Math.floor(this.#next() * 10_000) / 4;
    block.fingerprint[i] = ids[i * 4]!;
  }

  /** The block's events as producers send them. */
  texts(block: EventColumns): string[] {
    return Array.from({ length: block.rows }, (_, i) => {
      const hex = Buffer.from(block.eventId.buffer, block.eventId.byteOffset + i * 16, 16).toString("hex");
      const value = block.value[i]!;
      return JSON.stringify({
        event_id: `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
        event_time: new Date(block.eventTimeMs[i]!).toISOString(),
        user_id: block.userId[i * 2],
        event_type: TYPES[block.eventType.codes[i]!],
        source: "web",
        session_id: textAt(block.sessionId, i),
        device_info: { os: "linux", browser: "firefox" },
        properties: { page: "/products/4711", ...(Number.isNaN(value) ? {} : { amount: value }), currency: "EUR", items: [1, 2, 3] },
      });
    });
  }

  #user(): number {
    const target = this.#next() * this.#cumulative[this.#cumulative.length - 1]!;
    let from = 0;
    let to = this.#cumulative.length - 1;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#cumulative[middle]! < target) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** 0 to 1, exclusive (xorshift32). */
  #next(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return (x >>> 0) / 4294967296;
  }
}
