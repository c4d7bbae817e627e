import { Stack } from "aws-cdk-lib";
import { Template } from "aws-cdk-lib/assertions";
import { beforeAll, describe, expect, test } from "vitest";
import { topicName } from "#shared/events/names.ts";
import { addChecks } from "../../infra/checks/promises.ts";
import { type Environment, parseEnvironment } from "../../infra/config/environment.ts";
import { environmentNamed } from "../../infra/config/environments.ts";
import { createEnvironment } from "../../infra/environment-stacks.ts";
import { allAlarms } from "../../infra/stacks/observability-stack.ts";
import { placeholderCode, type Resource, resourcesOf, testApp } from "./test-environment.ts";

const STANDBY = { region: "eu-west-1", cidr: "10.31.0.0/16" };
const GROUPS = 3;
const prod = environmentNamed("prod");
const environment: Environment = parseEnvironment({
  ...prod,
  standby: STANDBY,
  hasExperiments: true,
  valkey: { ...prod.valkey, groups: GROUPS },
});

const templates = new Map<string, Template>();

/** Everything that is off by default, switched on, under every rule there is. */
beforeAll(() => {
  const app = testApp();
  addChecks(app);
  createEnvironment(app, environment, placeholderCode());
  app.synth();
  for (const stack of app.node.children) if (stack instanceof Stack) templates.set(stack.stackName, Template.fromStack(stack));
}, 300_000);

const of = (stack: string): Template => templates.get(`weir-prod-${stack}`)!;
const properties = (stack: string, type: string): Record<string, unknown>[] =>
  resourcesOf(of(stack), type).map(({ Properties }) => Properties);

interface Statement {
  readonly Action: string | string[];
  readonly Resource: unknown;
  readonly Condition?: unknown;
}

function statementsOf(role: Resource): Statement[] {
  const policies = (role.Properties["Policies"] ?? []) as { PolicyDocument: { Statement: Statement[] } }[];
  return policies.flatMap(({ PolicyDocument }) => PolicyDocument.Statement);
}

