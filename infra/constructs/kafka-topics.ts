/** Every topic of the catalogue as a resource of its own: CloudFormation makes it, and drift shows. */
import { RemovalPolicy } from "aws-cdk-lib";
import * as msk from "aws-cdk-lib/aws-msk";
import { Construct } from "constructs";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import type { Environment } from "../config/environment.ts";

/** Fixed on Express brokers, where naming them is an error. */
const FIXED_ON_EXPRESS: ReadonlySet<string> = new Set(["min.insync.replicas", "unclean.leader.election.enable"]);

export class KafkaTopics extends Construct {
  constructor(
    scope: Construct,
    id: string,
    { environment, cluster }: { readonly environment: Environment; readonly cluster: msk.CfnCluster },
  ) {
    super(scope, id);
    const isExpress = environment.kafka.brokerType === "express";
    let before: msk.CfnTopic | undefined;
    for (const spec of topicSpecs("live", environment.partitions, { replicationFactor: 3 })) {
      const settings = Object.entries(spec.config).filter(([name]) => !isExpress || !FIXED_ON_EXPRESS.has(name));
      const topic = new msk.CfnTopic(this, spec.topic, {
        clusterArn: cluster.attrArn,
        topicName: spec.topic,
        partitionCount: spec.partitions,
        replicationFactor: spec.replicationFactor,
        configs: Buffer.from(settings.map(([name, value]) => `${name}=${value}`).join("\n")).toString("base64"),
      });
      // A changed replication factor would replace it: events outlive every mistake in a template.
      topic.applyRemovalPolicy(RemovalPolicy.RETAIN);
      // MSK changes one topic of a cluster at a time.
      if (before !== undefined) topic.node.addDependency(before);
      before = topic;
    }
  }
}
