/** The work: validator function, processor and sinks. Nothing here holds data; all of it may be deleted and made again. */
import { Duration } from "aws-cdk-lib";
import * as appscaling from "aws-cdk-lib/aws-applicationautoscaling";
import * as cloudwatch from "aws-cdk-lib/aws-cloudwatch";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as s3 from "aws-cdk-lib/aws-s3";
import type * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import * as ssm from "aws-cdk-lib/aws-ssm";
import type { Construct } from "constructs";
import { environmentOf, variableOf } from "#shared/config/config.ts";
import { kafkaRights } from "#shared/events/kafka-rights.ts";
import type { PipelineId } from "#shared/events/names.ts";
import { BASE_DIMENSIONS, METRICS_NAMESPACE, type PlainMetricName } from "#shared/telemetry/metrics-catalogue.ts";
import { acknowledgeWildcards } from "../checks/acknowledge.ts";
import { kafkaStatements } from "../constructs/kafka-access.ts";
import { type KafkaReference, kafkaReference } from "../constructs/kafka-reference.ts";
import type { Operation } from "../constructs/operation-function.ts";
import { Operations } from "../constructs/operations.ts";
import { PORTS } from "../constructs/security-groups.ts";
import { StreamService } from "../constructs/stream-service.ts";
import { ValidatorFunction } from "../constructs/validator-function.ts";
import type { ClickhouseEndpoint } from "./clickhouse-stack.ts";
import { bucketReference } from "./objects-stack.ts";
import type { KeyDomain } from "./security-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

const LANE = "live";
const METRICS_PORT = 9464;

/** Code as the deployment takes it, made before synthesis. */
export interface CodeFolders {
  readonly validator: string;
  readonly api: string;
  readonly images: string;
  readonly operations: Readonly<Record<Operation, string>>;
}

export interface ProcessingStackProps extends WeirStackProps {
  readonly code: CodeFolders;
  readonly vpc: ec2.IVpc;
  readonly groups: Readonly<Record<"validator" | "processor" | "sinks" | "operators", ec2.ISecurityGroup>>;
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;
  readonly valkey: { readonly addresses: readonly string[]; readonly login: secretsmanager.ISecret };
  readonly clickhouse: ClickhouseEndpoint;
  readonly postgres: { readonly address: string; readonly secretArn: string };
}

export class ProcessingStack extends WeirStack {
  readonly validator: ValidatorFunction;
  readonly processor: StreamService;
  readonly sinks: StreamService;
  readonly clusterName: string;
  readonly #kafka: KafkaReference;
  readonly #cluster: ecs.Cluster;
  readonly #props: ProcessingStackProps;
  readonly #id: PipelineId;
  readonly #rules: s3.IBucket;
  readonly #snapshots: s3.IBucket;