describe("a second region", () => {
  test("has every stack of the first, and its own for what it receives", () => {
    const [home, standby] = [false, true].map((isStandby) =>
      [...templates.keys()]
        .filter((name) => name.startsWith("weir-prod-standby-") === isStandby)
        .map((name) => name.replace("-standby", "")),
    );
    expect(standby!.toSorted()).toEqual(
      [...home!.filter((name) => name !== "weir-prod-experiments"), "weir-prod-copies", "weir-prod-replication"].toSorted(),
    );
  });

  test("receives events.raw under its own name and nothing else: no positions, no access lists, no topic that appears later", () => {
    const [replicator] = properties("standby-replication", "AWS::MSK::Replicator");
    expect(properties("standby-replication", "AWS::MSK::Replicator")).toHaveLength(1);
    const [information] = replicator!["ReplicationInfoList"] as Record<string, unknown>[];
    const { TopicsToReplicate, ...replication } = information!["TopicReplication"] as Record<string, unknown>;
    expect(replication).toEqual({
      TopicNameConfiguration: { Type: "IDENTICAL" },
      StartingPosition: { Type: "LATEST" },
      DetectAndCopyNewTopics: false,
      CopyTopicConfigurations: false,
      CopyAccessControlListsForTopics: false,
    });
    const patterns = (TopicsToReplicate as string[]).map((pattern) => new RegExp(pattern));
    const made = properties("standby-streaming", "AWS::MSK::Topic").map(({ TopicName }) => String(TopicName));
    expect(made.filter((topic) => patterns.some((pattern) => pattern.test(topic)))).toEqual([topicName("live", "raw")]);
    expect(information!["ConsumerGroupReplication"]).toMatchObject({
      DetectAndCopyNewConsumerGroups: false,
      SynchroniseConsumerGroupOffsets: false,
    });
  });

  test("has as many partitions of it: a record keeps its partition, and a user the order", () => {
    const partitions = (stack: string): Record<string, unknown> =>
      Object.fromEntries(properties(stack, "AWS::MSK::Topic").map(({ TopicName, PartitionCount }) => [TopicName, PartitionCount]));
    expect(partitions("standby-streaming")).toEqual(partitions("streaming"));
  });

  test("the replicator reads and writes one topic, and keeps its own state", () => {
    const [role] = resourcesOf(of("standby-replication"), "AWS::IAM::Role");
    const may = (action: string): string =>
      JSON.stringify(
        statementsOf(role!).flatMap(({ Action, Resource }) => ([Action].flat().includes(`kafka-cluster:${action}`) ? [Resource] : [])),
      );
    expect(JSON.stringify(role!.Properties["AssumeRolePolicyDocument"])).toContain('"kafka.amazonaws.com"');
    for (const action of ["ReadData", "WriteData"]) {
      expect(may(action)).toContain(`/${topicName("live", "raw")}"`);
      for (const other of ["valid", "clean", "dlq", "windows"] as const) expect(may(action)).not.toContain(topicName("live", other));
    }
    const raw = `/${topicName("live", "raw")}"`;
    // From the home cluster it reads, into this one it writes; topics it makes only for itself.
    expect(may("ReadData").split(raw)).toHaveLength(2);
    expect(may("WriteData").split(raw)).toHaveLength(2);
    expect(may("CreateTopic")).not.toContain(raw);
    expect(may("AlterClusterDynamicConfiguration")).toBe("[]");
    for (const { Resource } of statementsOf(role!)) expect(Resource).not.toBe("*");
  });

  test("is let in by the home cluster: privately, by IAM, for MSK alone", () => {
    const [cluster] = properties("streaming", "AWS::MSK::Cluster");
    expect(cluster!["BrokerNodeGroupInfo"]).toMatchObject({
      ConnectivityInfo: {
        PublicAccess: { Type: "DISABLED" },
        VpcConnectivity: { ClientAuthentication: { Sasl: { Iam: { Enabled: true } } } },
      },
    });
    const [policy] = properties("streaming", "AWS::MSK::ClusterPolicy");
    const { Statement: statements } = policy!["Policy"] as { Statement: Record<string, unknown>[] };
    expect(statements).toHaveLength(1);
    expect(statements[0]).toMatchObject({
      Principal: { Service: "kafka.amazonaws.com" },
      Action: ["kafka:CreateVpcConnection", "kafka:GetBootstrapBrokers", "kafka:DescribeClusterV2"],
      Condition: { StringEquals: { "aws:SourceAccount": { Ref: "AWS::AccountId" } } },
    });
    // Nobody replicates back: a record would go round for ever.
    expect(properties("standby-streaming", "AWS::MSK::ClusterPolicy")).toEqual([]);
  });

  test("receives snapshots, rules and backups within fifteen minutes, under its own key, and keeps what is deleted at home", () => {
    const rules = properties("objects", "AWS::S3::Bucket").flatMap((bucket) => {
      const { Rules = [] } = (bucket["ReplicationConfiguration"] ?? {}) as { Rules?: Record<string, unknown>[] };
      return Rules.map((rule) => ({ from: JSON.stringify(bucket["BucketName"]), rule, to: JSON.stringify(rule["Destination"]) }));
    });
    const roleOf = (text: string): string => /weir-prod-([a-z-]+)-"/.exec(text)![1]!;
    expect(Object.fromEntries(rules.map(({ from, to }) => [roleOf(from), roleOf(to)]))).toEqual({
      rules: "rules",
      snapshots: "snapshots-copy",
      backups: "backups-copy",
    });
    for (const { rule, to } of rules) {
      expect(rule).toMatchObject({
        Status: "Enabled",
        DeleteMarkerReplication: { Status: "Disabled" },
        SourceSelectionCriteria: { SseKmsEncryptedObjects: { Status: "Enabled" } },
        Destination: { ReplicationTime: { Status: "Enabled", Time: { Minutes: 15 } } },
      });
      expect(to).toContain(STANDBY.region);
      expect((rule["Destination"] as Record<string, unknown>)["EncryptionConfiguration"]).toMatchObject({
        ReplicaKmsKeyID: expect.anything(),
      });
    }
    // Each has a bucket that takes it: versioned, which S3 demands, and not one that ClickHouse there writes itself.
    const there = properties("standby-objects", "AWS::S3::Bucket");
    for (const { to } of rules) {
      const bucket = there.find(({ BucketName }) => JSON.stringify(BucketName ?? "").includes(`weir-prod-${roleOf(to)}-"`));
      expect(bucket, to).toMatchObject({ VersioningConfiguration: { Status: "Enabled" } });
    }
  });

  test("whoever copies reads one bucket, writes its copy, and uses one key for each", () => {
    const copiers = (Object.entries(of("objects").findResources("AWS::IAM::Role")) as unknown as [string, Resource][]).filter(([id]) =>
      id.includes("Copier"),
    );
    expect(copiers).toHaveLength(3);
    for (const [id, role] of copiers) {
      const statements = statementsOf(role);
      expect(statements.flatMap(({ Action }) => Action).toSorted()).toEqual([
        ...["Decrypt", "Encrypt", "GenerateDataKey"].map((action) => `kms:${action}`),
        ...["GetObjectVersionAcl", "GetObjectVersionForReplication", "GetObjectVersionTagging", "GetReplicationConfiguration"].map(
          (action) => `s3:${action}`,
        ),
        ...["ListBucket", "ReplicateObject", "ReplicateTags"].map((action) => `s3:${action}`),
      ]);
      for (const { Resource } of statements) expect(Resource, id).not.toBe("*");
      const bucket = properties("objects", "AWS::S3::Bucket").find(({ ReplicationConfiguration: made }) =>
        JSON.stringify(made ?? "").includes(id),
      );
      expect(bucket).toBeDefined();
    }
  });

  test("can restore: its ClickHouse reads the copies of backups, which at home nothing but S3 writes", () => {
    expect(JSON.stringify(of("standby-clickhouse").toJSON())).toContain("weir-prod-backups-copy-");
    expect(JSON.stringify(of("clickhouse").toJSON())).not.toContain("weir-prod-backups-copy-");
    const [plan] = properties("backup", "AWS::Backup::BackupPlan");
    const { BackupPlanRule: planned } = plan!["BackupPlan"] as { BackupPlanRule: { CopyActions: unknown[] }[] };
    expect(planned.map(({ CopyActions }) => CopyActions)).toEqual([
      [{ DestinationBackupVaultArn: expect.anything(), Lifecycle: { DeleteAfterDays: environment.backupRetentionDays } }],
    ]);
    expect(properties("standby-copies", "AWS::Backup::BackupVault")).toMatchObject([
      { LockConfiguration: { MinRetentionDays: environment.backupRetentionDays }, EncryptionKeyArn: expect.anything() },
    ]);
  });

  test("takes no name that AWS knows only once", () => {
    const names = (standby: "" | "standby-"): string[] => [
      ...properties(`${standby}streaming`, "AWS::IAM::ManagedPolicy").map(({ ManagedPolicyName }) => String(ManagedPolicyName)),
      ...properties(`${standby}observability`, "AWS::CloudWatch::Dashboard").map(({ DashboardName }) => String(DashboardName)),
      ...properties(`${standby}backup`, "AWS::Budgets::Budget").map(({ Budget }) => (Budget as { BudgetName: string }).BudgetName),
    ];
    expect(names("").length).toBeGreaterThan(5);
    expect(names("standby-").filter((name) => names("").includes(name))).toEqual([]);
    const roles = [...templates.values()].flatMap((template) => resourcesOf(template, "AWS::IAM::Role"));
    expect(roles.filter(({ Properties }) => "RoleName" in Properties)).toEqual([]);
  });

  test("says when it falls behind", () => {
    const alarms = properties("standby-replication", "AWS::CloudWatch::Alarm");
    expect(alarms.map(({ MetricName }) => String(MetricName)).toSorted()).toEqual(["AuthError", "ReplicationLatency", "ReplicatorFailure"]);
    for (const { Dimensions, AlarmActions } of alarms) {
      expect(Dimensions).toEqual([{ Name: "ReplicatorName", Value: "weir-prod" }]);
      expect(AlarmActions).toHaveLength(1);
    }
  });
});

