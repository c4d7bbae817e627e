/** Valkey for hot values and PostgreSQL for metadata, rules and audit. */
import { Duration, RemovalPolicy } from "aws-cdk-lib";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as elasticache from "aws-cdk-lib/aws-elasticache";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as rds from "aws-cdk-lib/aws-rds";
import * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import type { Construct } from "constructs";
import { acknowledge } from "../checks/acknowledge.ts";
import { logGroup } from "../constructs/log-group.ts";
import { PORTS } from "../constructs/security-groups.ts";
import type { KeyDomain } from "./security-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

/** RDS keeps its own at most so long; the backup plan keeps them longer. */
const RDS_RETENTION_DAYS_MAX = 35;

export interface StoresStackProps extends WeirStackProps {
  readonly vpc: ec2.IVpc;
  readonly groups: Readonly<Record<"valkey" | "postgres", ec2.ISecurityGroup>>;
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;
}

export class StoresStack extends WeirStack {
  readonly valkeyId: string;
  readonly valkeyAddress: string;
  readonly valkeyLogin: secretsmanager.Secret;
  readonly postgres: rds.DatabaseInstance;

  constructor(scope: Construct, props: StoresStackProps) {
    super(scope, "stores", props);
    this.valkeyId = `weir-${this.config.name}`;
    this.valkeyLogin = this.#login("ValkeyLogin", "weir", props.keys.stores);
    this.valkeyAddress = this.#addValkey(props).attrPrimaryEndPointAddress;
    this.postgres = this.#addPostgres(props);
  }

