/**
 * Who talks to whom, pair by pair. What is not in the table cannot connect: stores may not open connections at all, clients may open only these
 * and TLS to AWS. All groups stand in the network's stack, so that no rule ties two stacks in a ring.
 */
import * as ec2 from "aws-cdk-lib/aws-ec2";
import { Construct } from "constructs";

export const PORTS = {
  kafkaScram: 9096,
  kafkaIam: 9098,
  valkey: 6380,
  /** Not PostgreSQL's default, which scanners know. */
  postgres: 5433,
  clickhouseHttps: 8443,
  clickhouseNative: 9440,
  clickhouseInterserver: 9010,
  keeperClient: 9281,
  keeperRaft: 9234,
  https: 443,
} as const;

const MEMBERS = {
  kafka: "brokers, and the pollers that Lambda puts beside them",
  producers: "whoever sends events: attach it to producers inside this network",
  validator: "validator function",
  processor: "processor tasks",
  sinks: "sinks task",
  api: "function of the read API",
  readers: "whoever asks the read API: attach it to services inside this network",
  operators: "tasks of operators: migrations, rules, verify",
  valkey: "Valkey nodes",
  postgres: "PostgreSQL",
  balancer: "balancer before ClickHouse",
  clickhouse: "ClickHouse replicas",
  keeper: "ClickHouse Keepers",
  endpoints: "interface endpoints of AWS services",
  apiEndpoint: "interface endpoint of the read API",
} as const;

export type Member = keyof typeof MEMBERS;

/** They call AWS (KMS, S3, logs, package repositories) over TLS. */
const CALLERS: readonly Member[] = ["validator", "processor", "sinks", "api", "operators", "clickhouse", "keeper"];

const PAIRS: readonly (readonly [from: Member, to: Member, port: keyof typeof PORTS])[] = [
  ["kafka", "kafka", "kafkaIam"],
  ["kafka", "kafka", "kafkaScram"],
  ["producers", "kafka", "kafkaScram"],
  ["producers", "kafka", "kafkaIam"],
  ["validator", "kafka", "kafkaIam"],
  ["processor", "kafka", "kafkaIam"],
  ["sinks", "kafka", "kafkaIam"],
  ["operators", "kafka", "kafkaIam"],
  ["sinks", "valkey", "valkey"],
  ["api", "valkey", "valkey"],
  ["operators", "valkey", "valkey"],
  ["operators", "postgres", "postgres"],
  ["sinks", "balancer", "clickhouseHttps"],
  ["api", "balancer", "clickhouseHttps"],
  ["readers", "apiEndpoint", "https"],
  ["operators", "apiEndpoint", "https"],
  ["operators", "balancer", "clickhouseHttps"],
  ["operators", "clickhouse", "clickhouseHttps"],
  ["balancer", "clickhouse", "clickhouseHttps"],
  ["clickhouse", "clickhouse", "clickhouseInterserver"],
  ["clickhouse", "clickhouse", "clickhouseNative"],
  ["clickhouse", "keeper", "keeperClient"],
  ["keeper", "keeper", "keeperRaft"],
  ...CALLERS.map((caller) => [caller, "endpoints", "https"] as const),
];

export class SecurityGroups extends Construct {
  readonly of: Readonly<Record<Member, ec2.SecurityGroup>>;

  constructor(scope: Construct, id: string, { vpc }: { readonly vpc: ec2.IVpc }) {
    super(scope, id);
    const groups = Object.entries(MEMBERS).map(([member, description]) => {
      const name = `${member[0]!.toUpperCase()}${member.slice(1)}`;
      return [member, new ec2.SecurityGroup(this, name, { vpc, description, allowAllOutbound: false })] as const;
    });
    this.of = Object.fromEntries(groups) as Record<Member, ec2.SecurityGroup>;
    for (const [from, to, port] of PAIRS) {
      // Separate resources, since a pair may be a group with itself.
      const rule = { ipProtocol: "tcp", fromPort: PORTS[port], toPort: PORTS[port], description: `${from} to ${to}: ${port}` };
      new ec2.CfnSecurityGroupIngress(this, `${from}-${to}-${port}-in`, {
        ...rule,
        groupId: this.of[to].securityGroupId,
        sourceSecurityGroupId: this.of[from].securityGroupId,
      });
      new ec2.CfnSecurityGroupEgress(this, `${from}-${to}-${port}-out`, {
        ...rule,
        groupId: this.of[from].securityGroupId,
        destinationSecurityGroupId: this.of[to].securityGroupId,
      });
    }
    for (const member of CALLERS) this.of[member].addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), "AWS and package repositories, TLS");
  }
}
