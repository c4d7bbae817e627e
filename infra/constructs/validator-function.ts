/**
 * The validator: function, alias, event source mapping and the least role that works. The mapping's settings are a protocol, not a taste
 * (docs/ARCHITECTURE.md): redelivery is removed by source offset, which is exact only as long as batches of a partition come in order and whole. So: no
 * bisecting, no partial answers, no giving up, no destination for failures, and a group id that never changes.
 */
import { Duration } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import type * as logs from "aws-cdk-lib/aws-logs";
import type * as s3 from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import { environmentOf } from "#shared/config/config.ts";
import { kafkaRights } from "#shared/events/kafka-rights.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { acknowledgeWildcards } from "../checks/acknowledge.ts";
import type { Environment } from "../config/environment.ts";
import { kafkaStatements } from "./kafka-access.ts";
import { logGroup } from "./log-group.ts";
import type { KafkaReference } from "./kafka-reference.ts";

const LANE = "live";

export interface ValidatorFunctionProps {
  readonly environment: Environment;
  /** The bundle's folder, with handler.mjs. */
  readonly codeFolder: string;
  readonly kafka: KafkaReference;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly rules: s3.IBucket;
  /** Of logs and variables. */
  readonly key: kms.IKey;
  readonly objectsKey: kms.IKey;
}

export class ValidatorFunction extends Construct {
  readonly function: lambda.Function;
  readonly alias: lambda.Alias;
  readonly mapping: lambda.CfnEventSourceMapping;

  constructor(scope: Construct, id: string, props: ValidatorFunctionProps) {
    super(scope, id);
    const { environment, codeFolder, kafka, vpc, securityGroup, rules, key } = props;
    const { validator, partitions, generation } = environment;
    const log = logGroup(this, "Log", { environment, key });
    const role = this.#role(props, log);
    this.function = new lambda.Function(this, "Function", {
      description: `weir ${environment.name}: events.raw to events.valid`,
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      handler: "handler.handler",
      code: lambda.Code.fromAsset(codeFolder),
      memorySize: validator.memoryMib,
      timeout: Duration.seconds(validator.timeoutS),
      role,
      vpc,
      vpcSubnets: { subnets: vpc.privateSubnets },
      securityGroups: [securityGroup],
      environmentEncryption: key,
      environment: environmentOf({
        environment: environment.name,
        generation,
        partitions,
        kafka: kafka.bootstrapIam,
        kafkaSecurity: "iam",
        rulesUrl: `s3://${rules.bucketName}/rules`,
        validatorBatchSize: validator.batchSize,
        validatorTimeoutMs: validator.timeoutS * 1_000,
        metrics: "emf",
        // An environment writes one document a second, not one per batch: log bytes cost more than the metrics in them.
        metricsIntervalMs: 1_000,
      }),
      logGroup: log,
      loggingFormat: lambda.LoggingFormat.JSON,
      tracing: lambda.Tracing.ACTIVE,
      ...(validator.reservedConcurrency === null ? {} : { reservedConcurrentExecutions: validator.reservedConcurrency }),
    });
    this.alias = new lambda.Alias(this, "Live", {
      aliasName: LANE,
      version: this.function.currentVersion,
      ...(validator.provisionedConcurrency === 0 ? {} : { provisionedConcurrentExecutions: validator.provisionedConcurrency }),
    });
    this.mapping = new lambda.CfnEventSourceMapping(this, "Mapping", {
      functionName: this.alias.functionArn,
      eventSourceArn: kafka.clusterArn,
      topics: [topicName(LANE, "raw")],
      amazonManagedKafkaEventSourceConfig: { consumerGroupId: groupId({ lane: LANE, generation }, "validator") },
      startingPosition: "TRIM_HORIZON",
      batchSize: validator.batchSize,
      maximumBatchingWindowInSeconds: 0,
      provisionedPollerConfig: { minimumPollers: validator.pollers, maximumPollers: validator.pollers },
      maximumRetryAttempts: -1,
      maximumRecordAgeInSeconds: -1,
      bisectBatchOnFunctionError: false,
      metricsConfig: { metrics: ["EventCount", "ErrorCount", "KafkaMetrics"] },
    });
    // Lambda tries the role when it makes the mapping.
    this.mapping.node.addDependency(role);
    acknowledgeWildcards(this, [
      [
        /^Resource::\*$/,
        "EC2's network interface calls and X-Ray's put calls know no resource (Lambda guide, execution role for VPC access)",
      ],
      [/:s3:::weir-.*\/rules\/\*$/, "every rules release, read only"],
    ]);
  }

  #role({ environment, kafka, key, objectsKey, rules }: ValidatorFunctionProps, log: logs.LogGroup): iam.Role {
    const { generation } = environment;
    const statements = [
      ...kafkaStatements(kafka.clusterArn, kafkaRights({ lane: LANE, generation }).validator),
      // The mapping finds the brokers in the role's name.
      new iam.PolicyStatement({
        actions: [
          "kafka:DescribeCluster",
          "kafka:DescribeClusterV2",
          "kafka:GetBootstrapBrokers",
          "kafka-cluster:DescribeClusterDynamicConfiguration",
        ],
        resources: [kafka.clusterArn],
      }),
      new iam.PolicyStatement({
        actions: [
          "ec2:CreateNetworkInterface",
          "ec2:DeleteNetworkInterface",
          "ec2:DescribeNetworkInterfaces",
          "ec2:DescribeSecurityGroups",
          "ec2:DescribeSubnets",
          "ec2:DescribeVpcs",
          "ec2:AssignPrivateIpAddresses",
          "ec2:UnassignPrivateIpAddresses",
        ],
        resources: ["*"],
      }),
      new iam.PolicyStatement({ actions: ["s3:ListBucket"], resources: [rules.bucketArn] }),
      new iam.PolicyStatement({ actions: ["s3:GetObject"], resources: [rules.arnForObjects("rules/*")] }),
      new iam.PolicyStatement({ actions: ["kms:Decrypt"], resources: [objectsKey.keyArn, key.keyArn] }),
    ];
    // Inline, so that it is there with the role: Lambda refuses a function, and a mapping, whose role lacks these.
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
      inlinePolicies: { Access: new iam.PolicyDocument({ statements }) },
    });
    log.grantWrite(role);
    return role;
  }
}