describe("experiments", () => {
  const experiments = (): [string, Record<string, unknown>][] =>
    properties("experiments", "AWS::FIS::ExperimentTemplate").map((each) => [(each["Tags"] as { Name: string }).Name, each]);
  const actionsOf = (name: string): Record<string, unknown>[] =>
    Object.values(Object.fromEntries(experiments())[`weir-prod-${name}`]!["Actions"] as Record<string, Record<string, unknown>>);

  test("stop tasks, restart a broker, cut off and switch off each zone", () => {
    const zones = [1, 2, 3];
    const expected = [
      "stop-processor",
      "stop-sinks",
      "reboot-broker",
      ...zones.flatMap((zone) => [`cut-zone-${zone}`, `power-zone-${zone}`]),
    ];
    expect(
      experiments()
        .map(([name]) => name)
        .toSorted(),
    ).toEqual(expected.map((name) => `weir-prod-${name}`).toSorted());
    for (const name of ["stop-processor", "stop-sinks"])
      expect(actionsOf(name).map(({ ActionId }) => ActionId)).toEqual(["aws:ecs:stop-task"]);
    for (const zone of zones) {
      expect(actionsOf(`cut-zone-${zone}`)).toMatchObject([
        { ActionId: "aws:network:disrupt-connectivity", Parameters: { scope: "availability-zone", duration: "PT10M" } },
      ]);
      expect(
        actionsOf(`power-zone-${zone}`)
          .map(({ ActionId }) => String(ActionId))
          .toSorted(),
      ).toEqual([
        "aws:ec2:stop-instances",
        "aws:ecs:stop-task",
        "aws:ecs:stop-task",
        "aws:elasticache:replicationgroup-interrupt-az-power",
        "aws:network:disrupt-connectivity",
        "aws:rds:reboot-db-instances",
      ]);
    }
  });

  test("name in each action a target that is there, and target one zone of this network", () => {
    const cut = new Set<string>();
    for (const [name, { Targets, Actions }] of experiments()) {
      const targets = (Targets ?? {}) as Record<string, { ResourceArns?: unknown[] }>;
      for (const { Targets: used = {} } of Object.values(Actions as Record<string, { Targets?: Record<string, string> }>))
        for (const target of Object.values(used)) expect(Object.keys(targets), name).toContain(target);
      if (name.includes("cut-zone")) cut.add(JSON.stringify(targets["subnets"]!.ResourceArns));
    }
    expect(cut.size).toBe(3);
  });

  test("stop by themselves when an alarm that wakes somebody sounds, and write what they did", () => {
    const compute = { functionName: "f", aliasResource: "f:l", mappingId: "m", clusterName: "c", services: { processor: "p", sinks: "s" } };
    const alarms = allAlarms(environment, compute, { valkeyIds: ["v"], postgresId: "p", nodes: {}, natGateways: [] });
    const pages = alarms.filter(({ severity }) => severity === "page").map(({ id }) => id);
    for (const [name, { StopConditions, LogConfiguration }] of experiments()) {
      const conditions = StopConditions as { Source: string; Value: { "Fn::Join": [string, unknown[]] } }[];
      // FIS takes five.
      expect(conditions.length, name).toBeGreaterThan(0);
      expect(conditions.length, name).toBeLessThanOrEqual(5);
      for (const { Source, Value } of conditions) {
        expect(Source).toBe("aws:cloudwatch:alarm");
        const [, alarm] = /:alarm:weir-prod-([a-z-]+)/.exec(JSON.stringify(Value))!;
        expect(pages).toContain(alarm);
      }
      expect(JSON.stringify(LogConfiguration)).toContain("LogGroupArn");
    }
  });

  test("may do what they do and nothing else: every call that changes something names what, or is bound to this environment", () => {
    const roles = resourcesOf(of("experiments"), "AWS::IAM::Role");
    const harmless = /^(ec2|ecs|rds|elasticache|logs|tag|cloudwatch):(Describe|List|Get)|^logs:(CreateLogDelivery|PutResourcePolicy)$/;
    let changes = 0;
    for (const role of roles) {
      const assumed = JSON.stringify(role.Properties["AssumeRolePolicyDocument"]);
      if (/fis\.amazonaws\.com|ssm\.amazonaws\.com/.test(assumed)) expect(assumed).toContain("aws:SourceAccount");
      for (const { Action, Resource, Condition } of statementsOf(role)) {
        const changing = [Action].flat().filter((action) => !harmless.test(action));
        expect(changing.join()).not.toContain("*");
        if (changing.length === 0) continue;
        changes++;
        expect(Resource, changing.join()).not.toBe("*");
        const open = JSON.stringify(Resource);
        if (/(instance|network-acl)\/\*/.test(open)) expect(Condition, changing.join()).toBeDefined();
      }
    }
    expect(changes).toBeGreaterThan(20);
    const automation = roles.flatMap(statementsOf).filter(({ Action }) => [Action].flat().includes("kafka:RebootBroker"));
    expect(automation).toHaveLength(1);
  });

  test("the restart of a broker waits until the cluster is whole, by a document of ours", () => {
    const [{ Content }] = properties("experiments", "AWS::SSM::Document") as [{ Content: { mainSteps: Record<string, unknown>[] } }];
    expect(Content.mainSteps.map(({ action }) => action)).toEqual(["aws:executeAwsApi", "aws:sleep", "aws:waitForAwsResourceProperty"]);
    expect(Content.mainSteps[0]).toMatchObject({ inputs: { Service: "kafka", Api: "RebootBroker", BrokerIds: ["{{ BrokerId }}"] } });
    expect(JSON.stringify(actionsOf("reboot-broker"))).toContain(":document/weir-prod-reboot-broker");
  });
});

