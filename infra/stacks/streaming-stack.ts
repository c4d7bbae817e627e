/** Kafka: the cluster, its topics, the producers' login, and its addresses in SSM for whoever comes later. */
import { CfnOutput } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import * as msk from "aws-cdk-lib/aws-msk";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import * as ssm from "aws-cdk-lib/aws-ssm";
import type { Construct } from "constructs";
import { kafkaRights } from "#shared/events/kafka-rights.ts";
import { acknowledge, acknowledgeProviders } from "../checks/acknowledge.ts";
import { globalName } from "../config/environment.ts";
import { kafkaStatements } from "../constructs/kafka-access.ts";
import { KafkaAcls } from "../constructs/kafka-acls.ts";
import { KafkaCluster } from "../constructs/kafka-cluster.ts";
import { KafkaTopics } from "../constructs/kafka-topics.ts";
import type { KeyDomain } from "./security-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export interface StreamingStackProps extends WeirStackProps {
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  /** Of the function that writes access lists. */
  readonly operators: ec2.ISecurityGroup;
  readonly accessCode: string;
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;
}

/** The names of the parameters, for the stacks that read them. */
export const KAFKA_PARAMETERS = {
  clusterArn: "kafka/cluster-arn",
  bootstrapIam: "kafka/bootstrap-iam",
  bootstrapScram: "kafka/bootstrap-scram",
} as const;

export const CLUSTER_ARN_OUTPUT = "ClusterArn";

export class StreamingStack extends WeirStack {
  readonly kafka: KafkaCluster;

  constructor(scope: Construct, props: StreamingStackProps) {
    super(scope, "streaming", props);
    const { environment, vpc, securityGroup, operators, accessCode, keys } = props;
    this.kafka = new KafkaCluster(this, "Kafka", { environment, vpc, securityGroup, key: keys.stream, logsKey: keys.operations });
    new KafkaTopics(this, "Topics", { environment, cluster: this.kafka.cluster });
    new KafkaAcls(this, "Acls", {
      environment,
      kafka: this.kafka,
      codeFolder: accessCode,
      vpc,
      securityGroup: operators,
      key: keys.operations,
    });
    this.#addProducerPolicy();
    if (environment.kafka.hasScramLogin) this.#addProducerLogin(keys.stream);
    const parameters = {
      [KAFKA_PARAMETERS.clusterArn]: this.kafka.cluster.attrArn,
      [KAFKA_PARAMETERS.bootstrapIam]: this.kafka.bootstrapIam,
      [KAFKA_PARAMETERS.bootstrapScram]: this.kafka.bootstrapScram,
    };
    for (const [name, stringValue] of Object.entries(parameters)) {
      const id = name.split(/[/-]/).map((word) => `${word[0]!.toUpperCase()}${word.slice(1)}`);
      new ssm.StringParameter(this, id.join(""), { parameterName: this.parameterName(name), stringValue });
    }
    // Parameters are of one region; an output can be read from the other.
    if (environment.standby !== null) new CfnOutput(this, CLUSTER_ARN_OUTPUT, { value: this.kafka.cluster.attrArn });
    acknowledgeProviders(this);
  }

  /** For the roles of producers, in this account or assumed from another: write events, and nothing else. */
  #addProducerPolicy(): void {
    new iam.ManagedPolicy(this, "Producer", {
      managedPolicyName: `${globalName(this.config)}-producer`,
      statements: kafkaStatements(this.kafka.cluster.attrArn, kafkaRights({ lane: "live", generation: this.config.generation }).producer),
    });
  }

  /** MSK takes only secrets of this prefix, of a key of one's own, with just these two fields. */
  #addProducerLogin(key: kms.IKey): void {
    const login = new secretsmanager.Secret(this, "ProducerLogin", {
      secretName: `AmazonMSK_weir-${this.config.name}_producer`,
      description: "SCRAM login of producers",
      encryptionKey: key,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ username: "producer" }),
        generateStringKey: "password",
        passwordLength: 40,
        excludePunctuation: true,
      },
      removalPolicy: this.removalPolicy,
    });
    acknowledge(login, {
      "AwsSolutions-SMG4": "producers hold it outside this account: rotated by hand with a second login (docs/runbooks/producer-login.md)",
    });
    new msk.CfnBatchScramSecret(this, "ProducerAccess", { clusterArn: this.kafka.cluster.attrArn, secretArnList: [login.secretArn] });
  }
}
