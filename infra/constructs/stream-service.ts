/**
 * A long-running part as a Fargate service on Graviton: one container, two minutes to hand over, rolled back when the new version does not get
 * healthy. Health is the metrics page, which answers only from a live main thread.
 */
import { Duration, Size } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as ecrAssets from "aws-cdk-lib/aws-ecr-assets";
import * as ecs from "aws-cdk-lib/aws-ecs";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import { Construct } from "constructs";
import { acknowledge, acknowledgeWildcards } from "../checks/acknowledge.ts";
import type { Environment } from "../config/environment.ts";
import { logGroup } from "./log-group.ts";

/** Fargate's longest; the processor hands over in seconds, a sink finishes its batch. */
const STOP_TIMEOUT_S = 120;

export interface StreamServiceProps {
  readonly environment: Environment;
  readonly cluster: ecs.ICluster;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly key: kms.IKey;
  /** Docker's context, with its Dockerfile and what it copies. */
  readonly imageFolder: string;
  readonly entry: "processor" | "sinks";
  readonly size: { readonly cpu: number; readonly memoryMib: number };
  readonly tasks: number;
  /** Whether a new task may start beside the old: only where members share the work. */
  readonly hasMembers: boolean;
  readonly metricsPort: number;
  readonly variables: Readonly<Record<string, string>>;
  readonly secrets?: Readonly<Record<string, ecs.Secret>>;
  /** Of the secrets: reading one is not enough without it. */
  readonly secretsKey: kms.IKey;
}

export class StreamService extends Construct {
  readonly service: ecs.FargateService;
  readonly taskRole: iam.IRole;

  constructor(scope: Construct, id: string, props: StreamServiceProps) {
    super(scope, id);
    const { environment, cluster, vpc, securityGroup, key, entry, size, tasks, hasMembers, metricsPort } = props;
    const definition = new ecs.FargateTaskDefinition(this, "Task", {
      family: `weir-${environment.name}-${entry}`,
      cpu: size.cpu,
      memoryLimitMiB: size.memoryMib,
      runtimePlatform: { cpuArchitecture: ecs.CpuArchitecture.ARM64, operatingSystemFamily: ecs.OperatingSystemFamily.LINUX },
    });
    if (props.secrets !== undefined) {
      definition.addToExecutionRolePolicy(new iam.PolicyStatement({ actions: ["kms:Decrypt"], resources: [props.secretsKey.keyArn] }));
    }
    definition.addVolume({ name: "scratch" });
    const container = definition.addContainer("Main", {
      image: ecs.ContainerImage.fromAsset(props.imageFolder, { platform: ecrAssets.Platform.LINUX_ARM64, buildArgs: { ENTRY: entry } }),
      logging: ecs.LogDrivers.awsLogs({
        streamPrefix: entry,
        logGroup: logGroup(this, "Log", { environment, key }),
        // A slow log must not stop the fold: rather a lost line.
        mode: ecs.AwsLogDriverMode.NON_BLOCKING,
        maxBufferSize: Size.mebibytes(25),
      }),
      environment: { ...props.variables },
      ...(props.secrets === undefined ? {} : { secrets: { ...props.secrets } }),
      stopTimeout: Duration.seconds(STOP_TIMEOUT_S),
      readonlyRootFilesystem: true,
      linuxParameters: new ecs.LinuxParameters(this, "Linux", { initProcessEnabled: true }),
      healthCheck: {
        command: [
          "CMD",
          "node",
          "-e",
          `fetch("http://127.0.0.1:${metricsPort}/metrics").then((answer)=>process.exit(answer.ok?0:1),()=>process.exit(1))`,
        ],
        interval: Duration.seconds(10),
        timeout: Duration.seconds(5),
        retries: 3,
        startPeriod: Duration.seconds(120),
      },
    });
    container.addMountPoints({ sourceVolume: "scratch", containerPath: "/scratch", readOnly: false });
    this.taskRole = definition.taskRole;
    this.service = new ecs.FargateService(this, "Service", {
      cluster,
      taskDefinition: definition,
      desiredCount: tasks,
      securityGroups: [securityGroup],
      vpcSubnets: { subnets: vpc.privateSubnets },
      assignPublicIp: false,
      circuitBreaker: { enable: true, rollback: true },
      ...(hasMembers ? { minHealthyPercent: 100, maxHealthyPercent: 200 } : { minHealthyPercent: 0, maxHealthyPercent: 100 }),
      availabilityZoneRebalancing: hasMembers ? ecs.AvailabilityZoneRebalancing.ENABLED : ecs.AvailabilityZoneRebalancing.DISABLED,
      enableExecuteCommand: false,
      propagateTags: ecs.PropagatedTagSource.SERVICE,
    });
    acknowledge(definition, {
      "AwsSolutions-ECS2": "the variables are names and addresses; every credential comes from Secrets Manager or the task's role",
    });
    acknowledgeWildcards(definition, [[/^Resource::\*$/, "ecr:GetAuthorizationToken knows no resource"]]);
  }
}
