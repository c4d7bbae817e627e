import { describe, expect, test } from "vitest";
import { groupId, OUTPUT_ROLES, topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { ENVIRONMENT_NAMES, environmentNamed } from "../../infra/config/environments.ts";
import { allResources, type Resource, resourcesOf, templatesOf } from "./test-environment.ts";

const LIVE = { lane: "live", generation: 1 };

function one(resources: readonly Resource[]): Record<string, unknown> {
  expect(resources).toHaveLength(1);
  return resources[0]!.Properties;
}

/** Of every policy statement in the stack: actions with the text of their resources. */
function statements(template: ReturnType<typeof templatesOf>["processing"], holder: RegExp): { actions: string[]; resources: string }[] {
  const { Resources } = template.toJSON() as { Resources: Record<string, Resource> };
  return Object.entries(Resources)
    .filter(([id, { Type }]) => holder.test(id) && (Type === "AWS::IAM::Policy" || Type === "AWS::IAM::Role"))
    .flatMap(([, { Properties }]) => {
      const inline = (Properties["Policies"] as { PolicyDocument: unknown }[] | undefined)?.map(({ PolicyDocument }) => PolicyDocument);
      return inline ?? [Properties["PolicyDocument"]];
    })
    .flatMap((document) => (document as { Statement: { Action: string | string[]; Resource: unknown }[] } | undefined)?.Statement ?? [])
    .map(({ Action, Resource }) => ({ actions: [Action].flat(), resources: JSON.stringify(Resource) }));
}

describe.each(ENVIRONMENT_NAMES)("%s", (name) => {
  const environment = environmentNamed(name);
  const templates = templatesOf(name);

  test("every topic of the catalogue exists, on three brokers, with its retention and log-append time", () => {
    const made = resourcesOf(templates.streaming, "AWS::MSK::Topic");
    const specs = topicSpecs("live", environment.partitions, { replicationFactor: 3 });
    expect(made.map(({ Properties }) => String(Properties["TopicName"])).toSorted()).toEqual(specs.map(({ topic }) => topic).toSorted());
    for (const { Properties, DeletionPolicy } of made) {
      const configs = Buffer.from(String(Properties["Configs"]), "base64").toString();
      expect(Properties).toMatchObject({ ReplicationFactor: 3, PartitionCount: environment.partitions });
      expect(configs).toContain("message.timestamp.type=LogAppendTime");
      const days = Properties["TopicName"] === topicName("live", "dlq") ? 30 : 7;
      expect(configs).toContain(`retention.ms=${days * 86_400_000}`);
      // Fixed by the service on Express, where naming it is an error.
      expect(configs.includes("min.insync.replicas=2")).toBe(environment.kafka.brokerType === "standard");
      expect(DeletionPolicy).toBe("Retain");
    }
  });

  test("Kafka runs without ZooKeeper, takes TLS only, from IAM and SCRAM principals only", () => {
    const cluster = one(resourcesOf(templates.streaming, "AWS::MSK::Cluster"));
    expect(cluster["KafkaVersion"]).toMatch(/\.kraft$/);
    expect(cluster["BrokerNodeGroupInfo"]).toMatchObject({ InstanceType: expect.stringMatching(/^(kafka|express)\.m7g\.\d*x?large$/) });
    expect(cluster["ClientAuthentication"]).toEqual({
      Sasl: { Iam: { Enabled: true }, Scram: { Enabled: true } },
      Unauthenticated: { Enabled: false },
    });
    expect(cluster["EncryptionInfo"]).toMatchObject({ EncryptionInTransit: { ClientBroker: "TLS", InCluster: true } });
    const settings = String(one(resourcesOf(templates.streaming, "AWS::MSK::Configuration"))["ServerProperties"]);
    expect(settings).toContain("auto.create.topics.enable=false");
    // An INT in Kafka; progress must outlive long silence (90 days).
    expect(settings).toContain("offsets.retention.minutes=129600");
    expect(settings).not.toContain("transactional.id.expiration.ms");
  });

  test("a SCRAM login, in dev only, has the name that MSK demands", () => {
    const secrets = resourcesOf(templates.streaming, "AWS::SecretsManager::Secret").map(({ Properties }) => Properties);
    for (const { Name } of secrets) expect(Name).toMatch(/^AmazonMSK_/);
    // Without ACLs such a login may do everything, so none exists where data is real.
    expect(secrets).toHaveLength(name === "dev" ? 1 : 0);
    expect(resourcesOf(templates.streaming, "AWS::MSK::BatchScramSecret")).toHaveLength(secrets.length);
    for (const { KmsKeyId } of secrets) expect(KmsKeyId).toBeDefined();
  });

  test("a producer's policy writes events.raw and nothing else", () => {
    const { PolicyDocument } = one(resourcesOf(templates.streaming, "AWS::IAM::ManagedPolicy")) as {
      PolicyDocument: { Statement: { Action: string | string[]; Resource: unknown }[] };
    };
    const actions = PolicyDocument.Statement.flatMap(({ Action }) => Action);
    expect(actions.toSorted()).toEqual(
      ["Connect", "DescribeCluster", "DescribeTopic", "WriteData", "WriteDataIdempotently"].map((action) => `kafka-cluster:${action}`),
    );
    for (const { Action, Resource } of PolicyDocument.Statement)
      if (Action === "kafka-cluster:WriteData") expect(JSON.stringify(Resource)).toContain('/events.raw"');
  });

  test("whoever starts a task may read its secrets and decrypt them", () => {
    const granted = statements(templates.processing, /^SinksTaskExecutionRole/);
    const actions = granted.flatMap((statement) => statement.actions);
    for (const action of ["secretsmanager:GetSecretValue", "kms:Decrypt", "ssm:GetParameters"]) expect(actions).toContain(action);
  });

  test("the mapping keeps batches whole and in order, for ever, at once", () => {
    const mapping = one(resourcesOf(templates.processing, "AWS::Lambda::EventSourceMapping"));
    expect(mapping).toMatchObject({
      Topics: [topicName("live", "raw")],
      AmazonManagedKafkaEventSourceConfig: { ConsumerGroupId: groupId(LIVE, "validator") },
      StartingPosition: "TRIM_HORIZON",
      MaximumBatchingWindowInSeconds: 0,
      MaximumRetryAttempts: -1,
      MaximumRecordAgeInSeconds: -1,
      BisectBatchOnFunctionError: false,
    });
    for (const loss of ["FunctionResponseTypes", "DestinationConfig", "FilterCriteria"]) expect(mapping).not.toHaveProperty(loss);
    const pollers = mapping["ProvisionedPollerConfig"] as { MinimumPollers: number; MaximumPollers: number };
    expect(pollers.MinimumPollers).toBe(pollers.MaximumPollers);
    expect(pollers.MaximumPollers).toBeLessThanOrEqual(environment.partitions);
    // To the alias, or provisioned concurrency would serve nobody.
    const [alias] = Object.keys(templates.processing.findResources("AWS::Lambda::Alias"));
    expect(mapping["FunctionName"]).toEqual({ Ref: alias });
  });

  test("only the processor reads events.valid; only it writes outputs, in its own transactions", () => {
    const valid = /\/events\.valid"/;
    const outputs = OUTPUT_ROLES.map((role) => `/${topicName("live", role)}"`);
    const may = (holder: RegExp, action: string): string =>
      statements(templates.processing, holder)
        .filter(({ actions }) => actions.includes(`kafka-cluster:${action}`))
        .map(({ resources }) => resources)
        .join();
    expect(may(/^ProcessorAccess/, "ReadData")).toMatch(valid);
    for (const output of outputs) expect(may(/^ProcessorAccess/, "WriteData")).toContain(output);
    expect(may(/^ProcessorAccess/, "AlterTransactionalId")).toContain("/weir-live-1-*");
    for (const other of [/^ValidatorRole/, /^SinksAccess/]) {
      expect(may(other, "ReadData")).not.toMatch(valid);
      for (const output of outputs) expect(may(other, "WriteData")).not.toContain(output);
      expect(may(other, "AlterTransactionalId")).toBe("");
    }
    expect(may(/^ValidatorRole/, "WriteData")).toMatch(valid);
    expect(may(/^SinksAccess/, "WriteData")).toBe("");
  });

  test("no policy allows kafka-cluster:* or a Kafka action on every resource", () => {
    const all = statements(templates.processing, /./).filter(({ actions }) =>
      actions.some((action) => action.startsWith("kafka-cluster:")),
    );
    expect(all.length).toBeGreaterThan(5);
    for (const { actions, resources } of all) {
      expect(actions).not.toContain("kafka-cluster:*");
      expect(resources).not.toBe('"*"');
    }
  });

  test("services hand over within Fargate's limit, on Arm, read only, and are rolled back when they fail", () => {
    const tasks = resourcesOf(templates.processing, "AWS::ECS::TaskDefinition").map(({ Properties }) => Properties);
    expect(tasks).toHaveLength(2);
    for (const task of tasks) {
      expect(task["RuntimePlatform"]).toMatchObject({ CpuArchitecture: "ARM64" });
      for (const container of task["ContainerDefinitions"] as Record<string, unknown>[]) {
        expect(container["StopTimeout"]).toBeLessThanOrEqual(120);
        expect(container["StopTimeout"]).toBeGreaterThanOrEqual(60);
        expect(container).toMatchObject({ ReadonlyRootFilesystem: true, HealthCheck: expect.anything() });
        const variables = container["Environment"] as { Name: string }[];
        expect(variables.map(({ Name }) => Name).filter((each) => /PASSWORD|TOKEN/.test(each))).toEqual([]);
      }
    }
    for (const { Properties } of resourcesOf(templates.processing, "AWS::ECS::Service")) {
      expect(Properties["DeploymentConfiguration"]).toMatchObject({ DeploymentCircuitBreaker: { Enable: true, Rollback: true } });
      expect(Properties["NetworkConfiguration"]).toMatchObject({ AwsvpcConfiguration: { AssignPublicIp: "DISABLED" } });
      const { MinimumHealthyPercent: least, MaximumPercent: most } = Properties["DeploymentConfiguration"] as Record<string, number>;
      const tasksWanted = Properties["DesiredCount"] as number;
      // Else a deployment can neither stop the old task nor start the new one, and hangs.
      expect(Math.floor((tasksWanted * most!) / 100) > tasksWanted || Math.ceil((tasksWanted * least!) / 100) < tasksWanted).toBe(true);
    }
  });

  test("no more workers can ever run than there are partitions", () => {
    for (const { Properties } of resourcesOf(templates.processing, "AWS::ApplicationAutoScaling::ScalableTarget")) {
      expect((Properties["MaxCapacity"] as number) * environment.processor.workers).toBeLessThanOrEqual(environment.partitions);
    }
  });

  test("what holds data is encrypted with a key of ours, which rotates", () => {
    const keyed: Readonly<Record<string, string>> = {
      "AWS::RDS::DBInstance": "KmsKeyId",
      "AWS::ElastiCache::ReplicationGroup": "KmsKeyId",
      "AWS::EC2::Volume": "KmsKeyId",
      "AWS::SecretsManager::Secret": "KmsKeyId",
      "AWS::SNS::Topic": "KmsMasterKeyId",
      "AWS::Logs::LogGroup": "KmsKeyId",
    };
    for (const [type, property] of Object.entries(keyed)) {
      const resources = allResources(name, type);
      expect(resources.length, type).toBeGreaterThan(0);
      for (const { Properties, id } of resources) expect(Properties[property], id).toBeDefined();
    }
    for (const { Properties } of allResources(name, "AWS::KMS::Key")) expect(Properties["EnableKeyRotation"]).toBe(true);
  });

  test("nothing is public", () => {
    for (const { Properties, id } of allResources(name, "AWS::EC2::SecurityGroupIngress"))
      expect(Properties, id).not.toHaveProperty("CidrIp");
    for (const { Properties, id } of allResources(name, "AWS::EC2::SecurityGroup"))
      expect(Properties["SecurityGroupIngress"] ?? [], id).toEqual([]);
    for (const { Properties } of allResources(name, "AWS::EC2::Subnet")) expect(Properties["MapPublicIpOnLaunch"]).toBe(false);
    for (const { Properties } of allResources(name, "AWS::ElasticLoadBalancingV2::LoadBalancer"))
      expect(Properties["Scheme"]).toBe("internal");
    for (const { Properties } of allResources(name, "AWS::RDS::DBInstance")) expect(Properties["PubliclyAccessible"]).toBe(false);
    for (const type of ["AWS::ApiGateway::RestApi", "AWS::Lambda::Url", "AWS::CloudFront::Distribution"])
      expect(allResources(name, type)).toEqual([]);
  });

  test("PostgreSQL and Valkey take TLS only and fail over where the environment is durable", () => {
    const database = one(resourcesOf(templates.stores, "AWS::RDS::DBInstance"));
    expect(database).toMatchObject({
      EnableIAMDatabaseAuthentication: true,
      MultiAZ: environment.isDurable,
      DeletionProtection: environment.isDurable,
    });
    expect(database["BackupRetentionPeriod"]).toBeLessThanOrEqual(35);
    expect(one(resourcesOf(templates.stores, "AWS::RDS::DBParameterGroup"))["Parameters"]).toMatchObject({ "rds.force_ssl": "1" });
    const valkey = one(resourcesOf(templates.stores, "AWS::ElastiCache::ReplicationGroup"));
    expect(valkey).toMatchObject({
      Engine: "valkey",
      TransitEncryptionEnabled: true,
      TransitEncryptionMode: "required",
      MultiAZEnabled: environment.isDurable,
      AutomaticFailoverEnabled: environment.isDurable,
    });
    const users = resourcesOf(templates.stores, "AWS::ElastiCache::User").map(({ Properties }) => Properties);
    expect(users.find(({ UserName }) => UserName === "default")).toMatchObject({ AccessString: expect.stringMatching(/^off /) });
    expect(users.map(({ Engine }) => Engine)).toEqual(["valkey", "valkey"]);
  });

  test("ClickHouse's nodes heal one by one and an odd number of Keepers votes in different zones", () => {
    const { replicas, keepers } = environment.clickhouse;
    const groups = resourcesOf(templates.clickhouse, "AWS::AutoScaling::AutoScalingGroup");
    expect(groups).toHaveLength(replicas + keepers);
    for (const { Properties } of groups)
      expect(Properties).toMatchObject({ MinSize: "1", MaxSize: "1", VPCZoneIdentifier: [expect.anything()] });
    expect(keepers % 2).toBe(1);
    const zones = Object.entries(templates.clickhouse.findResources("AWS::EC2::Volume"))
      .filter(([id]) => id.startsWith("Keeper"))
      .map(([, volume]) => JSON.stringify((volume as Resource).Properties["AvailabilityZone"]));
    expect(new Set(zones).size).toBe(keepers);
    for (const { Properties } of resourcesOf(templates.clickhouse, "AWS::EC2::LaunchTemplate")) {
      expect(Properties["LaunchTemplateData"]).toMatchObject({ MetadataOptions: { HttpTokens: "required" } });
      expect(Properties["LaunchTemplateData"]).not.toHaveProperty("KeyName");
    }
  });

  test("backups are kept as long as promised and cannot be deleted before", () => {
    const plan = JSON.stringify(resourcesOf(templates.backup, "AWS::Backup::BackupPlan"));
    expect(plan).toContain(`"DeleteAfterDays":${environment.backupRetentionDays}`);
    const vault = one(resourcesOf(templates.backup, "AWS::Backup::BackupVault"));
    if (environment.isDurable) {
      expect(environment.backupRetentionDays).toBeGreaterThanOrEqual(90);
      expect(vault["LockConfiguration"]).toEqual({ MinRetentionDays: environment.backupRetentionDays });
    } else expect(vault).not.toHaveProperty("LockConfiguration");
  });

  test("stacks that hold data are protected in a durable environment, and dev leaves nothing behind", () => {
    const stateful = [
      "AWS::RDS::DBInstance",
      "AWS::EC2::Volume",
      "AWS::S3::Bucket",
      "AWS::KMS::Key",
      "AWS::MSK::Cluster",
      "AWS::Logs::LogGroup",
    ];
    for (const type of stateful) {
      for (const { DeletionPolicy, id } of allResources(name, type)) {
        if (environment.isDurable) expect(["Retain", "Snapshot"], id).toContain(DeletionPolicy);
        else expect(DeletionPolicy, id).toBe("Delete");
      }
    }
  });

  test("every stack stays far below CloudFormation's 500 resources", () => {
    for (const [stack, template] of Object.entries(templates)) {
      expect(Object.keys((template.toJSON() as { Resources: object }).Resources).length, stack).toBeLessThan(400);
    }
  });
});
