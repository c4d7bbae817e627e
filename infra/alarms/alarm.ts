/** An alarm as data: what is watched, from when it is wrong, and who does what then. */
import type { PlainMetricName } from "#shared/telemetry/metrics-catalogue.ts";

export type Severity = "page" | "ticket";

export interface WatchedMetric {
  readonly namespace: string;
  readonly name: string;
  readonly dimensions: Readonly<Record<string, string>>;
  readonly statistic: "Sum" | "Maximum" | "Minimum" | "Average" | "p99";
}

export interface Alarm {
  /** Stable; part of the alarm's name. */
  readonly id: string;
  /** docs/runbooks/RUNBOOK.md */
  readonly runbook: string;
  /** One sentence, for whoever is woken. */
  readonly means: string;
  readonly severity: Severity;
  /** One metric, or several by name with an expression over them. */
  readonly metric: WatchedMetric | { readonly expression: string; readonly of: Readonly<Record<string, WatchedMetric>> };
  readonly is: ">" | ">=" | "<";
  readonly threshold: number;
  readonly periodS: 60 | 300 | 3_600;
  /** Points that must breach, of points looked at. */
  readonly points: readonly [breaching: number, of: number];
  /** breaching: silence is the fault. notBreaching: the metric exists only when there is something to say. */
  readonly missing: "breaching" | "notBreaching";
  /** Of our own metrics, for the test that each is emitted by somebody. */
  readonly own?: PlainMetricName;
}
