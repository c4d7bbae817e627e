/**
 * A batch of events as columns. Row i of every column belongs to event i. The validator fills these, the fold reads them; nothing on the
 * way holds an object, string or BigInt per event.
 *
 * 64-bit integers that may exceed 2^53 (`userId`) stay as little-endian pairs of 32-bit words: word 2i is the low half, 2i+1 the high one.
 * 64-bit integers that cannot (offsets, milliseconds) are doubles.
 */

/** Variable-length bytes: value i is `bytes[offsets[i]..offsets[i+1])`. */
export interface BytesColumn {
  /** rows + 1 entries; the first need not be 0. */
  readonly offsets: Int32Array;
  readonly bytes: Uint8Array;
  /** Arrow bitmap, least significant bit first, 1 = present; null = all present. */
  readonly validity: Uint8Array | null;
}

/** Few distinct strings. `codes[i]` indexes `values`; -1 = null. */
export interface DictionaryColumn {
  readonly codes: Int16Array;
  readonly values: readonly string[];
}

/** Values in the order in which they come first; the empty text is null. */
export function dictionaryOf(texts: readonly string[]): DictionaryColumn {
  const codeOf = new Map<string, number>();
  const codes = Int16Array.from(texts, (text) => {
    if (text === "") return -1;
    const code = codeOf.get(text) ?? codeOf.size;
    codeOf.set(text, code);
    return code;
  });
  return { codes, values: [...codeOf.keys()] };
}

export const VERDICT = { ok: 0, reject: 1, warning: 2 } as const;

/** One block of events.valid: one row per source offset, in order, rejects included (DESIGN 3.3). */
export interface EventColumns {
  readonly rows: number;
  /** Offset in events.raw. Strictly rising. */
  readonly sourceOffset: Float64Array;
  /** 16 bytes a row. Zero on rejects whose id is unreadable. */
  readonly eventId: Uint8Array;
  /** Epoch milliseconds, UTC. 0 on rejects. */
  readonly eventTimeMs: Float64Array;
  /** Pairs of words, see above. */
  readonly userId: Uint32Array;
  readonly eventType: DictionaryColumn;
  readonly source: DictionaryColumn;
  readonly sessionId: BytesColumn;
  /** The measure that the event type's rule names. NaN = null. */
  readonly value: Float64Array;
  readonly deviceInfo: BytesColumn;
  readonly geoLocation: BytesColumn;
  /** The original JSON text of `properties`. */
  readonly properties: BytesColumn;
  /** 32-bit hash of the record's value bytes: tells a repeated event from another event under the same id. */
  readonly fingerprint: Uint32Array;
  /** {@link VERDICT}. */
  readonly verdict: Uint8Array;
  /** Reason code of a reject or warning. */
  readonly reason: DictionaryColumn;
  /** JSON pointer to the failing field; rejects only. */
  readonly pointer: BytesColumn;
  /** Rejects only: the record's key and value as they came. A null value or key stays null. */
  readonly rawKey: BytesColumn;
  readonly raw: BytesColumn;
  /** The record's headers, encoded by {@link encodeHeaders}; rejects, and any row with a traceparent or a count of replays. */
  readonly headers: BytesColumn;
}

/** Rows of events.clean: what analysts see. */
export interface CleanColumns {
  readonly rows: number;
  readonly sourceOffset: Float64Array;
  readonly eventId: Uint8Array;
  readonly eventTimeMs: Float64Array;
  readonly userId: Uint32Array;
  readonly eventType: DictionaryColumn;
  readonly source: DictionaryColumn;
  readonly sessionId: BytesColumn;
  readonly value: Float64Array;
  readonly deviceInfo: BytesColumn;
  readonly geoLocation: BytesColumn;
  readonly properties: BytesColumn;
  /** Warning code, if the row was flagged: the validator's, else `anomaly.score`. */
  readonly reason: DictionaryColumn;
  /** Log-append time of the block in events.valid: the table's `timestamp`. */
  readonly logTimeMs: Float64Array;
  /** As of this event: rank in its user's 5-minute window, first event of its session, rank in its session. Absolute, so a sink may keep the last. */
  readonly windowEvents: Uint32Array;
  readonly sessionStartMs: Float64Array;
  readonly sessionEvents: Uint32Array;
  /** How many standard deviations `value` lies from what is usual for the user (processor/state/score.ts). NaN = none. */
  readonly score: Float64Array;
  /** Attributes that the enrichment table gives for the row, as a JSON object. */
  readonly enrichment: DictionaryColumn;
}

/** Written into topics and tables by name; new kinds go to the end. */
export const WINDOW_KINDS = ["tumbling_5m", "tumbling_1h", "session_30s", "hopping_5m_1m", "hopping_10m_1m", "hopping_1h_5m"] as const;

/** Rows of windows.results: one closed window of one user, emitted once. */
export interface WindowColumns {
  readonly rows: number;
  /** Index into {@link WINDOW_KINDS}. */
  readonly kind: Uint8Array;
  readonly userId: Uint32Array;
  readonly windowStartMs: Float64Array;
  /** Exclusive. Session: last event + gap. */
  readonly windowEndMs: Float64Array;
  readonly events: Uint32Array;
  /** Over the events that carry a value; min and max are NaN when none does. */
  readonly valueCount: Uint32Array;
  readonly valueSum: Float64Array;
  readonly valueMin: Float64Array;
  readonly valueMax: Float64Array;
  readonly firstEventMs: Float64Array;
  readonly lastEventMs: Float64Array;
}

/** Rows of events.late: clean in form, behind the watermark. */
export interface LateColumns extends CleanColumns {
  /** The window that had closed, index into {@link WINDOW_KINDS}, and its start. */
  readonly lateKind: Uint8Array;
  readonly lateWindowStartMs: Float64Array;
}
