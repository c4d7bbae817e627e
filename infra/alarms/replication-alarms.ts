/** Alarms on the way into the other region, where they stand ("Metrics reference" of MSK Replicator). */
import type { Alarm } from "./alarm.ts";

/** What the loss of the home region may cost (docs/FAILURES.md). */
const LATE_MS = 60_000;

export function replicationAlarms(replicatorName: string): Alarm[] {
  const of = (name: string, statistic: "Maximum" | "Sum") => ({
    metric: { namespace: "AWS/Kafka", name, dimensions: { ReplicatorName: replicatorName }, statistic },
    is: ">" as const,
    periodS: 60 as const,
    runbook: "replication",
  });
  return [
    {
      ...of("ReplicationLatency", "Maximum"),
      id: "replication-late",
      means: "events reach the other region more than a minute late: so much would be lost with this one",
      severity: "ticket",
      threshold: LATE_MS,
      points: [3, 5],
      missing: "notBreaching",
    },
    {
      ...of("ReplicatorFailure", "Maximum"),
      id: "replication-failed",
      means: "the replicator fails: the other region falls behind",
      severity: "page",
      threshold: 0,
      points: [3, 5],
      // It speaks every minute, or it is not there.
      missing: "breaching",
    },
    {
      ...of("AuthError", "Maximum"),
      id: "replication-login",
      means: "the replicator is refused by one of its clusters",
      severity: "page",
      threshold: 0,
      points: [3, 5],
      missing: "notBreaching",
    },
  ];
}
