/** Who is woken, by what, and where they look. */
import * as events from "aws-cdk-lib/aws-events";
import { SnsTopic } from "aws-cdk-lib/aws-events-targets";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as sns from "aws-cdk-lib/aws-sns";
import type { Construct } from "constructs";
import type { Alarm, Severity } from "../alarms/alarm.ts";
import { apiAlarms } from "../alarms/api-alarms.ts";
import { type ComputeNames, computeAlarms } from "../alarms/compute-alarms.ts";
import { kafkaAlarms } from "../alarms/kafka-alarms.ts";
import { pipelineAlarms } from "../alarms/pipeline-alarms.ts";
import { storeAlarms, type StoreNames } from "../alarms/store-alarms.ts";
import type { Environment } from "../config/environment.ts";
import { AlarmSet } from "../constructs/alarm-set.ts";
import { alarmTopic } from "../constructs/alarm-topic.ts";
import { Dashboards } from "../constructs/dashboards.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export function allAlarms(environment: Environment, compute: ComputeNames, stores: StoreNames): Alarm[] {
  return [
    ...pipelineAlarms(environment),
    ...kafkaAlarms(environment),
    ...computeAlarms(environment, compute),
    ...storeAlarms(environment, stores),
    ...apiAlarms(environment),
  ];
}

export interface ObservabilityStackProps extends WeirStackProps {
  readonly key: kms.IKey;
  readonly compute: ComputeNames;
  readonly stores: StoreNames;
}

export class ObservabilityStack extends WeirStack {
  readonly topics: Readonly<Record<Severity, sns.Topic>>;

  constructor(scope: Construct, props: ObservabilityStackProps) {
    super(scope, "observability", props);
    const { environment, key, compute, stores } = props;
    this.topics = {
      page: alarmTopic(this, "Page", { environment, key, addresses: environment.alarms.pageTo }),
      ticket: alarmTopic(this, "Ticket", { environment, key, addresses: environment.alarms.ticketTo }),
    };
    new AlarmSet(this, "Alarms", { environment, alarms: allAlarms(environment, compute, stores), topics: this.topics });
    new Dashboards(this, "Dashboards", { environment, compute });
    new events.Rule(this, "DeploymentFailed", {
      description: "a deployment was rolled back",
      eventPattern: {
        source: ["aws.ecs"],
        detailType: ["ECS Deployment State Change"],
        detail: { eventName: ["SERVICE_DEPLOYMENT_FAILED"] },
        resources: Object.values(compute.services).map(
          (service) => `arn:aws:ecs:${this.region}:${this.account}:service/${compute.clusterName}/${service}`,
        ),
      },
      targets: [new SnsTopic(this.topics.ticket)],
    });
  }
}
