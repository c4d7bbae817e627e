/** A broker restarted. FIS has no action for MSK, so it starts an automation that calls RebootBroker, which AWS made for this very test, and waits for the cluster. */
import { Stack } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as logs from "aws-cdk-lib/aws-logs";
import * as ssm from "aws-cdk-lib/aws-ssm";
import { Construct } from "constructs";
import type { Environment } from "../config/environment.ts";
import { Experiment } from "./experiment.ts";

export interface BrokerExperimentProps {
  readonly environment: Environment;
  readonly clusterArn: string;
  readonly stopAlarms: readonly string[];
  readonly log: logs.ILogGroup;
}

const TIMEOUT_S = 1_800;

export class BrokerExperiment extends Construct {
  constructor(scope: Construct, id: string, { environment, clusterArn, stopAlarms, log }: BrokerExperimentProps) {
    super(scope, id);
    const { region, account, partition } = Stack.of(this);
    const name = `weir-${environment.name}-reboot-broker`;
    const role = new iam.Role(this, "AutomationRole", {
      assumedBy: new iam.ServicePrincipal("ssm.amazonaws.com", {
        conditions: {
          StringEquals: { "aws:SourceAccount": account },
          ArnLike: { "aws:SourceArn": `arn:${partition}:ssm:${region}:${account}:automation-execution/*` },
        },
      }),
      inlinePolicies: {
        Access: new iam.PolicyDocument({
          statements: [new iam.PolicyStatement({ actions: ["kafka:RebootBroker", "kafka:DescribeClusterV2"], resources: [clusterArn] })],
        }),
      },
    });
    const document = new ssm.CfnDocument(this, "Document", {
      name,
      documentType: "Automation",
      documentFormat: "JSON",
      updateMethod: "NewVersion",
      content: {
        schemaVersion: "0.3",
        description: "Restarts one broker and waits until the cluster is whole",
        assumeRole: role.roleArn,
        parameters: { BrokerId: { type: "String", default: "1", allowedPattern: "^[0-9]+$" } },
        mainSteps: [
          {
            name: "reboot",
            action: "aws:executeAwsApi",
            inputs: { Service: "kafka", Api: "RebootBroker", ClusterArn: clusterArn, BrokerIds: ["{{ BrokerId }}"] },
          },
          // The state changes a moment after the call.
          { name: "settle", action: "aws:sleep", inputs: { Duration: "PT1M" } },
          {
            name: "wait",
            action: "aws:waitForAwsResourceProperty",
            timeoutSeconds: TIMEOUT_S,
            isEnd: true,
            inputs: {
              Service: "kafka",
              Api: "DescribeClusterV2",
              ClusterArn: clusterArn,
              PropertySelector: "$.ClusterInfo.State",
              DesiredValues: ["ACTIVE"],
            },
          },
        ],
      },
    });
    const automation = `arn:${partition}:ssm:${region}:${account}`;
    const experiment = new Experiment(this, "Reboot", {
      name,
      description: "a broker restarts: leaders move, producers and transactions retry, nothing is lost",
      targets: {},
      actions: {
        reboot: {
          actionId: "aws:ssm:start-automation-execution",
          parameters: {
            documentArn: `${automation}:document/${name}`,
            documentParameters: JSON.stringify({ BrokerId: "1" }),
            maxDuration: "PT30M",
          },
        },
      },
      statements: [
        new iam.PolicyStatement({
          actions: ["ssm:StartAutomationExecution"],
          resources: [`${automation}:automation-definition/${name}:*`, `${automation}:document/${name}`],
        }),
        new iam.PolicyStatement({
          actions: ["ssm:GetAutomationExecution", "ssm:StopAutomationExecution"],
          resources: [`${automation}:automation-execution/*`],
        }),
        new iam.PolicyStatement({
          actions: ["iam:PassRole"],
          resources: [role.roleArn],
          conditions: { StringEquals: { "iam:PassedToService": "ssm.amazonaws.com" } },
        }),
      ],
      wildcards: [
        [/:automation-definition\/weir-.*:\*$/, "every version of this one document"],
        [/:automation-execution\/\*$/, "an execution has its name only once it runs"],
      ],
      stopAlarms,
      log,
    });
    experiment.node.addDependency(document);
  }
}
