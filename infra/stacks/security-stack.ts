/**
 * Keys by kind of data, and the topics that wake people. Its own stack, the first: keys outlive everything they encrypt.
 * `stream`: what Kafka stores and SCRAM logins; `objects`: snapshots, rules, backups; `stores`: PostgreSQL, Valkey, ClickHouse; `operations`: logs, alarms.
 */
import { Duration, Stack } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import * as kms from "aws-cdk-lib/aws-kms";
import type { Construct } from "constructs";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

const DOMAINS = ["stream", "objects", "stores", "operations"] as const;
export type KeyDomain = (typeof DOMAINS)[number];

export class SecurityStack extends WeirStack {
  /** As others see them: whoever may use one gets that in the own role, never in the key's policy, which would tie the stacks in a ring. */
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;

  constructor(scope: Construct, props: WeirStackProps) {
    super(scope, "security", props);
    const keyOf = (domain: KeyDomain): kms.Key =>
      new kms.Key(this, `${domain[0]!.toUpperCase()}${domain.slice(1)}Key`, {
        alias: `weir/${this.config.name}/${domain}`,
        description: `weir ${this.config.name}: ${domain}`,
        enableKeyRotation: true,
        pendingWindow: Duration.days(this.config.isDurable ? 30 : 7),
        removalPolicy: this.removalPolicy,
      });
    const keys = { stream: keyOf("stream"), objects: keyOf("objects"), stores: keyOf("stores"), operations: keyOf("operations") };
    this.#letServicesEncrypt(keys);
    const seen = (domain: KeyDomain): kms.IKey => kms.Key.fromKeyArn(this, `Seen${domain}`, keys[domain].keyArn);
    this.keys = { stream: seen("stream"), objects: seen("objects"), stores: seen("stores"), operations: seen("operations") };
  }

  /** Services that encrypt in their own name need the key's policy; what acts in a role's name needs only the role's. */
  #letServicesEncrypt(keys: Readonly<Record<KeyDomain, kms.Key>>): void {
    const { region, account, partition } = Stack.of(this);
    keys.operations.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: [new iam.ServicePrincipal(`logs.${region}.amazonaws.com`)],
        actions: ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"],
        resources: ["*"],
        conditions: { ArnLike: { "kms:EncryptionContext:aws:logs:arn": `arn:${partition}:logs:${region}:${account}:log-group:*` } },
      }),
    );
    keys.operations.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: ["cloudwatch", "events", "budgets", "backup"].map((service) => new iam.ServicePrincipal(`${service}.amazonaws.com`)),
        actions: ["kms:Decrypt", "kms:GenerateDataKey*"],
        resources: ["*"],
        conditions: { StringEquals: { "aws:SourceAccount": account } },
      }),
    );
    // MSK reads SCRAM secrets through Secrets Manager.
    keys.stream.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: [new iam.AnyPrincipal()],
        actions: ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"],
        resources: ["*"],
        conditions: { StringEquals: { "kms:CallerAccount": account, "kms:ViaService": `secretsmanager.${region}.amazonaws.com` } },
      }),
    );
  }
}
