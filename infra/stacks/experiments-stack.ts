/** Experiments that show on the running system what docs/FAILURES.md says: templates only, started by hand (docs/DEPLOY.md, "Break it on purpose"). */
import { Stack } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type { Construct } from "constructs";
import { BrokerExperiment } from "../constructs/broker-experiment.ts";
import { Experiment } from "../constructs/experiment.ts";
import { kafkaClusterArn } from "../constructs/kafka-reference.ts";
import { logGroup } from "../constructs/log-group.ts";
import { ZoneExperiments } from "../constructs/zone-experiments.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

/** They wake somebody: an experiment must not go further than one failure that the system bears. */
const STOP_ALARMS = ["processor-lag-high", "sink-lag"] as const;

export interface ExperimentsStackProps extends WeirStackProps {
  readonly vpc: ec2.IVpc;
  readonly keys: Readonly<Record<"operations" | "stores", kms.IKey>>;
  readonly cluster: string;
  readonly services: Readonly<Record<"processor" | "sinks", string>>;
  readonly postgresId: string;
  readonly valkeyIds: readonly string[];
}

export class ExperimentsStack extends WeirStack {
  constructor(scope: Construct, props: ExperimentsStackProps) {
    super(scope, "experiments", props);
    const { environment, vpc, keys, cluster, services, postgresId, valkeyIds } = props;
    const { region, account, partition } = Stack.of(this);
    const log = logGroup(this, "Log", { environment, key: keys.operations });
    const stopAlarms = STOP_ALARMS.map((alarm) => `weir-${environment.name}-${alarm}`);
    for (const [entry, service] of Object.entries(services)) {
      new Experiment(this, `Stop${entry}`, {
        name: `weir-${environment.name}-stop-${entry}`,
        description: `a task of ${entry} is stopped: its work goes on elsewhere within seconds, nothing is lost or counted twice`,
        targets: { tasks: { resourceType: "aws:ecs:task", parameters: { cluster, service }, selectionMode: "COUNT(1)" } },
        actions: { stop: { actionId: "aws:ecs:stop-task", targets: { Tasks: "tasks" } } },
        statements: [
          new iam.PolicyStatement({
            actions: ["ecs:StopTask"],
            resources: [`arn:${partition}:ecs:${region}:${account}:task/${cluster}/*`],
          }),
          new iam.PolicyStatement({ actions: ["ecs:ListTasks", "ecs:DescribeTasks", "tag:GetResources"], resources: ["*"] }),
        ],
        wildcards: [[/:ecs:.*:task\/weir-.*\/\*$/, "every task of this environment's cluster"]],
        stopAlarms,
        log,
      });
    }
    new BrokerExperiment(this, "Broker", { environment, clusterArn: kafkaClusterArn(this), stopAlarms, log });
    new ZoneExperiments(this, "Zone", {
      environment,
      vpc,
      cluster,
      services: Object.values(services),
      postgresArn: `arn:${partition}:rds:${region}:${account}:db:${postgresId}`,
      valkeyArns: valkeyIds.map((id) => `arn:${partition}:elasticache:${region}:${account}:replicationgroup:${id}`),
      storesKey: keys.stores,
      stopAlarms,
      log,
    });
  }
}
