/** What an invocation says of itself: once per batch, numbers only. */
import type { Metrics } from "#shared/telemetry/emf.ts";
import type { BatchCounts } from "./batch-validator.ts";
import type { RulesState } from "./rules-source.ts";

/** Named in a log line. */
const OLDER_SCHEMAS_MAX = 20;

export interface BatchFacts {
  readonly counts: BatchCounts;
  readonly failed: boolean;
  readonly durationMs: number;
  readonly produceMs: number;
  readonly retries: number;
  readonly rules: RulesState | null;
  /** Epoch milliseconds. */
  readonly startedAtMs: number;
  /** Only from the first invocation of a runtime. */
  readonly initDurationMs: number | null;
}

export function emitBatch(metrics: Metrics, facts: BatchFacts): void {
  const { counts, failed, durationMs, produceMs, retries, rules, startedAtMs, initDurationMs } = facts;
  metrics.count("BatchFailures", failed ? 1 : 0);
  if (!failed) {
    // Of a failed batch nothing is counted: it comes again, whole.
    metrics.count("BatchesValidated", 1);
    metrics.count("EventsIn", counts.events);
    metrics.count("EventsRejected", counts.rejects);
    metrics.count("EventsFlagged", counts.flags);
    metrics.count("BytesIn", counts.valueBytes);
    if (counts.olderSchemas.size > 0) {
      metrics.count("OlderSchemaEvents", sum(counts.olderSchemas.values()));
      metrics.property(
        "olderSchemas",
        [...counts.olderSchemas]
          .slice(0, OLDER_SCHEMAS_MAX)
          .map(([name, rows]) => `${name}:${rows}`)
          .join(" "),
      );
    }
    for (const [reason, count] of counts.reasons) metrics.countBy("RejectsByReason", reason, count);
  }
  metrics.count("BlocksProduced", counts.blocks);
  metrics.count("BlockBytes", counts.blockBytes);
  metrics.count("ProduceRetries", retries);
  metrics.sample("BatchDurationMs", round(durationMs));
  if (counts.blocks > 0) metrics.sample("ProduceDurationMs", round(produceMs));
  if (counts.oldestMs !== Infinity) metrics.sample("RecordAgeMs", Math.max(0, startedAtMs - counts.oldestMs));
  if (initDurationMs !== null) {
    metrics.count("ColdStarts", 1);
    metrics.sample("InitDurationMs", round(initDurationMs));
  }
  if (rules !== null) {
    metrics.gauge("RulesVersion", rules.version);
    metrics.gauge("RulesAgeSeconds", Math.round(rules.ageMs / 1_000));
    metrics.gauge("RulesFailingSeconds", Math.round((rules.failingForMs ?? 0) / 1_000));
  }
  metrics.flush();
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const number of numbers) total += number;
  return total;
}

/** To the microsecond. */
function round(ms: number): number {
  return Math.round(ms * 1_000) / 1_000;
}
