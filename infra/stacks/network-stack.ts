/** A network without any public address but the NAT gateways': three zones, private subnets for what calls out, isolated ones for stores. */
import * as ec2 from "aws-cdk-lib/aws-ec2";
import type * as kms from "aws-cdk-lib/aws-kms";
import type { Construct } from "constructs";
import { acknowledgeProviders } from "../checks/acknowledge.ts";
import { logGroup } from "../constructs/log-group.ts";
import { SecurityGroups } from "../constructs/security-groups.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

const INTERFACE_ENDPOINTS: Readonly<Record<string, ec2.InterfaceVpcEndpointAwsService>> = {
  SecretsManager: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
  Kms: ec2.InterfaceVpcEndpointAwsService.KMS,
  Logs: ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
  Monitoring: ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING,
  Ssm: ec2.InterfaceVpcEndpointAwsService.SSM,
  SsmMessages: ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES,
  EcrApi: ec2.InterfaceVpcEndpointAwsService.ECR,
  EcrDocker: ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
  Sts: ec2.InterfaceVpcEndpointAwsService.STS,
};

export interface NetworkStackProps extends WeirStackProps {
  readonly operationsKey: kms.IKey;
}

export class NetworkStack extends WeirStack {
  readonly vpc: ec2.Vpc;
  readonly groups: SecurityGroups["of"];

  constructor(scope: Construct, props: NetworkStackProps) {
    super(scope, "network", props);
    const { cidr, natGateways, hasInterfaceEndpoints } = this.config.network;
    this.vpc = new ec2.Vpc(this, "Vpc", {
      ipAddresses: ec2.IpAddresses.cidr(cidr),
      maxAzs: 3,
      natGateways,
      subnetConfiguration: [
        { name: "public", subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
        { name: "private", subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS, cidrMask: 19 },
        { name: "store", subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 22 },
      ],
      gatewayEndpoints: { S3: { service: ec2.GatewayVpcEndpointAwsService.S3 } },
      flowLogs: {
        Rejected: {
          destination: ec2.FlowLogDestination.toCloudWatchLogs(
            logGroup(this, "FlowLog", { environment: this.config, key: props.operationsKey }),
          ),
          trafficType: ec2.FlowLogTrafficType.REJECT,
        },
      },
    });
    this.groups = new SecurityGroups(this, "Groups", { vpc: this.vpc }).of;
    if (hasInterfaceEndpoints) {
      const securityGroups = [this.groups.endpoints];
      for (const [name, service] of Object.entries(INTERFACE_ENDPOINTS)) {
        this.vpc.addInterfaceEndpoint(name, { service, privateDnsEnabled: true, securityGroups, open: false });
      }
    }
    acknowledgeProviders(this);
  }
}
