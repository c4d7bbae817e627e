/**
 * Durations by size, in buckets that grow by an eighth of an octave: a percentile is off by 5 % at most, whatever the range, and recording costs
 * one increment. Milliseconds throughout.
 */
const BUCKETS_PER_OCTAVE = 8;
const OCTAVES = 26;
const BUCKETS = BUCKETS_PER_OCTAVE * OCTAVES;
/** Upper bound of bucket 0. The last one ends at 2^17 ms, a bit over two minutes; what is longer counts there. */
const FIRST_MS = 2 ** -9;

export interface HistogramReading {
  /** By bucket; a plain copy. */
  readonly counts: readonly number[];
  readonly count: number;
  readonly sumMs: number;
}

export const EMPTY_READING: HistogramReading = { counts: Array.from({ length: BUCKETS }, () => 0), count: 0, sumMs: 0 };

export class Histogram {
  readonly #counts = new Float64Array(BUCKETS);
  #count = 0;
  #sumMs = 0;

  record(durationMs: number): void {
    const bucket = Math.ceil(Math.log2(Math.max(durationMs, FIRST_MS) / FIRST_MS) * BUCKETS_PER_OCTAVE);
    const at = Math.min(bucket, BUCKETS - 1);
    this.#counts[at] = this.#counts[at]! + 1;
    this.#count += 1;
    this.#sumMs += durationMs;
  }

  read(): HistogramReading {
    return { counts: [...this.#counts], count: this.#count, sumMs: this.#sumMs };
  }
}

export function addReadings(a: HistogramReading, b: HistogramReading): HistogramReading {
  return combined(a, b, 1);
}

/** What came since. */
export function readingSince(now: HistogramReading, before: HistogramReading): HistogramReading {
  return combined(now, before, -1);
}

function combined(a: HistogramReading, b: HistogramReading, sign: 1 | -1): HistogramReading {
  const counts = a.counts.map((count, i) => count + sign * (b.counts[i] ?? 0));
  return { counts, count: a.count + sign * b.count, sumMs: a.sumMs + sign * b.sumMs };
}

/** The value below which the share lies; NaN of nothing. */
export function quantileMs({ counts, count }: HistogramReading, share: number): number {
  if (count === 0) return Number.NaN;
  const rank = share * count;
  let seen = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    const here = counts[bucket]!;
    if (here > 0 && seen + here >= rank) {
      const upper = boundMs(bucket);
      const lower = bucket === 0 ? 0 : boundMs(bucket - 1);
      return lower + ((upper - lower) * Math.max(0, rank - seen)) / here;
    }
    seen += here;
  }
  return boundMs(BUCKETS - 1);
}

/** At most `limit` values that stand for all of them, evenly by rank: for formats that take values, not buckets. */
export function representativesMs(reading: HistogramReading, limit: number): number[] {
  const values = Math.min(limit, reading.count);
  return Array.from({ length: values }, (_, i) => quantileMs(reading, (i + 0.5) / values));
}

/** `[upper bound, how many at or below]` by octave, as Prometheus wants its buckets; from half a millisecond on. */
export function octavesMs({ counts }: HistogramReading): [number, number][] {
  const octaves: [number, number][] = [];
  let seen = 0;
  for (let bucket = 0; bucket < BUCKETS; bucket++) {
    seen += counts[bucket]!;
    if (bucket % BUCKETS_PER_OCTAVE === 0 && boundMs(bucket) >= 0.5) octaves.push([boundMs(bucket), seen]);
  }
  return octaves;
}

function boundMs(bucket: number): number {
  return FIRST_MS * 2 ** (bucket / BUCKETS_PER_OCTAVE);
}
