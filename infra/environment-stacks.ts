/** One environment as its stacks, in the order in which they are deployed: what holds data before what works on it; all of them twice with a second region. */
import type { CfnNatGateway } from "aws-cdk-lib/aws-ec2";
import type { Construct } from "constructs";
import { type Environment, standbyOf } from "./config/environment.ts";
import { ApiStack } from "./stacks/api-stack.ts";
import { BackupStack } from "./stacks/backup-stack.ts";
import { ClickhouseStack } from "./stacks/clickhouse-stack.ts";
import { CopiesStack } from "./stacks/copies-stack.ts";
import { ExperimentsStack } from "./stacks/experiments-stack.ts";
import { NetworkStack } from "./stacks/network-stack.ts";
import { ObjectsStack } from "./stacks/objects-stack.ts";
import { ObservabilityStack } from "./stacks/observability-stack.ts";
import { type CodeFolders, ProcessingStack } from "./stacks/processing-stack.ts";
import { ReplicationStack } from "./stacks/replication-stack.ts";
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
  readonly api: ApiStack;
  readonly observability: ObservabilityStack;
  readonly backup: BackupStack;
  readonly experiments?: ExperimentsStack;
}

/** Of another region, for what is copied there. */
interface There {
  readonly stacks: EnvironmentStacks;
  readonly copies: CopiesStack;
}

/** @returns those of the home region; the others stand beside them in `scope`. */
export function createEnvironment(scope: Construct, environment: Environment, code: CodeFolders): EnvironmentStacks {
  const twin = standbyOf(environment);
  if (twin === undefined) return createStacks(scope, environment, code);
  const stacks = createStacks(scope, twin, code);
  const copies = new CopiesStack(scope, { environment: twin, dataClass: "metadata", key: stacks.security.keys.stores });
  const home = createStacks(scope, environment, code, { stacks, copies });
  const { network, streaming, security } = stacks;
  new ReplicationStack(scope, {
    environment: twin,
    dataClass: "events",
    source: { streaming: home.streaming, vpc: home.network.vpc },
    target: { streaming, vpc: network.vpc, securityGroup: network.groups.kafka },
    key: security.keys.operations,
  });
  return home;
}

function createStacks(scope: Construct, environment: Environment, code: CodeFolders, there?: There): EnvironmentStacks {
  const security = new SecurityStack(scope, { environment, dataClass: "none" });
  const { keys } = security;
  const network = new NetworkStack(scope, { environment, dataClass: "none", operationsKey: keys.operations });
  const { vpc, groups } = network;
  const objects = new ObjectsStack(scope, {
    environment,
    dataClass: "events",
    key: keys.objects,
    ...(there === undefined ? {} : { copyKey: there.stacks.security.keys.objects }),
  });
  const streaming = new StreamingStack(scope, {
    environment,
    dataClass: "events",
    vpc,
    securityGroup: groups.kafka,
    operators: groups.operators,
    accessCode: code.operations["kafka-access"],
    keys,
  });
  const stores = new StoresStack(scope, { environment, dataClass: "metadata", vpc, groups, keys });
  const clickhouse = new ClickhouseStack(scope, { environment, dataClass: "events", vpc, groups, keys });
  const processing = new ProcessingStack(scope, {
    environment,
    dataClass: "none",
    code,
    vpc,
    groups,
    keys,
    valkey: { addresses: stores.valkeyAddresses, login: stores.valkeyLogin },
    clickhouse: clickhouse.endpoint,
    postgres: {
      address: `${stores.postgres.dbInstanceEndpointAddress}:${stores.postgres.dbInstanceEndpointPort}/weir?sslmode=verify-full`,
      secretArn: stores.postgres.secret!.secretArn,
    },
  });
  const api = new ApiStack(scope, {
    environment,
    dataClass: "none",
    codeFolder: code.api,
    vpc,
    groups,
    keys,
    valkey: { addresses: stores.valkeyAddresses, readerLogin: stores.valkeyReaderLogin },
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
      valkeyIds: stores.valkeyIds,
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
    ...(there === undefined ? {} : { copyVault: there.copies.vault }),
  });
  const experiments = environment.hasExperiments
    ? new ExperimentsStack(scope, {
        environment,
        dataClass: "none",
        vpc,
        keys,
        cluster: processing.clusterName,
        services: { processor: processing.processor.service.serviceName, sinks: processing.sinks.service.serviceName },
        postgresId: stores.postgres.instanceIdentifier,
        valkeyIds: stores.valkeyIds,
      })
    : undefined;
  // By SSM parameters and names, which CDK does not see.
  for (const before of [streaming, clickhouse, objects]) processing.addStackDependency(before);
  api.addStackDependency(clickhouse);
  for (const after of [clickhouse, backup]) after.addStackDependency(objects);
  if (there !== undefined) objects.addStackDependency(there.stacks.objects);
  const stacks = { security, network, objects, streaming, stores, clickhouse, processing, api, observability, backup };
  if (experiments === undefined) return stacks;
  for (const before of [streaming, observability]) experiments.addStackDependency(before);
  return { ...stacks, experiments };
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
