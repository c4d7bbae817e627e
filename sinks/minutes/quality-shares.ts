/** Percentages of rows of quality: of sums, never means of percentages, or a source of ten events would weigh as much as one of a million. */
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { type MinuteRows, numbersOf } from "./minute-rows.ts";

export interface QualityShares {
  readonly total: number;
  /** In the order of {@link QUALITY_DIMENSIONS}; NaN where `total` is 0. */
  readonly percents: readonly number[];
}

/** Of the rows that are named, by default of all. */
export function sharesOf(rows: MinuteRows, which?: readonly number[]): QualityShares {
  const chosen = which ?? Array.from({ length: rows.rows }, (_, row) => row);
  const sum = (column: string): number => {
    const values = numbersOf(rows, column);
    return chosen.reduce((total, row) => total + values[row]!, 0);
  };
  const total = sum("total");
  return { total, percents: QUALITY_DIMENSIONS.map(({ column }) => (100 * sum(column)) / total) };
}
