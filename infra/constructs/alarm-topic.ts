/** Who is told: a topic under our key, on which alarms and budgets of this account publish. */
import { Stack } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as sns from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import type { Construct } from "constructs";
import type { Environment } from "../config/environment.ts";

export interface AlarmTopicProps {
  readonly environment: Environment;
  readonly key: kms.IKey;
  /** SNS asks each to confirm. */
  readonly addresses: readonly string[];
}

export function alarmTopic(scope: Construct, id: string, { environment, key, addresses }: AlarmTopicProps): sns.Topic {
  const topic = new sns.Topic(scope, id, {
    masterKey: key,
    enforceSSL: true,
    displayName: `weir ${environment.name}: ${id.toLowerCase()}`,
  });
  for (const address of addresses) topic.addSubscription(new EmailSubscription(address));
  topic.addToResourcePolicy(
    new iam.PolicyStatement({
      principals: ["cloudwatch", "budgets"].map((service) => new iam.ServicePrincipal(`${service}.amazonaws.com`)),
      actions: ["sns:Publish"],
      resources: [topic.topicArn],
      conditions: { StringEquals: { "aws:SourceAccount": Stack.of(scope).account } },
    }),
  );
  return topic;
}
