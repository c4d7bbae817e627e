/** The read API's function: in the network, with logins that may read and nothing else, and warm as far as its environment pays for it. */
import { Duration } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as lambda from "aws-cdk-lib/aws-lambda";
import { Construct } from "constructs";
import { acknowledgeWildcards } from "../checks/acknowledge.ts";
import type { Environment } from "../config/environment.ts";
import { logGroup } from "./log-group.ts";

/** Known beforehand, for alarms: of the API, and of its function. */
export function apiName({ name }: Pick<Environment, "name">): string {
  return `weir-${name}-api`;
}

export interface ApiFunctionProps {
  readonly environment: Environment;
  /** The bundle's folder, with handler.mjs. */
  readonly codeFolder: string;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  /** `operations` of logs and variables, `stores` of the logins. */
  readonly keys: Readonly<Record<"operations" | "stores", kms.IKey>>;
  readonly secretArns: readonly string[];
  readonly variables: Readonly<Record<string, string>>;
}

/** Both stores' time-outs one after the other (shared/read/reader.ts), and a start. */
const TIMEOUT_S = 10;

export class ApiFunction extends Construct {
  readonly alias: lambda.Alias;

  constructor(scope: Construct, id: string, props: ApiFunctionProps) {
    super(scope, id);
    const { environment, keys, vpc, secretArns } = props;
    const { provisionedConcurrency, reservedConcurrency } = environment.api;
    const log = logGroup(this, "Log", { environment, key: keys.operations });
    const network = ["CreateNetworkInterface", "DeleteNetworkInterface", "DescribeNetworkInterfaces", "DescribeSubnets"]
      .concat("AssignPrivateIpAddresses", "UnassignPrivateIpAddresses")
      .map((action) => `ec2:${action}`);
    const statements = [
      new iam.PolicyStatement({ actions: network, resources: ["*"] }),
      new iam.PolicyStatement({ actions: ["secretsmanager:GetSecretValue"], resources: [...secretArns] }),
      new iam.PolicyStatement({ actions: ["kms:Decrypt"], resources: [keys.operations.keyArn, keys.stores.keyArn] }),
    ];
    // Inline, so that it is there with the role: Lambda refuses a function in a network whose role lacks these.
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("lambda.amazonaws.com"),
      inlinePolicies: { Access: new iam.PolicyDocument({ statements }) },
    });
    log.grantWrite(role);
    const code = new lambda.Function(this, "Function", {
      functionName: apiName(environment),
      description: `weir ${environment.name}: the read API`,
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      handler: "handler.handler",
      code: lambda.Code.fromAsset(props.codeFolder),
      memorySize: 1_024,
      timeout: Duration.seconds(TIMEOUT_S),
      role,
      vpc,
      vpcSubnets: { subnets: vpc.privateSubnets },
      securityGroups: [props.securityGroup],
      environmentEncryption: keys.operations,
      // Amazon's authorities, which Node does not know and which Lambda reads only when told (Lambda guide, Node.js runtime).
      environment: { NODE_EXTRA_CA_CERTS: "/var/runtime/ca-cert.pem", ...props.variables },
      logGroup: log,
      loggingFormat: lambda.LoggingFormat.JSON,
      tracing: lambda.Tracing.ACTIVE,
      ...(reservedConcurrency === null ? {} : { reservedConcurrentExecutions: reservedConcurrency }),
    });
    this.alias = new lambda.Alias(this, "Live", {
      aliasName: "live",
      version: code.currentVersion,
      ...(provisionedConcurrency === 0 ? {} : { provisionedConcurrentExecutions: provisionedConcurrency }),
    });
    acknowledgeWildcards(this, [
      [
        /^Resource::\*$/,
        "EC2's network interface calls and X-Ray's put calls know no resource (Lambda guide, execution role for VPC access)",
      ],
    ]);
  }
}
