/**
 * Events of the home region in this one, by MSK Replicator: events.raw under its own name, and nothing else. All other topics this region's pipeline
 * makes of it, exactly once like the first: a replicator keeps neither offsets nor transactions, so copies of them could be continued by nobody. What
 * it delivers twice is removed by event_id.
 */
import { Fn, Stack } from "aws-cdk-lib";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as msk from "aws-cdk-lib/aws-msk";
import type { Construct } from "constructs";
import { topicName } from "#shared/events/names.ts";
import { replicationAlarms } from "../alarms/replication-alarms.ts";
import { acknowledgeWildcards } from "../checks/acknowledge.ts";
import { alarmOf } from "../constructs/alarm-set.ts";
import { alarmTopic } from "../constructs/alarm-topic.ts";
import { inside } from "../constructs/kafka-access.ts";
import { kafkaClusterArn } from "../constructs/kafka-reference.ts";
import { PORTS } from "../constructs/security-groups.ts";
import { CLUSTER_ARN_OUTPUT, type StreamingStack } from "./streaming-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

/** The replicator keeps its state in topics and groups of its own, in both clusters ("Topic replication permissions" in the MSK developer guide). */
const OWN_TOPICS = ["*__amazon_msk_replicator_*", "mskr-offset-syncs.*", "*.checkpoints.internal"] as const;
const OWN_GROUPS = "*__amazon_msk_replicator_*";
const MANAGE = ["CreateTopic", "DescribeTopicDynamicConfiguration", "AlterTopic", "AlterTopicDynamicConfiguration"] as const;

export interface ReplicationStackProps extends WeirStackProps {
  /** In the home region. */
  readonly source: { readonly streaming: StreamingStack; readonly vpc: ec2.IVpc };
  readonly target: { readonly streaming: StreamingStack; readonly vpc: ec2.IVpc; readonly securityGroup: ec2.ISecurityGroup };
  readonly key: kms.IKey;
}

export class ReplicationStack extends WeirStack {
  constructor(scope: Construct, props: ReplicationStackProps) {
    super(scope, "replication", props);
    const { environment, source, target, key } = props;
    const replicatorName = `weir-${environment.name}`;
    const topic = topicName("live", "raw");
    const { streaming } = source;
    const from = Fn.getStackOutput(streaming.stackName, CLUSTER_ARN_OUTPUT, streaming.config.region);
    const to = kafkaClusterArn(this);
    // CDK sees neither an output read by its name nor a parameter.
    for (const before of [streaming, target.streaming]) this.addStackDependency(before);
    const role = this.#role(from, to, topic);
    new msk.CfnReplicator(this, "Replicator", {
      replicatorName,
      description: `weir ${environment.name}: ${topic} into ${environment.region}`,
      serviceExecutionRoleArn: role.roleArn,
      kafkaClusters: [
        {
          amazonMskCluster: { mskClusterArn: from },
          vpcConfig: { subnetIds: source.vpc.isolatedSubnets.map(({ subnetId }) => subnetId) },
        },
        {
          amazonMskCluster: { mskClusterArn: to },
          vpcConfig: {
            subnetIds: target.vpc.isolatedSubnets.map(({ subnetId }) => subnetId),
            securityGroupIds: [this.#securityGroup(target).securityGroupId],
          },
        },
      ],
      replicationInfoList: [
        {
          sourceKafkaClusterArn: from,
          targetKafkaClusterArn: to,
          // It unpacks what it copies.
          targetCompressionType: "SNAPPY",
          topicReplication: {
            topicsToReplicate: [`^${topic.replaceAll(".", "\\.")}$`],
            topicNameConfiguration: { type: "IDENTICAL" },
            // Brokers stamp copies anew: what is days old would arrive as if its producer's clock were wrong. History comes from the backups.
            startingPosition: { type: "LATEST" },
            detectAndCopyNewTopics: false,
            // Topics and access lists are declared in this region as in the other.
            copyTopicConfigurations: false,
            copyAccessControlListsForTopics: false,
          },
          // Positions of one log mean nothing in another.
          consumerGroupReplication: {
            consumerGroupsToReplicate: ["^none$"],
            detectAndCopyNewConsumerGroups: false,
            synchroniseConsumerGroupOffsets: false,
          },
        },
      ],
    }).node.addDependency(role);
    const addresses = { page: environment.alarms.pageTo, ticket: environment.alarms.ticketTo };
    const topics = {
      page: alarmTopic(this, "Page", { environment, key, addresses: addresses.page }),
      ticket: alarmTopic(this, "Ticket", { environment, key, addresses: addresses.ticket }),
    };
    for (const alarm of replicationAlarms(replicatorName)) alarmOf(this, environment, alarm, topics[alarm.severity]);
  }

  #role(source: string, target: string, topic: string): iam.Role {
    const allow = (actions: readonly string[], resources: readonly string[]): iam.PolicyStatement =>
      new iam.PolicyStatement({ actions: actions.map((action) => `kafka-cluster:${action}`), resources: [...resources] });
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("kafka.amazonaws.com", {
        conditions: { StringEquals: { "aws:SourceAccount": Stack.of(this).account } },
      }),
      inlinePolicies: {
        Access: new iam.PolicyDocument({
          statements: [
            allow(["Connect", "DescribeCluster", "WriteDataIdempotently"], [source, target]),
            allow(["DescribeTopic", "DescribeTopicDynamicConfiguration", "ReadData"], [inside(source, "topic", topic)]),
            allow(["DescribeTopic", "DescribeTopicDynamicConfiguration", "WriteData"], [inside(target, "topic", topic)]),
            allow(
              ["DescribeTopic", "ReadData", "WriteData", ...MANAGE],
              [source, target].flatMap((cluster) => OWN_TOPICS.map((name) => inside(cluster, "topic", name))),
            ),
            allow(
              ["DescribeGroup", "AlterGroup"],
              [source, target].map((cluster) => inside(cluster, "group", OWN_GROUPS)),
            ),
          ],
        }),
      },
    });
    acknowledgeWildcards(role, [
      [/\/(\*__amazon_msk_replicator_\*|mskr-offset-syncs\.\*|\*\.checkpoints\.internal)$/, "the replicator's own"],
    ]);
    return role;
  }

  /** A member of this region's network only where there is a replicator. */
  #securityGroup({ vpc, securityGroup: kafka }: ReplicationStackProps["target"]): ec2.SecurityGroup {
    const description = "replicator: events from the home region";
    const group = new ec2.SecurityGroup(this, "Group", { vpc, description, allowAllOutbound: false });
    const rule = { ipProtocol: "tcp", fromPort: PORTS.kafkaIam, toPort: PORTS.kafkaIam, description: "replicator to kafka: kafkaIam" };
    new ec2.CfnSecurityGroupEgress(this, "Out", {
      ...rule,
      groupId: group.securityGroupId,
      destinationSecurityGroupId: kafka.securityGroupId,
    });
    new ec2.CfnSecurityGroupIngress(this, "In", {
      ...rule,
      groupId: kafka.securityGroupId,
      sourceSecurityGroupId: group.securityGroupId,
    });
    return group;
  }
}
