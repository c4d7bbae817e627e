/** ClickHouse on instances that heal: replicas and Keepers in zones of their own, one name before them, users by secrets, backups into a bucket. */
import { mkdtempSync, cpSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duration, RemovalPolicy, Stack } from "aws-cdk-lib";
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as elb from "aws-cdk-lib/aws-elasticloadbalancingv2";
import * as targets from "aws-cdk-lib/aws-elasticloadbalancingv2-targets";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as route53 from "aws-cdk-lib/aws-route53";
import * as route53targets from "aws-cdk-lib/aws-route53-targets";
import type * as s3 from "aws-cdk-lib/aws-s3";
import * as s3assets from "aws-cdk-lib/aws-s3-assets";
import * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import type { Construct } from "constructs";
import { acknowledge, acknowledgeWildcards } from "../checks/acknowledge.ts";
import {
  agentJson,
  clickhouseJob,
  keeperXml,
  nodeNames,
  prometheusYaml,
  serverXml,
  usersXml,
  zoneName,
} from "../clickhouse/config-files.ts";
import type { Environment } from "../config/environment.ts";
import { logGroup } from "../constructs/log-group.ts";
import { PersistentNode } from "../constructs/persistent-node.ts";
import { PORTS } from "../constructs/security-groups.ts";
import { bucketReference } from "./objects-stack.ts";
import type { KeyDomain } from "./security-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

const FOLDER = join(import.meta.dirname, "../clickhouse");
const USERS = ["sinks", "operator", "analyst", "api", "interserver"] as const;
type User = (typeof USERS)[number];

export interface ClickhouseEndpoint {
  readonly url: string;
  readonly sinksLogin: secretsmanager.ISecret;
  readonly operatorLogin: secretsmanager.ISecret;
  readonly apiLogin: secretsmanager.ISecret;
  /** Each for itself, past the balancer: migrations are a matter of each replica. */
  readonly replicaUrls: readonly string[];
  /** SSM parameter with the authority's certificate, which the first node writes. */
  readonly caParameter: string;
}

export interface ClickhouseStackProps extends WeirStackProps {
  readonly vpc: ec2.IVpc;
  readonly groups: Readonly<Record<"clickhouse" | "keeper" | "balancer", ec2.ISecurityGroup>>;
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;
}

/** Scripts as they are, configuration as the environment wants it. */
export function writeNodeFiles(folder: string, environment: Environment): void {
  for (const file of readdirSync(FOLDER)) if (!file.endsWith(".ts")) cpSync(join(FOLDER, file), join(folder, file));
  const made = {
    "server.xml": serverXml(environment),
    "users.xml": usersXml(environment),
    "keeper.xml": keeperXml(environment),
    "agent.json": agentJson(environment),
    "prometheus.yaml": prometheusYaml(environment),
  };
  for (const [file, content] of Object.entries(made)) writeFileSync(join(folder, file), content);
}

export class ClickhouseStack extends WeirStack {
  readonly endpoint: ClickhouseEndpoint;
  readonly replicas: readonly PersistentNode[];
  readonly keepers: readonly PersistentNode[];

  readonly #props: ClickhouseStackProps;
  readonly #backups: s3.IBucket;
  readonly #zone: route53.PrivateHostedZone;

