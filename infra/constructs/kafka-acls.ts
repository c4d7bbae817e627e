/**
 * Kafka's access lists and quotas of users who come by SCRAM, declared here and written by a function that comes by IAM. Our own parts come by IAM too
 * and are ruled by policies alone (kafka-access.ts); both read shared/events/kafka-rights.ts.
 */
import { CustomResource, Duration } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";
import { environmentOf } from "#shared/config/config.ts";
import { type KafkaPart, kafkaRights, rightsProperties } from "#shared/events/kafka-rights.ts";
import type { Environment } from "../config/environment.ts";
import type { KafkaCluster } from "./kafka-cluster.ts";
import { OperationFunction } from "./operation-function.ts";

export interface KafkaAclsProps {
  readonly environment: Environment;
  readonly kafka: KafkaCluster;
  readonly codeFolder: string;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly key: kms.IKey;
}

/** Two, for the day on which one is replaced by the other (docs/runbooks/producer-login.md). */
const USERS: Readonly<Record<string, KafkaPart>> = { producer: "producer", "producer-b": "producer" };
const EVENT_BYTES = 330;
/** Times the rate that the environment is sized for: room for a burst, none for a loop that has gone mad. */
const BURST = 2;
const REQUEST_PERCENT = 200;
const TIMEOUT_S = 120;

/** Of each user, from each broker. */
export function producerQuota({ alarms, kafka }: Environment): number {
  // Keys are not spread evenly: a fifth more on one broker is usual.
  return Math.max(1_000_000, Math.ceil((alarms.eventsPerS * EVENT_BYTES * BURST * 1.2) / kafka.brokers));
}

export class KafkaAcls extends Construct {
  constructor(scope: Construct, id: string, props: KafkaAclsProps) {
    super(scope, id);
    const { environment, kafka } = props;
    const rights = kafkaRights({ lane: "live", generation: environment.generation });
    const { function: writer } = new OperationFunction(this, "Writer", {
      ...props,
      operation: "kafka-access",
      description: "access lists and quotas of Kafka",
      timeoutS: TIMEOUT_S,
      variables: environmentOf({ environment: environment.name, kafka: kafka.bootstrapIam, kafkaSecurity: "iam" }),
      statements: [
        new iam.PolicyStatement({
          // Alter: access lists; the dynamic configuration: quotas ("IAM access control for Amazon MSK", authorization policy actions).
          actions: [
            "Connect",
            "DescribeCluster",
            "AlterCluster",
            "DescribeClusterDynamicConfiguration",
            "AlterClusterDynamicConfiguration",
          ].map((action) => `kafka-cluster:${action}`),
          resources: [kafka.cluster.attrArn],
        }),
      ],
      // CloudFormation waits: what kept an answer from it is tried again.
      retries: 2,
    });
    new CustomResource(this, "Access", {
      serviceToken: writer.functionArn,
      resourceType: "Custom::KafkaAccess",
      // With both repetitions, not the hour that a lost answer costs by default.
      serviceTimeout: Duration.minutes(15),
      properties: {
        // Another cluster knows nothing of what this one was told.
        Cluster: kafka.cluster.attrArn,
        Users: Object.fromEntries(
          Object.entries(USERS).map(([user, part]) => [
            user,
            {
              ...rightsProperties(rights[part]),
              ProducerBytesPerS: String(producerQuota(environment)),
              RequestPercent: String(REQUEST_PERCENT),
            },
          ]),
        ),
      },
    });
  }
}
