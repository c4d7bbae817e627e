/** Who is woken, by what, and where they look. */
import { Stack } from "aws-cdk-lib";
import * as events from "aws-cdk-lib/aws-events";
import { SnsTopic } from "aws-cdk-lib/aws-events-targets";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as sns from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import type { Construct } from "constructs";
import type { Alarm, Severity } from "../alarms/alarm.ts";
import { type ComputeNames, computeAlarms } from "../alarms/compute-alarms.ts";
import { kafkaAlarms } from "../alarms/kafka-alarms.ts";
import { pipelineAlarms } from "../alarms/pipeline-alarms.ts";
import { storeAlarms, type StoreNames } from "../alarms/store-alarms.ts";
import type { Environment } from "../config/environment.ts";
import { AlarmSet } from "../constructs/alarm-set.ts";
import { Dashboards } from "../constructs/dashboards.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export function allAlarms(environment: Environment, compute: ComputeNames, stores: StoreNames): Alarm[] {
  return [
    ...pipelineAlarms(environment),
    ...kafkaAlarms(environment),
    ...computeAlarms(environment, compute),
    ...storeAlarms(environment, stores),
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
      page: this.#topic("Page", key, environment.alarms.pageTo),
      ticket: this.#topic("Ticket", key, environment.alarms.ticketTo),
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

  #topic(id: string, key: kms.IKey, addresses: readonly string[]): sns.Topic {
    const topic = new sns.Topic(this, id, {
      masterKey: key,
      enforceSSL: true,
      displayName: `weir ${this.config.name}: ${id.toLowerCase()}`,
    });
    for (const address of addresses) topic.addSubscription(new EmailSubscription(address));
    topic.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: ["cloudwatch", "budgets"].map((service) => new iam.ServicePrincipal(`${service}.amazonaws.com`)),
        actions: ["sns:Publish"],
        resources: [topic.topicArn],
        conditions: { StringEquals: { "aws:SourceAccount": Stack.of(this).account } },
      }),
    );
    return topic;
  }
}
