/**
 * What a role may do in Kafka, resource by resource ("IAM access control for Amazon MSK", authorization policy resources). IAM principals are ruled
 * by these policies alone; Kafka's own ACLs never apply to them.
 */
import { Fn } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import type { KafkaRights } from "#shared/events/kafka-rights.ts";

/** `arn:…:cluster/NAME/UUID` is also the beginning of every name inside the cluster. */
export function inside(clusterArn: string, kind: "topic" | "group" | "transactional-id", name: string): string {
  const [prefix, place] = [0, 1].map((part) => Fn.select(part, Fn.split(":cluster/", clusterArn)));
  return `${prefix}:${kind}/${place}/${name}`;
}

export function kafkaStatements(
  clusterArn: string,
  { read, write, describe = [], groups, describeGroups = [], transactionalIdPrefix }: KafkaRights,
): iam.PolicyStatement[] {
  const allow = (actions: readonly string[], resources: readonly string[]): iam.PolicyStatement =>
    new iam.PolicyStatement({ actions: actions.map((action) => `kafka-cluster:${action}`), resources: [...resources] });
  const topics = (names: readonly string[]): string[] => names.map((name) => inside(clusterArn, "topic", name));
  const found = [...new Set([...read, ...write, ...describe])];
  return [
    allow(["Connect", "DescribeCluster", ...(write.length > 0 ? ["WriteDataIdempotently"] : [])], [clusterArn]),
    ...(found.length > 0 ? [allow(["DescribeTopic"], topics(found))] : []),
    ...(read.length > 0 ? [allow(["ReadData"], topics(read))] : []),
    ...(write.length > 0 ? [allow(["WriteData"], topics(write))] : []),
    ...(groups.length > 0
      ? [
          allow(
            ["DescribeGroup", "AlterGroup"],
            groups.map((group) => inside(clusterArn, "group", group)),
          ),
        ]
      : []),
    ...(describeGroups.length > 0
      ? [
          allow(
            ["DescribeGroup"],
            describeGroups.map((group) => inside(clusterArn, "group", group)),
          ),
        ]
      : []),
    ...(transactionalIdPrefix === undefined
      ? []
      : [
          allow(["DescribeTransactionalId", "AlterTransactionalId"], [inside(clusterArn, "transactional-id", `${transactionalIdPrefix}*`)]),
        ]),
  ];
}