  constructor(scope: Construct, props: ProcessingStackProps) {
    super(scope, "processing", props);
    this.#props = props;
    const { environment, vpc, code, groups, keys } = props;
    this.#id = { lane: LANE, generation: environment.generation };
    this.#kafka = kafkaReference(this);
    this.clusterName = `weir-${environment.name}`;
    this.#cluster = new ecs.Cluster(this, "Cluster", {
      vpc,
      clusterName: this.clusterName,
      containerInsightsV2: environment.isDurable ? ecs.ContainerInsights.ENHANCED : ecs.ContainerInsights.ENABLED,
    });
    this.#rules = bucketReference(this, "rules");
    this.#snapshots = bucketReference(this, "snapshots");
    this.validator = new ValidatorFunction(this, "Validator", {
      environment,
      codeFolder: code.validator,
      kafka: this.#kafka,
      vpc,
      securityGroup: groups.validator,
      rules: this.#rules,
      key: keys.operations,
      objectsKey: keys.objects,
    });
    this.processor = this.#addProcessor();
    this.sinks = this.#addSinks();
    this.#scaleByLag();
    const { clickhouse, postgres } = props;
    new Operations(this, "Operations", {
      environment,
      code: code.operations,
      kafka: this.#kafka,
      vpc,
      securityGroup: groups.operators,
      keys,
      rules: this.#rules,
      postgres,
      clickhouse: {
        replicaUrls: clickhouse.replicaUrls,
        operatorSecretArn: clickhouse.operatorLogin.secretArn,
        // A certificate is no secret; the nodes have written it when this stack is deployed.
        ca: ssm.StringParameter.valueForStringParameter(this, clickhouse.caParameter),
      },
    });
  }

  /** What both services are told alike. */
  #common(): Parameters<typeof environmentOf>[0] {
    const { name, generation, partitions } = this.#props.environment;
    return { environment: name, lane: LANE, generation, partitions, kafka: this.#kafka.bootstrapIam, kafkaSecurity: "iam", metrics: "emf" };
  }

  #addProcessor(): StreamService {
    const { environment, vpc, groups, keys, code } = this.#props;
    const service = new StreamService(this, "Processor", {
      environment,
      cluster: this.#cluster,
      vpc,
      securityGroup: groups.processor,
      key: keys.operations,
      imageFolder: code.images,
      secretsKey: keys.stores,
      entry: "processor",
      size: environment.processor,
      tasks: environment.processor.tasks,
      hasMembers: true,
      metricsPort: METRICS_PORT,
      variables: environmentOf({
        ...this.#common(),
        processorWorkers: environment.processor.workers,
        snapshotUrl: `s3://${this.#snapshots.bucketName}/snapshots`,
        rulesUrl: `s3://${this.#rules.bucketName}/rules`,
        metricsPort: METRICS_PORT,
      }),
    });
    this.#allow(service, "ProcessorAccess", [
      ...kafkaStatements(this.#kafka.clusterArn, kafkaRights(this.#id).processor),
      ...objectStatements(this.#snapshots, { write: true }),
      ...objectStatements(this.#rules, { write: false }),
      keyStatement(keys.objects),
    ]);
    return service;
  }

  #addSinks(): StreamService {
    const { environment, vpc, groups, keys, code, clickhouse, valkey } = this.#props;
    const service = new StreamService(this, "Sinks", {
      environment,
      cluster: this.#cluster,
      vpc,
      securityGroup: groups.sinks,
      key: keys.operations,
      imageFolder: code.images,
      secretsKey: keys.stores,
      entry: "sinks",
      size: environment.sinks,
      tasks: 1,
      hasMembers: false,
      metricsPort: METRICS_PORT,
      variables: {
        ...environmentOf({ ...this.#common(), clickhouse: clickhouse.url, clickhouseUser: "sinks", sinksMetricsPort: METRICS_PORT }),
        // infra/images/start.sh makes WEIR_REDIS of them, in this order.
        REDIS_HOSTS: valkey.addresses.join(","),
        REDIS_PORT: String(PORTS.valkey),
      },
      secrets: {
        [variableOf("clickhousePassword")]: ecs.Secret.fromSecretsManager(clickhouse.sinksLogin, "password"),
        REDIS_USER: ecs.Secret.fromSecretsManager(valkey.login, "username"),
        REDIS_PASSWORD: ecs.Secret.fromSecretsManager(valkey.login, "password"),
        CLICKHOUSE_CA: ecs.Secret.fromSsmParameter(
          ssm.StringParameter.fromStringParameterName(this, "ClickhouseCa", clickhouse.caParameter),
        ),
      },
    });
    this.#allow(service, "SinksAccess", kafkaStatements(this.#kafka.clusterArn, kafkaRights(this.#id).sinks));
    return service;
  }

  #allow(service: StreamService, id: string, statements: readonly iam.PolicyStatement[]): void {
    const policy = new iam.Policy(this, id, { statements: [...statements] });
    policy.attachToRole(service.taskRole);
    // The task must not start without it.
    service.service.node.addDependency(policy);
    acknowledgeWildcards(policy, [
      [/:transactional-id\/.*\*$/, "one transactional id per partition of this generation"],
      [/:s3:::weir-.*\/\*$/, "every object of a bucket that is this part's own, or that it only reads"],
    ]);
  }

  /** Out early, in late. More tasks than partitions by workers would idle, which the configuration refuses. */
  #scaleByLag(): void {
    const { environment } = this.#props;
    const { tasks, tasksMax } = environment.processor;
    if (tasks === tasksMax) return;
    const lag: PlainMetricName = "TimeLagSeconds";
    const [service, stage, lane] = BASE_DIMENSIONS;
    const metric = new cloudwatch.Metric({
      namespace: METRICS_NAMESPACE,
      metricName: lag,
      dimensionsMap: { [service]: "processor", [stage]: environment.name, [lane]: LANE },
      statistic: "Maximum",
      period: Duration.minutes(1),
    });
    const scaling = this.processor.service.autoScaleTaskCount({ minCapacity: tasks, maxCapacity: tasksMax });
    scaling.scaleOnMetric("Lag", {
      metric,
      adjustmentType: appscaling.AdjustmentType.CHANGE_IN_CAPACITY,
      evaluationPeriods: 3,
      datapointsToAlarm: 3,
      cooldown: Duration.minutes(5),
      scalingSteps: [
        { upper: 1, change: -1 },
        { lower: 15, change: 1 },
        { lower: 60, change: 4 },
      ],
    });
  }
}

function objectStatements(bucket: s3.IBucket, { write }: { readonly write: boolean }): iam.PolicyStatement[] {
  return [
    new iam.PolicyStatement({ actions: ["s3:ListBucket"], resources: [bucket.bucketArn] }),
    new iam.PolicyStatement({
      actions: ["s3:GetObject", ...(write ? ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"] : [])],
      resources: [bucket.arnForObjects("*")],
    }),
  ];
}

function keyStatement(key: kms.IKey): iam.PolicyStatement {
  return new iam.PolicyStatement({ actions: ["kms:Decrypt", "kms:GenerateDataKey"], resources: [key.keyArn] });
}
