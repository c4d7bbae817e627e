/** The ledger's identity minute by minute, by the log time of the raw record. */

const KINDS = ["raw", "clean", "deadLettered", "late", "duplicate", "lost", "table"] as const;
export type MinuteKind = (typeof KINDS)[number];

/** raw = clean + deadLettered + late + duplicate + lost; table: rows in ClickHouse of the clean ones. */
export type MinuteRow = Readonly<Record<MinuteKind, number>> & { readonly minute: string };

const MINUTE_MS = 60_000;
const INDEX = Object.fromEntries(KINDS.map((kind, i) => [kind, i])) as Record<MinuteKind, number>;

export class MinuteCounts {
  readonly #minutes = new Map<number, Float64Array>();
  #lastMinute = Number.NaN;
  #last: Float64Array = new Float64Array(KINDS.length);

  add(timeMs: number, kind: MinuteKind): void {
    const minute = Math.floor(timeMs / MINUTE_MS);
    if (minute !== this.#lastMinute) {
      this.#lastMinute = minute;
      const known = this.#minutes.get(minute);
      this.#last = known ?? new Float64Array(KINDS.length);
      if (known === undefined) this.#minutes.set(minute, this.#last);
    }
    const at = INDEX[kind];
    this.#last[at] = this.#last[at]! + 1;
  }

  rows(): MinuteRow[] {
    return [...this.#minutes]
      .toSorted(([a], [b]) => a - b)
      .map(([minute, counts]) => {
        const named = Object.fromEntries(KINDS.map((kind, i) => [kind, counts[i]!])) as Record<MinuteKind, number>;
        return Object.assign(named, { minute: `${new Date(minute * MINUTE_MS).toISOString().slice(0, 16)}Z` });
      });
  }
}
