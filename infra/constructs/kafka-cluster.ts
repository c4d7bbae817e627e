/**
 * Amazon MSK in KRaft mode over its own resources: the published construct knows neither topics nor Express brokers' missing settings. IAM for our
 * own parts, SCRAM for producers, TLS only. Its addresses exist only once it does, so a custom resource asks for them and SSM keeps them.
 */
import { Duration, Stack } from "aws-cdk-lib";
import * as appscaling from "aws-cdk-lib/aws-applicationautoscaling";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as msk from "aws-cdk-lib/aws-msk";
import * as cr from "aws-cdk-lib/custom-resources";
import { Construct } from "constructs";
import type { Environment } from "../config/environment.ts";
import { logGroup } from "./log-group.ts";
import type { WeirStack } from "../stacks/weir-stack.ts";

export interface KafkaClusterProps {
  readonly environment: Environment;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly key: kms.IKey;
  readonly logsKey: kms.IKey;
}

/** Progress lives in the offsets of groups that may be empty for long. */
const OFFSETS_RETENTION_MINUTES = 129_600;

/** Express brokers take few settings: replication factor 3, min ISR 2 and no unclean election are theirs already, and topics carry the rest themselves. */
export function brokerSettings({ kafka, partitions }: Environment): Readonly<Record<string, string>> {
  const always = {
    // Who comes by SCRAM may do what an access list allows, and else nothing. IAM principals, the writer of those lists among them, never meet them;
    // brokers are super users ("Apache Kafka ACLs" in the MSK developer guide).
    "allow.everyone.if.no.acl.found": "false",
    "auto.create.topics.enable": "false",
    "compression.type": "producer",
    "offsets.retention.minutes": String(OFFSETS_RETENTION_MINUTES),
  };
  if (kafka.brokerType === "express") return always;
  return {
    ...always,
    "num.partitions": String(partitions),
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "unclean.leader.election.enable": "false",
    "log.retention.hours": "168",
    "message.max.bytes": String(2 << 20),
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
  };
}

export class KafkaCluster extends Construct {
  readonly cluster: msk.CfnCluster;
  readonly name: string;
  readonly bootstrapIam: string;
  readonly bootstrapScram: string;

  constructor(scope: WeirStack, id: string, props: KafkaClusterProps) {
    super(scope, id);
    const { environment, vpc, securityGroup, key, logsKey } = props;
    const { kafka } = environment;
    this.name = `weir-${environment.name}`;
    const brokerLog = logGroup(this, "BrokerLog", { environment, key: logsKey });
    const configuration = new msk.CfnConfiguration(this, "Configuration", {
      // A name of its own per version: changing kafkaVersionsList replaces the resource.
      name: `weir-${environment.name}-${kafka.version.replaceAll(".", "-")}`,
      kafkaVersionsList: [kafka.version],
      serverProperties: Object.entries(brokerSettings(environment))
        .map(([name, value]) => `${name}=${value}`)
        .join("\n"),
    });
    this.cluster = new msk.CfnCluster(this, "Cluster", {
      clusterName: this.name,
      kafkaVersion: kafka.version,
      numberOfBrokerNodes: kafka.brokers,
      brokerNodeGroupInfo: {
        instanceType: kafka.instanceType,
        clientSubnets: vpc.isolatedSubnets.map((subnet) => subnet.subnetId),
        securityGroups: [securityGroup.securityGroupId],
        connectivityInfo: {
          publicAccess: { type: "DISABLED" },
          // How a replicator in another region reaches it. MSK refuses it in a cluster's creation: name the standby in a second deployment.
          ...(environment.standby === null ? {} : { vpcConnectivity: { clientAuthentication: { sasl: { iam: { enabled: true } } } } }),
        },
        ...(kafka.volumeGib === undefined ? {} : { storageInfo: { ebsStorageInfo: { volumeSize: kafka.volumeGib } } }),
      },
      configurationInfo: { arn: configuration.attrArn, revision: configuration.attrLatestRevisionRevision },
      clientAuthentication: { sasl: { iam: { enabled: true }, scram: { enabled: true } }, unauthenticated: { enabled: false } },
      encryptionInfo: {
        encryptionAtRest: { dataVolumeKmsKeyId: key.keyArn },
        encryptionInTransit: { clientBroker: "TLS", inCluster: true },
      },
      enhancedMonitoring: kafka.monitoring,
      loggingInfo: { brokerLogs: { cloudWatchLogs: { enabled: true, logGroup: brokerLog.logGroupName } } },
    });
    this.cluster.applyRemovalPolicy(scope.removalPolicy);
    if (environment.standby !== null) this.#letReplicatorConnect();
    if (kafka.brokerType === "standard") this.#growWithUse(kafka.volumeGibMax!);
    [this.bootstrapIam, this.bootstrapScram] = this.#bootstrap(environment, logsKey);
  }

  /** What the cluster holds the replicator's role decides; this lets MSK make the way to it ("Prepare source and target clusters"). */
  #letReplicatorConnect(): void {
    new msk.CfnClusterPolicy(this, "Policy", {
      clusterArn: this.cluster.attrArn,
      policy: {
        Version: "2012-10-17",
        Statement: [
          {
            Effect: "Allow",
            Principal: { Service: "kafka.amazonaws.com" },
            Action: ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"],
            Resource: this.cluster.attrArn,
            Condition: { StringEquals: { "aws:SourceAccount": Stack.of(this).account } },
          },
        ],
      },
    });
  }

  /** Up only, by AWS at most every six hours: the template's volumeGib must then never be lowered. */
  #growWithUse(volumeGibMax: number): void {
    const target = new appscaling.ScalableTarget(this, "Storage", {
      serviceNamespace: appscaling.ServiceNamespace.KAFKA,
      resourceId: this.cluster.attrArn,
      scalableDimension: "kafka:broker-storage:VolumeSize",
      minCapacity: 1,
      maxCapacity: volumeGibMax,
    });
    target.scaleToTrackMetric("Use", {
      predefinedMetric: appscaling.PredefinedMetric.KAFKA_BROKER_STORAGE_UTILIZATION,
      targetValue: 60,
      disableScaleIn: true,
    });
  }

  #bootstrap(environment: Environment, logsKey: kms.IKey): [iam: string, scram: string] {
    const call: cr.AwsSdkCall = {
      service: "Kafka",
      action: "getBootstrapBrokers",
      parameters: { ClusterArn: this.cluster.attrArn },
      outputPaths: ["BootstrapBrokerStringSaslIam", "BootstrapBrokerStringSaslScram"],
      // Asks again when the number of brokers changes.
      physicalResourceId: cr.PhysicalResourceId.of(`bootstrap-${environment.kafka.brokers}`),
    };
    const lookup = new cr.AwsCustomResource(this, "Bootstrap", {
      onCreate: call,
      onUpdate: call,
      installLatestAwsSdk: false,
      timeout: Duration.minutes(2),
      logGroup: logGroup(this, "BootstrapLog", { environment, key: logsKey }),
      policy: cr.AwsCustomResourcePolicy.fromStatements([
        new iam.PolicyStatement({ actions: ["kafka:GetBootstrapBrokers"], resources: [this.cluster.attrArn] }),
      ]),
    });
    return [lookup.getResponseField("BootstrapBrokerStringSaslIam"), lookup.getResponseField("BootstrapBrokerStringSaslScram")];
  }
}