  #login(id: string, username: string, key: kms.IKey): secretsmanager.Secret {
    const login = new secretsmanager.Secret(this, id, {
      encryptionKey: key,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ username }),
        generateStringKey: "password",
        passwordLength: 40,
        excludePunctuation: true,
      },
      removalPolicy: this.removalPolicy,
    });
    acknowledge(login, { "AwsSolutions-SMG4": "Valkey takes two passwords at a time: rotated by hand without a gap (docs/SECURITY.md)" });
    return login;
  }

  /** Two users: ours, and Valkey's built-in `default`, switched off. */
  #addUsers(key: kms.IKey): elasticache.CfnUserGroup {
    const passwordOf = (login: secretsmanager.Secret): string => login.secretValueFromJson("password").unsafeUnwrap();
    const user = (id: string, userName: string, accessString: string, login: secretsmanager.Secret): elasticache.CfnUser =>
      new elasticache.CfnUser(this, id, {
        engine: "valkey",
        userId: `${this.valkeyId}-${userName}`,
        userName,
        accessString,
        authenticationMode: { Type: "password", Passwords: [passwordOf(login)] },
      });
    const users = [
      user("ValkeyUser", "weir", "on ~* &* +@all -@dangerous -@admin +info", this.valkeyLogin),
      user("ValkeyDefault", "default", "off ~* -@all", this.#login("ValkeyDefaultLogin", "default", key)),
    ];
    const group = new elasticache.CfnUserGroup(this, "ValkeyUsers", {
      engine: "valkey",
      userGroupId: this.valkeyId,
      userIds: users.map(({ userId }) => userId),
    });
    for (const each of users) group.addResourceDependency(each);
    return group;
  }

  #addValkey({ vpc, groups, keys }: StoresStackProps): elasticache.CfnReplicationGroup {
    const { valkey, isDurable } = this.config;
    const users = this.#addUsers(keys.stores);
    const subnets = new elasticache.CfnSubnetGroup(this, "ValkeySubnets", {
      cacheSubnetGroupName: this.valkeyId,
      description: "weir: hot values",
      subnetIds: vpc.isolatedSubnets.map(({ subnetId }) => subnetId),
    });
    const parameters = new elasticache.CfnParameterGroup(this, "ValkeyParameters", {
      cacheParameterGroupFamily: "valkey8",
      description: "weir: hot values",
      // A value dropped in silence would be a lie; a write refused is retried, and the alarm sounds before.
      properties: { "maxmemory-policy": "noeviction" },
    });
    const slowLog = logGroup(this, "ValkeySlowLog", { environment: this.config, key: keys.operations });
    const group = new elasticache.CfnReplicationGroup(this, "Valkey", {
      replicationGroupId: this.valkeyId,
      replicationGroupDescription: "weir: hot values, rebuilt from the log when lost",
      engine: "valkey",
      engineVersion: "8.1",
      cacheNodeType: valkey.nodeType,
      numCacheClusters: valkey.replicas + 1,
      automaticFailoverEnabled: valkey.replicas > 0,
      multiAzEnabled: valkey.replicas > 0,
      port: PORTS.valkey,
      cacheSubnetGroupName: subnets.ref,
      cacheParameterGroupName: parameters.ref,
      securityGroupIds: [groups.valkey.securityGroupId],
      transitEncryptionEnabled: true,
      transitEncryptionMode: "required",
      atRestEncryptionEnabled: true,
      kmsKeyId: keys.stores.keyArn,
      userGroupIds: [users.ref],
      snapshotRetentionLimit: isDurable ? 7 : 1,
      logDeliveryConfigurations: [
        {
          logType: "slow-log",
          logFormat: "json",
          destinationType: "cloudwatch-logs",
          destinationDetails: { cloudWatchLogsDetails: { logGroup: slowLog.logGroupName } },
        },
      ],
      autoMinorVersionUpgrade: true,
    });
    group.applyRemovalPolicy(isDurable ? RemovalPolicy.SNAPSHOT : RemovalPolicy.DESTROY);
    if (valkey.replicas === 0) acknowledge(group, { "AwsSolutions-AEC4": "one node here: what it holds is rebuilt from the log" });
    acknowledge(group, { "AwsSolutions-AEC6": "access by users and their passwords (RBAC), which replaces the one auth token" });
    return group;
  }

  #addPostgres({ vpc, groups, keys }: StoresStackProps): rds.DatabaseInstance {
    const { postgres, isDurable, backupRetentionDays } = this.config;
    const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.VER_18_3 });
    const instanceIdentifier = `weir-${this.config.name}`;
    // RDS would make them itself, for ever and without our key.
    const logGroups = ["postgresql", "upgrade"].map((kind) =>
      logGroup(this, `PostgresLog${kind}`, {
        environment: this.config,
        key: keys.operations,
        name: `/aws/rds/instance/${instanceIdentifier}/${kind}`,
      }),
    );
    const instance = new rds.DatabaseInstance(this, "Postgres", {
      instanceIdentifier,
      engine,
      instanceType: new ec2.InstanceType(postgres.instanceClass),
      vpc,
      vpcSubnets: { subnets: vpc.isolatedSubnets },
      securityGroups: [groups.postgres],
      port: PORTS.postgres,
      databaseName: "weir",
      credentials: rds.Credentials.fromGeneratedSecret("weir_admin", { encryptionKey: keys.stores }),
      multiAz: postgres.isMultiAz,
      allocatedStorage: postgres.storageGib,
      maxAllocatedStorage: postgres.storageGib * 4,
      storageType: rds.StorageType.GP3,
      storageEncrypted: true,
      storageEncryptionKey: keys.stores,
      iamAuthentication: true,
      caCertificate: rds.CaCertificate.RDS_CA_RSA2048_G1,
      parameterGroup: new rds.ParameterGroup(this, "PostgresParameters", { engine, parameters: { "rds.force_ssl": "1" } }),
      backupRetention: Duration.days(Math.min(backupRetentionDays, RDS_RETENTION_DAYS_MAX)),
      copyTagsToSnapshot: true,
      deleteAutomatedBackups: !isDurable,
      deletionProtection: isDurable,
      removalPolicy: isDurable ? RemovalPolicy.SNAPSHOT : RemovalPolicy.DESTROY,
      publiclyAccessible: false,
      autoMinorVersionUpgrade: true,
      cloudwatchLogsExports: ["postgresql", "upgrade"],
      enablePerformanceInsights: true,
      performanceInsightEncryptionKey: keys.stores,
      performanceInsightRetention: rds.PerformanceInsightRetention.DEFAULT,
    });
    instance.node.addDependency(...logGroups);
    acknowledge(instance, {
      "AwsSolutions-SMG4":
        "the owner's login is for migrations alone and rotated by hand (docs/SECURITY.md); people and parts log in by IAM",
    });
    if (!isDurable) {
      acknowledge(instance, {
        "AwsSolutions-RDS3": "one zone here: rules that are published do not need it",
        "AwsSolutions-RDS10": "this environment is meant to be deleted without a trace",
      });
    }
    return instance;
  }
}
