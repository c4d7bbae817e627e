/** Four dashboards: is it well, is the data good, has it room, what does it cost. Own metrics come from the catalogue, so none draws a name nobody emits. */
import { Duration } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import { Construct } from "constructs";
import { type MetricUnit, METRICS, type PlainMetricName } from "#shared/telemetry/metrics-catalogue.ts";
import type { WatchedMetric } from "../alarms/alarm.ts";
import { ownMetric } from "../alarms/pipeline-alarms.ts";
import type { ComputeNames } from "../alarms/compute-alarms.ts";
import { type Environment, globalName } from "../config/environment.ts";
import { toMetric } from "./alarm-set.ts";

type Line = readonly [name: PlainMetricName, statistic: WatchedMetric["statistic"]];
type Graph = readonly [title: string, ...lines: Line[]];

const REAL_TIME: readonly Graph[] = [
  ["Events in and out", ["EventsIn", "Sum"], ["RowsIn", "Sum"], ["RowsOut", "Sum"], ["SinkRows", "Sum"]],
  ["From raw to committed", ["EndToEndMs", "p99"], ["EndToEndMs", "Maximum"]],
  ["Behind, in time", ["TimeLagSeconds", "Maximum"], ["WatermarkLagSeconds", "Maximum"]],
  ["From record to validated", ["RecordAgeMs", "p99"], ["BatchDurationMs", "p99"], ["ProduceDurationMs", "p99"]],
  ["Commit and delivery", ["CommitDurationMs", "p99"], ["EpochDurationMs", "p99"], ["SinkDurationMs", "p99"]],
  ["Read API", ["Reads", "Sum"], ["ReadMisses", "Sum"], ["ReadsDegraded", "Sum"]],
  ["Recoveries", ["Recoveries", "Sum"], ["SessionsLost", "Sum"], ["Fenced", "Sum"], ["TxnUnknownOutcome", "Sum"]],
  ["Snapshots", ["CheckpointAgeSeconds", "Maximum"], ["CheckpointFailures", "Sum"], ["CheckpointDurationMs", "p99"]],
];

const DATA_QUALITY: readonly Graph[] = [
  ["Where events ended", ["RowsOut", "Sum"], ["DeadLetters", "Sum"], ["Duplicates", "Sum"], ["Late", "Sum"]],
  ["Rejected and flagged", ["EventsRejected", "Sum"], ["EventsFlagged", "Sum"], ["OlderSchemaEvents", "Sum"]],
  ["Delivered again", ["Redelivered", "Sum"], ["BatchFailures", "Sum"], ["SinkRetries", "Sum"]],
  ["Rules in use", ["RulesVersion", "Maximum"], ["RulesVersion", "Minimum"], ["RulesFailingSeconds", "Maximum"]],
];

const RESOURCES: readonly Graph[] = [
  ["State and memory of a processor", ["StateBytes", "Maximum"], ["ResidentBytes", "Maximum"]],
  ["Main thread", ["EventLoopDelayMs", "Maximum"]],
  ["Partitions of a task", ["PartitionsOwned", "Maximum"], ["PartitionsRunning", "Maximum"]],
];

const UNIT_LABELS: Readonly<Record<MetricUnit, string>> = {
  Count: "",
  Bytes: "bytes",
  Milliseconds: "ms",
  Seconds: "s",
  Percent: "%",
  None: "",
};

export class Dashboards extends Construct {
  constructor(
    scope: Construct,
    id: string,
    { environment, compute }: { readonly environment: Environment; readonly compute: ComputeNames },
  ) {
    super(scope, id);
    const board = (name: string, graphs: readonly Graph[], more: readonly cloudwatch.IWidget[] = []): void => {
      new cloudwatch.Dashboard(this, name, {
        dashboardName: `${globalName(environment)}-${name}`,
        defaultInterval: Duration.hours(3),
        widgets: [[...graphs.map((graph) => graphOf(environment, graph)), ...more]],
      });
    };
    const dimensions = { EventSourceMappingUUID: compute.mappingId };
    board("real-time", REAL_TIME, [
      widget("Mapping", [{ namespace: "AWS/Lambda", name: "SumOffsetLag", dimensions, statistic: "Maximum" }]),
    ]);
    board("data-quality", DATA_QUALITY);
    board("resources", RESOURCES, [
      widget(
        "Services' processor and memory",
        Object.values(compute.services).flatMap((ServiceName) =>
          ["CPUUtilization", "MemoryUtilization"].map((name) => ({
            namespace: "AWS/ECS",
            name,
            dimensions: { ClusterName: compute.clusterName, ServiceName },
            statistic: "Maximum" as const,
          })),
        ),
      ),
    ]);
    board(
      "cost",
      [["Bytes taken in and blocks written", ["BytesIn", "Sum"], ["BlockBytes", "Sum"], ["CheckpointBytes", "Sum"]]],
      [
        widget("Pollers and their units (EPU)", [
          { namespace: "AWS/Lambda", name: "ProvisionedPollers", dimensions, statistic: "Maximum" },
          { namespace: "AWS/Lambda", name: "EventPollerUnit", dimensions, statistic: "Sum" },
        ]),
      ],
    );
  }
}

function graphOf(environment: Environment, [title, ...lines]: Graph): cloudwatch.GraphWidget {
  const unit = UNIT_LABELS[METRICS[lines[0]![0]].unit];
  return widget(
    unit === "" ? title : `${title}, ${unit}`,
    lines.map(([name, statistic]) => ownMetric(environment, name, statistic)),
  );
}

function widget(title: string, metrics: readonly WatchedMetric[]): cloudwatch.GraphWidget {
  return new cloudwatch.GraphWidget({
    title,
    width: 12,
    height: 6,
    left: metrics.map((metric) => toMetric(metric, 60, `${metric.name} ${metric.statistic}`)),
  });
}
