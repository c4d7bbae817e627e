/** Valkey for hot values and PostgreSQL for metadata, rules and audit. */
import { Duration, RemovalPolicy } from "aws-cdk-lib";
import * as ec2 from "aws-cdk-lib/aws-ec2";
import * as elasticache from "aws-cdk-lib/aws-elasticache";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as rds from "aws-cdk-lib/aws-rds";
import * as secretsmanager from "aws-cdk-lib/aws-secretsmanager";
import type { Construct } from "constructs";
import { READER_ACCESS } from "#shared/read/redis-rights.ts";
import { acknowledge } from "../checks/acknowledge.ts";
import { logGroup } from "../constructs/log-group.ts";
import { PORTS } from "../constructs/security-groups.ts";
import type { KeyDomain } from "./security-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

/** RDS keeps its own at most so long; the backup plan keeps them longer. */
const RDS_RETENTION_DAYS_MAX = 35;

export interface StoresStackProps extends WeirStackProps {
  readonly vpc: ec2.IVpc;
  readonly groups: Readonly<Record<"valkey" | "postgres" | "operators", ec2.ISecurityGroup>>;
  readonly keys: Readonly<Record<KeyDomain, kms.IKey>>;
}

export class StoresStack extends WeirStack {
  /** In the order that decides which partition is where. */
  readonly valkeyIds: readonly string[];
  readonly valkeyAddresses: readonly string[];
  readonly valkeyLogin: secretsmanager.Secret;
  /** Of who reads hot values and changes none. */
  readonly valkeyReaderLogin: secretsmanager.Secret;
  readonly postgres: rds.DatabaseInstance;

  constructor(scope: Construct, props: StoresStackProps) {
    super(scope, "stores", props);
    const { name, valkey } = this.config;
    this.valkeyIds = Array.from({ length: valkey.groups }, (_, i) => (i === 0 ? `weir-${name}` : `weir-${name}-${i + 1}`));
    this.valkeyLogin = this.#login("ValkeyLogin", "weir", props.keys.stores);
    this.valkeyReaderLogin = this.#login("ValkeyReaderLogin", "reader", props.keys.stores);
    this.valkeyAddresses = this.#addValkey(props).map(({ attrPrimaryEndPointAddress }) => attrPrimaryEndPointAddress);
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

  /** Two users of ours, and Valkey's built-in `default`, switched off. */
  #addUsers(key: kms.IKey): elasticache.CfnUserGroup {
    const passwordOf = (login: secretsmanager.Secret): string => login.secretValueFromJson("password").unsafeUnwrap();
    const user = (id: string, userName: string, accessString: string, login: secretsmanager.Secret): elasticache.CfnUser =>
      new elasticache.CfnUser(this, id, {
        engine: "valkey",
        userId: `${this.valkeyIds[0]}-${userName}`,
        userName,
        accessString,
        authenticationMode: { Type: "password", Passwords: [passwordOf(login)] },
      });
    const users = [
      user("ValkeyUser", "weir", "on ~* &* +@all -@dangerous -@admin +info", this.valkeyLogin),
      user("ValkeyReader", "reader", READER_ACCESS, this.valkeyReaderLogin),
      user("ValkeyDefault", "default", "off ~* -@all", this.#login("ValkeyDefaultLogin", "default", key)),
    ];
    const group = new elasticache.CfnUserGroup(this, "ValkeyUsers", {
      engine: "valkey",
      userGroupId: this.valkeyIds[0]!,
      userIds: users.map(({ userId }) => userId),
    });
    for (const each of users) group.addResourceDependency(each);
    return group;
  }

  /** Groups of one shard each and not one cluster: a script touches all keys of a partition, which a cluster's slots would tear apart. */
  #addValkey({ vpc, groups, keys }: StoresStackProps): elasticache.CfnReplicationGroup[] {
    const users = this.#addUsers(keys.stores);
    const subnets = new elasticache.CfnSubnetGroup(this, "ValkeySubnets", {
      cacheSubnetGroupName: this.valkeyIds[0]!,
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
    return this.valkeyIds.map((id, i) =>
      this.#addValkeyGroup(i === 0 ? "Valkey" : `Valkey${i + 1}`, {
        replicationGroupId: id,
        cacheSubnetGroupName: subnets.ref,
        cacheParameterGroupName: parameters.ref,
        securityGroupIds: [groups.valkey.securityGroupId],
        kmsKeyId: keys.stores.keyArn,
        userGroupIds: [users.ref],
        logDeliveryConfigurations: [
          {
            logType: "slow-log",
            logFormat: "json",
            destinationType: "cloudwatch-logs",
            destinationDetails: { cloudWatchLogsDetails: { logGroup: slowLog.logGroupName } },
          },
        ],
      }),
    );
  }

  #addValkeyGroup(
    id: string,
    own: Partial<elasticache.CfnReplicationGroupProps> & Pick<elasticache.CfnReplicationGroupProps, "replicationGroupId">,
  ): elasticache.CfnReplicationGroup {
    const { valkey, isDurable } = this.config;
    const group = new elasticache.CfnReplicationGroup(this, id, {
      ...own,
      replicationGroupDescription: "weir: hot values, rebuilt from the log when lost",
      engine: "valkey",
      engineVersion: "8.1",
      cacheNodeType: valkey.nodeType,
      numCacheClusters: valkey.replicas + 1,
      automaticFailoverEnabled: valkey.replicas > 0,
      multiAzEnabled: valkey.replicas > 0,
      port: PORTS.valkey,
      transitEncryptionEnabled: true,
      transitEncryptionMode: "required",
      atRestEncryptionEnabled: true,
      snapshotRetentionLimit: isDurable ? 7 : 1,
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
    // By a function that AWS writes and keeps. The functions that use it read it at each call.
    instance.secret!.addRotationSchedule("Rotation", {
      automaticallyAfter: Duration.days(30),
      hostedRotation: secretsmanager.HostedRotation.postgreSqlSingleUser({
        functionName: `weir-${this.config.name}-postgres-rotation`,
        vpc,
        vpcSubnets: { subnets: vpc.privateSubnets },
        securityGroups: [groups.operators],
        // As RDS makes it: what none of these has needs no escaping in an address.
        excludeCharacters: " %+~`#$&*()|[]{}:;<>?!'/@\"\\",
      }),
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
