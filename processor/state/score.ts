/**
 * How unusual a value is for its user: the distance from an exponentially weighted mean in standard deviations, O(1) state.
 *
 * Mean and variance follow Finch, "Incremental calculation of weighted mean and variance" (2009, section 9; West, CACM 1979, for equal weights).
 * A value weighs 1/n until that falls below alpha: so the first ones give the plain mean and variance, not a mean that clings to the first value.
 * An event is scored against the values before it. Behind the warm-up a value further out than the threshold moves the state as if it lay at the
 * threshold: else one outlier would hide the next ones, and a lasting shift is still learned.
 * Only +, -, *, / and square root, which IEEE 754 defines to the last bit: every machine computes the same score.
 */
export interface ScoreOptions {
  /** Weight of the newest value, above 0, at most 1. 0.02: about the last fifty values count. */
  readonly alpha: number;
  /** Values of a user before the first score, at least 1. */
  readonly warmUp: number;
  /** Standard deviations beyond which a row is flagged. */
  readonly threshold: number;
  /** A user without events for so long in log time (to the hour, never sooner) starts anew. */
  readonly forgetMs: number;
}

export const SCORE_DEFAULTS: ScoreOptions = { alpha: 0.02, warmUp: 30, threshold: 4, forgetMs: 86_400_000 };

/** A spread smaller than this part of the mean is taken for it: behind a constant series every other value would be infinitely far. */
const LEAST_SPREAD = 0.01;
/** Scores beyond are cut to it, so that none is infinite. */
export const SCORE_LIMIT = 1e6;

/** Columns of events: what is scored, and where the score goes. A double that is passed to a function, or returned, is an object. */
export interface Scored {
  readonly value: Float64Array;
  readonly score: Float64Array;
}

/**
 * Scores event i against the state and counts it in. `words[count]` holds how many values there were (0 = none), `doubles[mean]` and the one behind
 * it mean and variance. NaN = not enough values yet, or no value.
 */
export function score(
  options: ScoreOptions,
  events: Scored,
  i: number,
  words: Int32Array,
  count: number,
  doubles: Float64Array,
  mean: number,
): void {
  const value = events.value[i]!;
  events.score[i] = Number.NaN;
  if (value !== value) return;
  const values = words[count]!;
  if (values === 0) {
    words[count] = 1;
    doubles[mean] = value;
    doubles[mean + 1] = 0;
    return;
  }
  const { alpha, threshold } = options;
  const difference = value - doubles[mean]!;
  let step = difference;
  let distance = Number.NaN;
  if (values >= options.warmUp) {
    const spread = Math.max(Math.sqrt(doubles[mean + 1]!), Math.abs(doubles[mean]!) * LEAST_SPREAD);
    const ratio = difference === 0 ? 0 : difference / spread;
    distance = Math.max(-SCORE_LIMIT, Math.min(SCORE_LIMIT, ratio));
    const most = threshold * spread;
    if (spread > 0) step = Math.max(-most, Math.min(most, difference));
  }
  const weight = Math.max(alpha, 1 / (values + 1));
  const increment = weight * step;
  const variance = (1 - weight) * (doubles[mean + 1]! + step * increment);
  // Beyond what a double holds (values around 1e200): begin again rather than never score again.
  if (!(variance < Infinity)) {
    events.score[i] = distance;
    words[count] = 1;
    doubles[mean] = value;
    doubles[mean + 1] = 0;
    return;
  }
  if (values < 0x7fffffff) words[count] = values + 1;
  doubles[mean] = doubles[mean]! + increment;
  doubles[mean + 1] = variance;
  events.score[i] = distance;
}