  constructor(scope: Construct, props: ClickhouseStackProps) {
    super(scope, "clickhouse", props);
    this.#props = props;
    this.#backups = bucketReference(this, "backups");
    const { environment, vpc } = props;
    this.#zone = new route53.PrivateHostedZone(this, "Zone", { zoneName: zoneName(environment), vpc });
    const logins = Object.fromEntries(USERS.map((user) => [user, this.#login(user)])) as Record<User, secretsmanager.Secret>;
    const folder = mkdtempSync(join(tmpdir(), "weir-node-"));
    writeNodeFiles(folder, environment);
    const files = new s3assets.Asset(this, "Files", { path: folder });
    this.keepers = this.#nodes("keeper", files, {});
    this.replicas = this.#nodes("clickhouse", files, logins);
    this.replicas[0]!.node.addDependency(...this.keepers);
    this.#addBalancer();
    this.endpoint = {
      url: `https://clickhouse.${zoneName(environment)}:${PORTS.clickhouseHttps}`,
      sinksLogin: logins.sinks,
      operatorLogin: logins.operator,
      apiLogin: logins.api,
      replicaUrls: nodeNames("clickhouse", environment).map((name) => `https://${name}.${zoneName(environment)}:${PORTS.clickhouseHttps}`),
      caParameter: this.parameterName("clickhouse/ca"),
    };
    logGroup(this, "Metrics", { environment, key: props.keys.operations, name: `/weir/${environment.name}/clickhouse-metrics` });
  }

  #login(user: User): secretsmanager.Secret {
    const login = new secretsmanager.Secret(this, `${user[0]!.toUpperCase()}${user.slice(1)}Login`, {
      encryptionKey: this.#props.keys.stores,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ username: user }),
        generateStringKey: "password",
        passwordLength: 40,
        excludePunctuation: true,
      },
      removalPolicy: this.removalPolicy,
    });
    acknowledge(login, { "AwsSolutions-SMG4": "nodes read it at their start: rotated by replacing them one by one (docs/SECURITY.md)" });
    return login;
  }

  #nodes(
    role: "clickhouse" | "keeper",
    files: s3assets.Asset,
    logins: Readonly<Partial<Record<User, secretsmanager.Secret>>>,
  ): PersistentNode[] {
    const { environment, vpc, groups, keys } = this.#props;
    const { clickhouse, isDurable } = environment;
    const isKeeper = role === "keeper";
    const nodeRole = this.#role(role, files, Object.values(logins));
    const secrets = Object.entries(logins).map(([user, login]) => [`${user.toUpperCase()}_SECRET`, login.secretArn]);
    let before: PersistentNode | undefined;
    return nodeNames(role, environment).map((name, i) => {
      const node = new PersistentNode(this, `${role[0]!.toUpperCase()}${role.slice(1)}${i + 1}`, {
        name,
        environmentName: environment.name,
        vpc,
        subnet: vpc.privateSubnets[i % vpc.privateSubnets.length]!,
        securityGroup: groups[role],
        role: nodeRole,
        instanceType: isKeeper ? clickhouse.keeperInstanceType : clickhouse.instanceType,
        volume: isKeeper
          ? { sizeGib: 20, iops: 3_000, throughputMbPerS: 125 }
          : { sizeGib: clickhouse.volumeGib, iops: clickhouse.volumeIops, throughputMbPerS: clickhouse.volumeMbPerS },
        key: keys.stores,
        removalPolicy: isDurable ? RemovalPolicy.SNAPSHOT : RemovalPolicy.DESTROY,
        isDurable,
        zone: this.#zone,
        files,
        variables: {
          ROLE: role,
          VERSION: clickhouse.version,
          SERVICE_NAME: `clickhouse.${zoneName(environment)}`,
          PARAMETERS: this.parameterName("clickhouse"),
          STORES_KEY: keys.stores.keyArn,
          ...(isKeeper
            ? {}
            : {
                BACKUP_URL: `https://${this.#backups.bucketName}.s3.${environment.region}.amazonaws.com`,
                JOB: clickhouseJob(environment),
                ...Object.fromEntries(secrets),
              }),
        },
      });
      // Keepers hold their quorum together, so they come up together; replicas one after the other.
      if (!isKeeper && before !== undefined) node.node.addDependency(before);
      before = node;
      return node;
    });
  }

