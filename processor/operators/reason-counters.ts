/** Which counters of metrics.partials an event's reason adds to (docs/QUALITY.md). */
import { COUNTER } from "#shared/events/partials.ts";
import { REASONS, type Reason, type ReasonStage } from "#shared/events/reasons.ts";

const INCOMPLETE: ReadonlySet<string> = new Set(["value.null", "json.empty", "schema.required", "schema.null"]);

const BY_STAGE: Readonly<Record<ReasonStage, number>> = {
  record: COUNTER.rejected_form,
  encoding: COUNTER.rejected_form,
  json: COUNTER.rejected_form,
  schema: COUNTER.rejected_schema,
  rule: COUNTER.rejected_schema,
  identity: COUNTER.rejected_identity,
  key: COUNTER.rejected_identity,
  // Of the reasons that the fold gives only conflicts of ids make dead letters.
  processor: COUNTER.rejected_identity,
  time: COUNTER.rejected_time,
};

/** The dimension of quality that an error or a warning fails. */
export function failedDimension(reason: string): number {
  if (INCOMPLETE.has(reason)) return COUNTER.incomplete;
  if (reason.startsWith("time.")) return COUNTER.untimely;
  if (reason === "schema.range" || reason.startsWith("anomaly.")) return COUNTER.inaccurate;
  return COUNTER.inconsistent;
}

/** Of a dead letter. A code that a newer validator gave is counted as what cannot be read. */
export function rejectedCounter(reason: string): number {
  const known = (REASONS as Readonly<Record<string, Reason | undefined>>)[reason];
  return known === undefined ? COUNTER.rejected_form : BY_STAGE[known.stage];
}