describe("several groups of Valkey", () => {
  test("are alike, keep the first one's name, and are named to the sinks in their order", () => {
    const groups = Object.entries(of("stores").findResources("AWS::ElastiCache::ReplicationGroup")) as unknown as [string, Resource][];
    const ids = ["weir-prod", "weir-prod-2", "weir-prod-3"];
    expect(groups.map(([, { Properties }]) => Properties["ReplicationGroupId"])).toEqual(ids);
    expect(groups.map(([id]) => id)).toEqual(["Valkey", "Valkey2", "Valkey3"]);
    const [first, ...others] = groups.map(([, { Properties }]) => ({ ...Properties, ReplicationGroupId: "any" }));
    for (const other of others) expect(other).toEqual(first);
    const tasks = properties("processing", "AWS::ECS::TaskDefinition").flatMap(
      ({ ContainerDefinitions }) => ContainerDefinitions as { Environment: { Name: string; Value: unknown }[] }[],
    );
    const hosts = tasks.flatMap(({ Environment }) => Environment).filter(({ Name }) => Name === "REDIS_HOSTS");
    expect(hosts).toHaveLength(1);
    const text = JSON.stringify(hosts[0]!.Value);
    const places = ["ValkeyPrimary", "Valkey2Primary", "Valkey3Primary"].map((name) => text.indexOf(name));
    expect(
      places.every((place, i) => place > (places[i - 1] ?? 0)),
      text,
    ).toBe(true);
  });

  test("are each watched, node by node", () => {
    const watched = properties("observability", "AWS::CloudWatch::Alarm").filter(({ MetricName }) => MetricName === "EngineCPUUtilization");
    expect(watched).toHaveLength(GROUPS * (environment.valkey.replicas + 1));
    expect(new Set(watched.map(({ Dimensions }) => JSON.stringify(Dimensions))).size).toBe(watched.length);
  });
});