  /** Attaching is allowed only with what carries this environment's tags; the rest names its resources. */
  #role(role: string, files: s3assets.Asset, logins: readonly secretsmanager.Secret[]): iam.Role {
    const { keys, environment } = this.#props;
    const backups = this.#backups;
    const { region, account, partition } = Stack.of(this);
    const nodeRole = new iam.Role(this, `${role[0]!.toUpperCase()}${role.slice(1)}Role`, {
      assumedBy: new iam.ServicePrincipal("ec2.amazonaws.com"),
      managedPolicies: [iam.ManagedPolicy.fromAwsManagedPolicyName("AmazonSSMManagedInstanceCore")],
    });
    const ec2Arn = (kind: string): string => `arn:${partition}:ec2:${region}:${account}:${kind}/*`;
    const allow = (actions: string[], resources: string[], conditions?: Record<string, Record<string, string>>): void =>
      void nodeRole.addToPolicy(new iam.PolicyStatement({ actions, resources, ...(conditions === undefined ? {} : { conditions }) }));
    const ours = { StringEquals: { "aws:ResourceTag/project": "weir", "aws:ResourceTag/environment": environment.name } };
    allow(["ec2:AttachVolume"], [ec2Arn("volume"), ec2Arn("instance")], ours);
    allow(["ec2:AttachNetworkInterface"], [ec2Arn("network-interface"), ec2Arn("instance")], ours);
    const parameter = `arn:${partition}:ssm:${region}:${account}:parameter${this.parameterName("clickhouse")}`;
    allow(["ssm:GetParameter", "ssm:PutParameter"], [`${parameter}/ca`, `${parameter}/ca-key`]);
    allow(
      ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey"],
      [keys.stores.keyArn],
    );
    allow(["kms:CreateGrant"], [keys.stores.keyArn], { Bool: { "kms:GrantIsForAWSResource": "true" } });
    allow(["cloudwatch:PutMetricData"], ["*"], { StringLike: { "cloudwatch:namespace": "Weir/ClickHouse" } });
    allow(["cloudwatch:PutMetricData"], ["*"], { StringLike: { "cloudwatch:namespace": "CWAgent" } });
    allow(["ec2:DescribeTags"], ["*"]);
    const logGroup = `arn:${partition}:logs:${region}:${account}:log-group:/weir/${environment.name}/clickhouse-metrics`;
    allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [logGroup, `${logGroup}:*`]);
    files.grantRead(nodeRole);
    if (logins.length > 0) {
      allow(
        ["secretsmanager:GetSecretValue"],
        logins.map(({ secretArn }) => secretArn),
      );
      allow(["s3:ListBucket"], [backups.bucketArn]);
      allow(["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"], [backups.arnForObjects("*")]);
      allow(["kms:Decrypt", "kms:GenerateDataKey"], [keys.objects.keyArn]);
      // What the other region left behind, for RESTORE (docs/DEPLOY.md, "A second region").
      if (environment.site === "standby") {
        const copies = bucketReference(this, "backups-copy");
        allow(["s3:ListBucket"], [copies.bucketArn]);
        allow(["s3:GetObject"], [copies.arnForObjects("*")]);
      }
    }
    acknowledge(nodeRole, {
      "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonSSMManagedInstanceCore]":
        "the only way onto an instance is a Session Manager session, which this policy is made for",
    });
    acknowledgeWildcards(nodeRole, [
      [/:ec2:.*:(volume|instance|network-interface)\/\*$/, "bound by condition to what carries this environment's tags"],
      [/^Resource::\*$/, "PutMetricData, bound by condition to two namespaces, and DescribeTags know no resource"],
      [/clickhouse-metrics:\*$/, "the streams of its own log group"],
      [/^Action::s3:(GetBucket|GetObject|List)\*$/, "aws-cdk-lib's grant to read an asset: reads only"],
      [/:s3:::cdk-/, "assets of this deployment, read only"],
      [/:s3:::weir-.*backups.*\/\*$/, "every object of the bucket of backups, none of which it may delete"],
    ]);
    return nodeRole;
  }

  /** TLS goes through to the replicas, whose certificates hold the service's name. */
  #addBalancer(): void {
    const { vpc, groups, environment } = this.#props;
    const balancer = new elb.NetworkLoadBalancer(this, "Balancer", {
      vpc,
      internetFacing: false,
      vpcSubnets: { subnets: vpc.privateSubnets },
      securityGroups: [groups.balancer],
      crossZoneEnabled: true,
      deletionProtection: environment.isDurable,
    });
    balancer.addListener("Https", {
      port: PORTS.clickhouseHttps,
      protocol: elb.Protocol.TCP,
      defaultTargetGroups: [
        new elb.NetworkTargetGroup(this, "Replicas", {
          vpc,
          port: PORTS.clickhouseHttps,
          protocol: elb.Protocol.TCP,
          targetType: elb.TargetType.IP,
          targets: this.replicas.map(({ address }) => new targets.IpTarget(address, PORTS.clickhouseHttps)),
          healthCheck: { protocol: elb.Protocol.HTTPS, path: "/ping", interval: Duration.seconds(10), healthyThresholdCount: 2 },
          deregistrationDelay: Duration.seconds(30),
        }),
      ],
    });
    new route53.ARecord(this, "ServiceName", {
      zone: this.#zone,
      recordName: "clickhouse",
      target: route53.RecordTarget.fromAlias(new route53targets.LoadBalancerTarget(balancer)),
    });
    acknowledge(balancer, {
      "AwsSolutions-ELB2":
        "flow logs of the network and ClickHouse's own query log say who asked what; access logs of a TCP listener hold neither",
    });
  }
}
