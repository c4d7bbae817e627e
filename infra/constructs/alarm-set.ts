/** Alarms as resources: each acts, each links its runbook, and one above all of them says whether the pipeline is healthy. */
import { Duration } from "aws-cdk-lib";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import type * as sns from "aws-cdk-lib/aws-sns";
import { Construct } from "constructs";
import type { Alarm, Severity, WatchedMetric } from "../alarms/alarm.ts";
import type { Environment } from "../config/environment.ts";

const COMPARISONS: Readonly<Record<Alarm["is"], cloudwatch.ComparisonOperator>> = {
  ">": cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
  ">=": cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
  "<": cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
};

export interface AlarmSetProps {
  readonly environment: Environment;
  readonly alarms: readonly Alarm[];
  readonly topics: Readonly<Record<Severity, sns.ITopic>>;
}

export class AlarmSet extends Construct {
  readonly health: cloudwatch.CompositeAlarm;

  constructor(scope: Construct, id: string, { environment, alarms, topics }: AlarmSetProps) {
    super(scope, id);
    const made = alarms.map((alarm) => ({ alarm, one: alarmOf(this, environment, alarm, topics[alarm.severity]) }));
    this.health = new cloudwatch.CompositeAlarm(this, "Health", {
      compositeAlarmName: `weir-${environment.name}-pipeline-health`,
      alarmDescription: "in ALARM while any alarm that wakes somebody is: what a status page and a deployment look at",
      alarmRule: cloudwatch.AlarmRule.anyOf(
        ...made
          .filter(({ alarm }) => alarm.severity === "page")
          .map(({ one }) => cloudwatch.AlarmRule.fromAlarm(one, cloudwatch.AlarmState.ALARM)),
      ),
    });
    this.health.addAlarmAction(new SnsAction(topics.ticket));
  }
}

export function alarmOf(scope: Construct, environment: Environment, alarm: Alarm, topic: sns.ITopic): cloudwatch.Alarm {
  const one = new cloudwatch.Alarm(scope, alarm.id, {
    alarmName: `weir-${environment.name}-${alarm.id}`,
    alarmDescription: `${alarm.means}. What to do: docs/runbooks/${alarm.runbook}.md`,
    metric: metricOf(alarm),
    comparisonOperator: COMPARISONS[alarm.is],
    threshold: alarm.threshold,
    evaluationPeriods: alarm.points[1],
    datapointsToAlarm: alarm.points[0],
    treatMissingData: alarm.missing === "breaching" ? cloudwatch.TreatMissingData.BREACHING : cloudwatch.TreatMissingData.NOT_BREACHING,
  });
  one.addAlarmAction(new SnsAction(topic));
  if (alarm.severity === "page") one.addOkAction(new SnsAction(topic));
  return one;
}

/** `label` is what a dashboard shows. */
export function toMetric(watched: WatchedMetric, periodS: number, label?: string): cloudwatch.Metric {
  return new cloudwatch.Metric({
    namespace: watched.namespace,
    metricName: watched.name,
    dimensionsMap: { ...watched.dimensions },
    statistic: watched.statistic,
    period: Duration.seconds(periodS),
    ...(label === undefined ? {} : { label }),
  });
}

function metricOf({ metric, periodS, means }: Alarm): cloudwatch.IMetric {
  if ("namespace" in metric) return toMetric(metric, periodS);
  return new cloudwatch.MathExpression({
    expression: metric.expression,
    label: means,
    usingMetrics: Object.fromEntries(Object.entries(metric.of).map(([name, watched]) => [name, toMetric(watched, periodS)])),
    period: Duration.seconds(periodS),
  });
}
