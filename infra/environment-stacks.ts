/** One environment as its stacks, in the order in which they are deployed: what holds data before what works on it. */
import type { CfnNatGateway } from "aws-cdk-lib/aws-ec2";
import type { Construct } from "constructs";
import type { Environment } from "./config/environment.ts";
import { BackupStack } from "./stacks/backup-stack.ts";
import { ClickhouseStack } from "./stacks/clickhouse-stack.ts";
import { NetworkStack } from "./stacks/network-stack.ts";
import { ObjectsStack } from "./stacks/objects-stack.ts";
import { ObservabilityStack } from "./stacks/observability-stack.ts";
import { type CodeFolders, ProcessingStack } from "./stacks/processing-stack.ts";
import { SecurityStack } from "./stacks/security-stack.ts";
import { StoresStack } from "./stacks/stores-stack.ts";
import { StreamingStack } from "./stacks/streaming-stack.ts";
import type { WeirStack } from "./stacks/weir-stack.ts";

export interface EnvironmentStacks {
  readonly security: SecurityStack;
  readonly network: NetworkStack;
  readonly objects: ObjectsStack;
  readonly streaming: StreamingStack;
  readonly stores: StoresStack;
  readonly clickhouse: ClickhouseStack;
  readonly processing: ProcessingStack;
  readonly observability: ObservabilityStack;
  readonly backup: BackupStack;
}

export function createEnvironment(scope: Construct, environment: Environment, code: CodeFolders): EnvironmentStacks {
  const security = new SecurityStack(scope, { environment, dataClass: "none" });
  const { keys } = security;
  const network = new NetworkStack(scope, { environment, dataClass: "none", operationsKey: keys.operations });
  const { vpc, groups } = network;
  const objects = new ObjectsStack(scope, { environment, dataClass: "events", key: keys.objects });
  const streaming = new StreamingStack(scope, { environment, dataClass: "events", vpc, securityGroup: groups.kafka, keys });
  const stores = new StoresStack(scope, { environment, dataClass: "metadata", vpc, groups, keys });
  const clickhouse = new ClickhouseStack(scope, { environment, dataClass: "events", vpc, groups, keys });
  const processing = new ProcessingStack(scope, {
    environment,
    dataClass: "none",
    code,
    vpc,
    groups,
    keys,
    valkey: { address: stores.valkeyAddress, login: stores.valkeyLogin },
    clickhouse: clickhouse.endpoint,
  });
  const observability = new ObservabilityStack(scope, {
    environment,
    dataClass: "none",
    key: keys.operations,
    compute: {
      functionName: processing.validator.function.functionName,
      aliasResource: `${processing.validator.function.functionName}:${processing.validator.alias.aliasName}`,
      mappingId: processing.validator.mapping.ref,
      clusterName: processing.clusterName,
      services: { processor: processing.processor.service.serviceName, sinks: processing.sinks.service.serviceName },
    },
    stores: {
      valkeyId: stores.valkeyId,
      postgresId: stores.postgres.instanceIdentifier,
      nodes: nodesOf(clickhouse),
      natGateways: natGatewaysOf(network),
    },
  });
  const backup = new BackupStack(scope, {
    environment,
    dataClass: "none",
    key: keys.stores,
    postgres: stores.postgres,
  });
  // By SSM parameters and names, which CDK does not see.
  for (const before of [streaming, clickhouse, objects]) processing.addStackDependency(before);
  for (const after of [clickhouse, backup]) after.addStackDependency(objects);
  return { security, network, objects, streaming, stores, clickhouse, processing, observability, backup };
}

function nodesOf({ replicas, keepers }: ClickhouseStack): Record<string, string> {
  return Object.fromEntries([...replicas, ...keepers].map((node) => [node.name, node.group.autoScalingGroupName]));
}

function natGatewaysOf(stack: WeirStack): string[] {
  return stack.node
    .findAll()
    .filter((node): node is CfnNatGateway => (node as CfnNatGateway).cfnResourceType === "AWS::EC2::NatGateway")
    .map((gateway) => gateway.ref);
}
