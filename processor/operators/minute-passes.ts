/**
 * Passes over the rows of a block that add to cells of the open minute (minute-cells.ts). `placed` holds the first number of the cell of each row in
 * `runs`, in their order. Nothing here calls what may allocate, so that the arrays stay in registers.
 */
import { COUNTER, FIRST_BUCKET, latencyBucket, VALUE_MAX, VALUE_MIN } from "#shared/events/partials.ts";
import type { RowRuns } from "./row-runs.ts";

/** Of a row, besides its texts. */
const FIXED_BYTES = 48;
/** From here on all latencies are in the last bucket. */
const LATENCY_MS_MAX = 1_048_575;

/** An event from the future came at once. */
export function countTimes(numbers: Float64Array, placed: Int32Array, times: Float64Array, runs: RowRuns, logTimeMs: number): void {
  let from = 0;
  for (let run = 0; run < runs.count; run++) {
    for (let row = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; row < end; row++) {
      const at = placed[from++]!;
      const latencyMs = logTimeMs - times[row]!;
      let capped = 0;
      if (latencyMs > 0) {
        numbers[at + COUNTER.latency_sum_ms] = numbers[at + COUNTER.latency_sum_ms]! + latencyMs;
        capped = latencyMs >= LATENCY_MS_MAX ? LATENCY_MS_MAX : latencyMs | 0;
      }
      const bucket = at + FIRST_BUCKET + latencyBucket(capped);
      numbers[bucket] = numbers[bucket]! + 1;
    }
  }
}

export function countBytes(
  numbers: Float64Array,
  placed: Int32Array,
  runs: RowRuns,
  bytesAt: number,
  a: Int32Array,
  b: Int32Array,
  c: Int32Array,
  d: Int32Array,
): void {
  let from = 0;
  for (let run = 0; run < runs.count; run++) {
    const first = runs.bounds[run * 2]!;
    // Differences of sums, so that it does not matter when these wrap.
    let before = (a[first]! + b[first]! + c[first]! + d[first]!) | 0;
    for (let row = first + 1, end = runs.bounds[run * 2 + 1]!; row <= end; row++) {
      const after = (a[row]! + b[row]! + c[row]! + d[row]!) | 0;
      const at = placed[from++]! + bytesAt;
      numbers[at] = numbers[at]! + (((after - before) | 0) + FIXED_BYTES);
      before = after;
    }
  }
}

export function countValues(numbers: Float64Array, placed: Int32Array, values: Float64Array, runs: RowRuns): void {
  let from = 0;
  for (let run = 0; run < runs.count; run++) {
    for (let row = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; row < end; row++) {
      const at = placed[from++]!;
      const value = values[row]!;
      if (value !== value) continue;
      numbers[at + COUNTER.value_count] = numbers[at + COUNTER.value_count]! + 1;
      numbers[at + COUNTER.value_sum] = numbers[at + COUNTER.value_sum]! + value;
      // Also true of the NaN that stands for none.
      if (!(value >= numbers[at + VALUE_MIN]!)) numbers[at + VALUE_MIN] = value;
      if (!(value <= numbers[at + VALUE_MAX]!)) numbers[at + VALUE_MAX] = value;
    }
  }
}

export function countFailed(numbers: Float64Array, placed: Int32Array, reasons: Int16Array, failedBy: Int32Array, runs: RowRuns): void {
  let from = 0;
  for (let run = 0; run < runs.count; run++) {
    for (let row = runs.bounds[run * 2]!, end = runs.bounds[run * 2 + 1]!; row < end; row++, from++) {
      if (reasons[row]! < 0) continue;
      const at = placed[from]! + failedBy[reasons[row]!]!;
      numbers[at] = numbers[at]! + 1;
    }
  }
}

export function countLate(numbers: Float64Array, placed: Int32Array, { rows }: RowRuns): void {
  for (let i = 0; i < rows; i++) {
    const at = placed[i]!;
    numbers[at + COUNTER.late] = numbers[at + COUNTER.late]! + 1;
    numbers[at + COUNTER.untimely] = numbers[at + COUNTER.untimely]! + 1;
  }
}
