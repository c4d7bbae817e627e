/**
 * One experiment of AWS FIS: it breaks something on purpose when somebody starts it, stops by itself when an alarm says that the pipeline does not bear
 * it, and may do that and nothing else (FIS user guide, "AWS FIS Actions reference").
 */
import { Stack } from "aws-cdk-lib";
import * as fis from "aws-cdk-lib/aws-fis";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as logs from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import { acknowledgeWildcards } from "../checks/acknowledge.ts";

/** Long enough for a fail-over and what follows it; whoever starts one watches it. */
export const EXPERIMENT_DURATION = "PT10M";

export interface ExperimentProps {
  readonly name: string;
  /** What is broken, and what must hold meanwhile. */
  readonly description: string;
  readonly targets: Readonly<Record<string, fis.CfnExperimentTemplate.ExperimentTemplateTargetProperty>>;
  readonly actions: Readonly<Record<string, fis.CfnExperimentTemplate.ExperimentTemplateActionProperty>>;
  readonly statements: readonly iam.PolicyStatement[];
  /** Of AwsSolutions-IAM5, beside those that every experiment has. */
  readonly wildcards?: readonly (readonly [pattern: RegExp, reason: string])[];
  /** Names of alarms; one in ALARM ends the experiment, or keeps it from starting. */
  readonly stopAlarms: readonly string[];
  readonly log: logs.ILogGroup;
}

export class Experiment extends Construct {
  constructor(scope: Construct, id: string, props: ExperimentProps) {
    super(scope, id);
    const { name, description, targets, actions, stopAlarms, log } = props;
    const { region, account, partition } = Stack.of(this);
    const alarms = stopAlarms.map((alarm) => `arn:${partition}:cloudwatch:${region}:${account}:alarm:${alarm}`);
    const statements = [
      ...props.statements,
      new iam.PolicyStatement({ actions: ["cloudwatch:DescribeAlarms"], resources: alarms }),
      new iam.PolicyStatement({
        actions: ["logs:CreateLogDelivery", "logs:PutResourcePolicy", "logs:DescribeResourcePolicies", "logs:DescribeLogGroups"],
        resources: ["*"],
      }),
    ];
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("fis.amazonaws.com", {
        conditions: {
          StringEquals: { "aws:SourceAccount": account },
          ArnLike: { "aws:SourceArn": `arn:${partition}:fis:${region}:${account}:experiment/*` },
        },
      }),
      inlinePolicies: { Access: new iam.PolicyDocument({ statements }) },
    });
    new fis.CfnExperimentTemplate(this, "Template", {
      description,
      roleArn: role.roleArn,
      targets: { ...targets },
      actions: { ...actions },
      stopConditions: alarms.map((value) => ({ source: "aws:cloudwatch:alarm", value })),
      // A part that is not in the zone cannot be broken there.
      experimentOptions: {
        accountTargeting: "single-account",
        emptyTargetResolutionMode: Object.keys(targets).length > 1 ? "skip" : "fail",
      },
      logConfiguration: { logSchemaVersion: 2, cloudWatchLogsConfiguration: { LogGroupArn: log.logGroupArn } },
      tags: { Name: name },
    });
    acknowledgeWildcards(this, [
      [/^Resource::\*$/, "calls that describe, and the set-up of a log's delivery, know no resource (service authorization reference)"],
      ...(props.wildcards ?? []),
    ]);
  }
}
