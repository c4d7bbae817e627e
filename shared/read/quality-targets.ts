/** The five dimensions of data quality and what each promises (docs/QUALITY.md). */

export interface QualityDimension {
  readonly name: "completeness" | "consistency" | "timeliness" | "uniqueness" | "accuracy";
  /** Of quality_1min: how many of `total` are as they should be. */
  readonly column: "complete" | "consistent" | "timely" | "unique" | "accurate";
  readonly metric: "QualityCompleteness" | "QualityConsistency" | "QualityTimeliness" | "QualityUniqueness" | "QualityAccuracy";
  readonly targetPercent: number;
}

export const QUALITY_DIMENSIONS: readonly QualityDimension[] = [
  { name: "completeness", column: "complete", metric: "QualityCompleteness", targetPercent: 99.99 },
  { name: "consistency", column: "consistent", metric: "QualityConsistency", targetPercent: 100 },
  { name: "timeliness", column: "timely", metric: "QualityTimeliness", targetPercent: 99.8 },
  { name: "uniqueness", column: "unique", metric: "QualityUniqueness", targetPercent: 100 },
  { name: "accuracy", column: "accurate", metric: "QualityAccuracy", targetPercent: 99.97 },
];
