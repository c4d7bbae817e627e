/** A Lambda function that is called now and then: by CloudFormation or by an operator, never by events. In the network, on Graviton, with the least role that works. */
import { Duration } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { Construct } from "constructs";
import { acknowledgeWildcards } from "../checks/acknowledge.ts";
import type { Environment } from "../config/environment.ts";
import { logGroup } from "./log-group.ts";

/** Each a folder of `functions/`. */
export const OPERATIONS = ["kafka-access", "migrations", "rules-publisher", "redrive"] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Known beforehand, for whoever invokes it and for its alarm. */
export function operationName({ name }: Pick<Environment, "name">, operation: Operation): string {
  return `weir-${name}-${operation}`;
}

export interface OperationFunctionProps {
  readonly environment: Environment;
  readonly operation: Operation;
  readonly description: string;
  /** The bundle's folder, with handler.mjs. */
  readonly codeFolder: string;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  /** Of logs and variables. */
  readonly key: kms.IKey;
  readonly timeoutS: number;
  readonly variables: Readonly<Record<string, string>>;
  readonly statements: readonly iam.PolicyStatement[];
  /** By Lambda, when it was invoked without waiting for the answer. */
  readonly retries: 0 | 2;
}

export class OperationFunction extends Construct {
  readonly function: lambda.Function;

  constructor(scope: Construct, id: string, props: OperationFunctionProps) {
    super(scope, id);
    const { environment, operation, key, vpc } = props;
    const log = logGroup(this, "Log", { environment, key });
    const network = new iam.PolicyStatement({
      actions: ["CreateNetworkInterface", "DeleteNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets"]
        .concat("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")
        .map((action) => `ec2:${action}`),
      resources: ["*"],
    });
    const statements = [network, new iam.PolicyStatement({ actions: ["kms:Decrypt"], resources: [key.keyArn] }), ...props.statements];
    // Inline, so that it is there with the role: Lambda refuses a function in a network whose role lacks these.
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
      inlinePolicies: { Access: new iam.PolicyDocument({ statements }) },
    });
    log.grantWrite(role);
    this.function = new lambda.Function(this, "Function", {
      functionName: operationName(environment, operation),
      description: `weir ${environment.name}: ${props.description}`,
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      handler: "handler.handler",
      code: lambda.Code.fromAsset(props.codeFolder),
      memorySize: 512,
      timeout: Duration.seconds(props.timeoutS),
      role,
      vpc,
      vpcSubnets: { subnets: vpc.privateSubnets },
      securityGroups: [props.securityGroup],
      environmentEncryption: key,
      // Amazon's authorities, that of RDS among them, which Node does not know and which Lambda reads only when told (Lambda guide, Node.js runtime).
      environment: { NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem", ...props.variables },
      logGroup: log,
      loggingFormat: lambda.LoggingFormat.JSON,
      retryAttempts: props.retries,
    });
    acknowledgeWildcards(this, [
      [/^Resource::\*$/, "EC2's network interface calls know no resource (Lambda guide, execution role for VPC access)"],
      [/:s3:::weir-.*\/rules\/\*$/, "every rules release"],
    ]);
  }
}
