/**
 * A zone cut off and a zone without power. MSK has no action of its own in FIS: its broker in the zone is cut off together with the subnet that it
 * stands in, which is also what the other two see when a zone is lost.
 */
import { Stack } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import type * as fis from "aws-cdk-lib/aws-fis";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as logs from "aws-cdk-lib/aws-logs";
import { Construct } from "constructs";
import type { Environment } from "../config/environment.ts";
import type { WeirStack } from "../stacks/weir-stack.ts";
import { Experiment, EXPERIMENT_DURATION } from "./experiment.ts";

export interface ZoneExperimentsProps {
  readonly environment: Environment;
  readonly vpc: ec2.IVpc;
  readonly cluster: string;
  readonly services: readonly string[];
  readonly postgresArn: string;
  readonly valkeyArns: readonly string[];
  /** Of the instances' volumes: who starts one again must let EC2 use it. */
  readonly storesKey: kms.IKey;
  readonly stopAlarms: readonly string[];
  readonly log: logs.ILogGroup;
}

type Target = fis.CfnExperimentTemplate.ExperimentTemplateTargetProperty;
type Action = fis.CfnExperimentTemplate.ExperimentTemplateActionProperty;

export class ZoneExperiments extends Construct {
  constructor(scope: WeirStack, id: string, props: ZoneExperimentsProps) {
    super(scope, id);
    const { environment, stopAlarms, log } = props;
    for (const [i, zone] of scope.availabilityZones.entries()) {
      const network = networkOf(this, props, i);
      const power = powerOf(this, props, zone);
      const common = { stopAlarms, log };
      new Experiment(this, `Cut${i + 1}`, {
        ...common,
        name: `weir-${environment.name}-cut-zone-${i + 1}`,
        description: "a zone's subnets reach no other zone: Kafka moves leaders, partitions move to tasks elsewhere, nothing is lost",
        targets: { subnets: network.target },
        actions: { cut: network.action },
        statements: network.statements,
        wildcards: network.wildcards,
      });
      new Experiment(this, `Power${i + 1}`, {
        ...common,
        name: `weir-${environment.name}-power-zone-${i + 1}`,
        description: "a zone loses power and network: tasks, ClickHouse's nodes, Valkey and PostgreSQL in it; nothing is lost",
        targets: { subnets: network.target, ...power.targets },
        actions: { cut: network.action, ...power.actions },
        statements: [...network.statements, ...power.statements],
        wildcards: [
          ...network.wildcards,
          [/:ecs:.*:task\/weir-.*\/\*$/, "every task of this environment's cluster"],
          [/:ec2:.*:instance\/\*$/, "bound by condition to instances with this environment's tags"],
        ],
      });
    }
  }
}

/** FIS puts a copy of the subnets' access list in their place, with denials, and takes it away again. */
function networkOf(
  scope: Construct,
  { vpc }: ZoneExperimentsProps,
  zone: number,
): {
  readonly target: Target;
  readonly action: Action;
  readonly statements: readonly iam.PolicyStatement[];
  readonly wildcards: readonly (readonly [RegExp, string])[];
} {
  const { region, account, partition } = Stack.of(scope);
  const arn = (kind: string, name: string): string => `arn:${partition}:ec2:${region}:${account}:${kind}/${name}`;
  const subnets = [vpc.privateSubnets, vpc.isolatedSubnets].map((each) => arn("subnet", each[zone]!.subnetId));
  const lists = arn("network-acl", "*");
  const tagged = { StringEquals: { "aws:RequestTag/managedByFIS": "true" } };
  return {
    target: { resourceType: "aws:ec2:subnet", resourceArns: subnets, selectionMode: "ALL" },
    action: {
      actionId: "aws:network:disrupt-connectivity",
      parameters: { scope: "availability-zone", duration: EXPERIMENT_DURATION },
      targets: { Subnets: "subnets" },
    },
    statements: [
      new iam.PolicyStatement({ actions: ["ec2:CreateNetworkAcl"], resources: [lists], conditions: tagged }),
      new iam.PolicyStatement({ actions: ["ec2:CreateNetworkAcl"], resources: [arn("vpc", vpc.vpcId)] }),
      new iam.PolicyStatement({
        actions: ["ec2:CreateTags"],
        resources: [lists],
        conditions: { StringEquals: { "ec2:CreateAction": "CreateNetworkAcl", ...tagged.StringEquals } },
      }),
      new iam.PolicyStatement({
        actions: ["ec2:CreateNetworkAclEntry", "ec2:DeleteNetworkAcl"],
        resources: [lists],
        conditions: { StringEquals: { "ec2:ResourceTag/managedByFIS": "true" } },
      }),
      // Of the list that was there before, too: at the end it comes back.
      new iam.PolicyStatement({
        actions: ["ec2:ReplaceNetworkAclAssociation"],
        resources: [lists, ...subnets],
        conditions: { ArnEquals: { "ec2:Vpc": arn("vpc", vpc.vpcId) } },
      }),
      new iam.PolicyStatement({
        actions: [
          "DescribeNetworkAcls",
          "DescribeSubnets",
          "DescribeVpcs",
          "DescribeManagedPrefixLists",
          "GetManagedPrefixListEntries",
        ].map((action) => `ec2:${action}`),
        resources: ["*"],
      }),
    ],
    wildcards: [[/:ec2:.*:network-acl\/\*$/, "bound by condition to lists that FIS makes, or to this network's"]],
  };
}

