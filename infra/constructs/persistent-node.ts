/**
 * One node that is always the same node: a group of one instance in one zone, whose volume and address stay when the instance goes. A dead instance
 * is replaced by its group and takes both over in its first start (clickhouse/node.sh), so recovery needs nobody. Stateless otherwise: an update
 * replaces the instance, one node after the other, each waiting until the one before reports that it serves.
 */
import { Duration, type RemovalPolicy, Stack, Tags } from "aws-cdk-lib";
import * as autoscaling from "aws-cdk-lib/aws-autoscaling";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import type * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as route53 from "aws-cdk-lib/aws-route53";
import type * as s3assets from "aws-cdk-lib/aws-s3-assets";
import { Construct } from "constructs";
import { acknowledge } from "../checks/acknowledge.ts";

export interface PersistentNodeProps {
  /** Of the DNS name too. */
  readonly name: string;
  readonly environmentName: string;
  readonly vpc: ec2.IVpc;
  readonly subnet: ec2.ISubnet;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly role: iam.IRole;
  readonly instanceType: string;
  readonly volume: { readonly sizeGib: number; readonly iops: number; readonly throughputMbPerS: number };
  readonly key: kms.IKey;
  readonly removalPolicy: RemovalPolicy;
  readonly isDurable: boolean;
  readonly zone: route53.IPrivateHostedZone;
  /** Zip with node.sh. */
  readonly files: s3assets.Asset;
  /** For node.sh, beside what this construct knows itself. */
  readonly variables: Readonly<Record<string, string>>;
}

export class PersistentNode extends Construct {
  readonly name: string;
  readonly group: autoscaling.AutoScalingGroup;
  readonly volume: ec2.CfnVolume;
  readonly address: string;

  constructor(scope: Construct, id: string, props: PersistentNodeProps) {
    super(scope, id);
    const { vpc, subnet, securityGroup, role, zone, name, volume, key, isDurable } = props;
    const { region, stackName } = Stack.of(this);
    this.name = name;
    this.volume = new ec2.CfnVolume(this, "Volume", {
      availabilityZone: subnet.availabilityZone,
      volumeType: "gp3",
      size: volume.sizeGib,
      iops: volume.iops,
      throughput: volume.throughputMbPerS,
      encrypted: true,
      kmsKeyId: key.keyArn,
      tags: [{ key: "Name", value: name }],
    });
    this.volume.applyRemovalPolicy(props.removalPolicy);
    const face = new ec2.CfnNetworkInterface(this, "Address", {
      subnetId: subnet.subnetId,
      groupSet: [securityGroup.securityGroupId],
      description: name,
    });
    this.address = face.attrPrimaryPrivateIpAddress;
    new route53.ARecord(this, "Name", {
      zone,
      recordName: name,
      target: route53.RecordTarget.fromIpAddresses(this.address),
      ttl: Duration.minutes(1),
    });

    const userData = ec2.UserData.forLinux();
    const template = new ec2.LaunchTemplate(this, "Template", {
      machineImage: ec2.MachineImage.latestAmazonLinux2023({ cpuType: ec2.AmazonLinuxCpuType.ARM_64 }),
      instanceType: new ec2.InstanceType(props.instanceType),
      role,
      securityGroup,
      userData,
      requireImdsv2: true,
      detailedMonitoring: isDurable,
      // Holds nothing of ours. With AWS's own key: one of ours would need a grant to a role that a new account does not have yet.
      blockDevices: [
        { deviceName: "/dev/xvda", volume: ec2.BlockDeviceVolume.ebs(20, { encrypted: true, volumeType: ec2.EbsDeviceVolumeType.GP3 }) },
      ],
    });
    this.group = new autoscaling.AutoScalingGroup(this, "Group", {
      vpc,
      vpcSubnets: { subnets: [subnet] },
      launchTemplate: template,
      minCapacity: 1,
      maxCapacity: 1,
      signals: autoscaling.Signals.waitForAll({ timeout: Duration.minutes(20) }),
      updatePolicy: autoscaling.UpdatePolicy.rollingUpdate({
        minInstancesInService: 0,
        maxBatchSize: 1,
        pauseTime: Duration.minutes(20),
        waitOnResourceSignals: true,
      }),
      groupMetrics: [autoscaling.GroupMetrics.all()],
    });
    Tags.of(this.group).add("Name", name);
    // The role may attach only what carries these; a group hands them to its instances.
    Tags.of(this).add("project", "weir");
    Tags.of(this).add("environment", props.environmentName);
    const variables = {
      NODE: name,
      REGION: region,
      VOLUME_ID: this.volume.ref,
      INTERFACE_ID: face.ref,
      FULL_NAME: `${name}.${zone.zoneName}`,
      ...props.variables,
    };
    const resource = Stack.of(this).getLogicalId(this.group.node.defaultChild as autoscaling.CfnAutoScalingGroup);
    userData.addCommands(
      "set -euo pipefail",
      `trap '/opt/aws/bin/cfn-signal --exit-code $? --stack ${stackName} --resource ${resource} --region ${region}' EXIT`,
      ...Object.entries(variables).map(([variable, value]) => `export ${variable}='${value}'`),
      "mkdir -p /opt/weir && cd /opt/weir",
      `aws s3 cp --region ${region} s3://${props.files.s3BucketName}/${props.files.s3ObjectKey} files.zip`,
      "python3 -m zipfile -e files.zip .",
      "bash node.sh",
    );
    this.group.node.addDependency(role);
    acknowledge(this.group, { "AwsSolutions-AS3": "one instance that never scales; its end and its start show in alarms of their own" });
  }
}