function powerOf(
  scope: Construct,
  { environment, cluster, services, postgresArn, valkeyArns, storesKey }: ZoneExperimentsProps,
  zone: string,
): {
  readonly targets: Readonly<Record<string, Target>>;
  readonly actions: Readonly<Record<string, Action>>;
  readonly statements: readonly iam.PolicyStatement[];
} {
  const { region, account, partition } = Stack.of(scope);
  const tags = { project: "weir", environment: environment.name };
  const ours = { StringEquals: Object.fromEntries(Object.entries(tags).map(([name, value]) => [`aws:ResourceTag/${name}`, value])) };
  const tasks = services.map((service, i): [string, Target, Action] => [
    `tasks${i + 1}`,
    {
      resourceType: "aws:ecs:task",
      parameters: { cluster, service },
      filters: [{ path: "AvailabilityZone", values: [zone] }],
      selectionMode: "ALL",
    },
    { actionId: "aws:ecs:stop-task", targets: { Tasks: `tasks${i + 1}` } },
  ]);
  const parts: [string, Target, Action][] = [
    ...tasks,
    [
      "nodes",
      {
        resourceType: "aws:ec2:instance",
        resourceTags: tags,
        filters: [
          { path: "Placement.AvailabilityZone", values: [zone] },
          { path: "State.Name", values: ["running"] },
        ],
        selectionMode: "ALL",
      },
      {
        actionId: "aws:ec2:stop-instances",
        // Its group replaces a stopped one, and terminates it.
        parameters: { startInstancesAfterDuration: EXPERIMENT_DURATION, completeIfInstancesTerminated: "true" },
        targets: { Instances: "nodes" },
      },
    ],
  ];
  const statements = [
    new iam.PolicyStatement({ actions: ["ecs:StopTask"], resources: [`arn:${partition}:ecs:${region}:${account}:task/${cluster}/*`] }),
    new iam.PolicyStatement({
      actions: ["ecs:ListTasks", "ecs:DescribeTasks", "ec2:DescribeInstances", "tag:GetResources"],
      resources: ["*"],
    }),
    new iam.PolicyStatement({
      actions: ["ec2:StopInstances", "ec2:StartInstances"],
      resources: [`arn:${partition}:ec2:${region}:${account}:instance/*`],
      conditions: ours,
    }),
    new iam.PolicyStatement({
      actions: ["kms:CreateGrant"],
      resources: [storesKey.keyArn],
      conditions: { StringEquals: { "kms:ViaService": `ec2.${region}.amazonaws.com` }, Bool: { "kms:GrantIsForAWSResource": "true" } },
    }),
  ];
  if (environment.postgres.isMultiAz) {
    parts.push([
      "postgres",
      {
        resourceType: "aws:rds:db",
        resourceArns: [postgresArn],
        parameters: { availabilityZoneIdentifiers: zone },
        selectionMode: "ALL",
      },
      { actionId: "aws:rds:reboot-db-instances", parameters: { forceFailover: "true" }, targets: { DBInstances: "postgres" } },
    ]);
    statements.push(
      new iam.PolicyStatement({ actions: ["rds:RebootDBInstance"], resources: [postgresArn] }),
      new iam.PolicyStatement({ actions: ["rds:DescribeDBInstances"], resources: ["*"] }),
    );
  }
  if (environment.valkey.replicas > 0) {
    parts.push([
      "valkey",
      {
        resourceType: "aws:elasticache:replicationgroup",
        resourceTags: tags,
        parameters: { availabilityZoneIdentifier: zone },
        selectionMode: "ALL",
      },
      {
        actionId: "aws:elasticache:replicationgroup-interrupt-az-power",
        parameters: { duration: EXPERIMENT_DURATION },
        targets: { ReplicationGroups: "valkey" },
      },
    ]);
    statements.push(
      new iam.PolicyStatement({
        actions: ["elasticache:InterruptClusterAzPower", "elasticache:DescribeReplicationGroups"],
        resources: [...valkeyArns],
      }),
    );
  }
  return {
    targets: Object.fromEntries(parts.map(([name, target]) => [name, target])),
    actions: Object.fromEntries(parts.map(([name, , action]) => [`${name}Off`, action])),
    statements,
  };
}
