import { describe, expect, test } from "vitest";
import { groupId, OUTPUT_ROLES, topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { API_PATHS, SOURCES_PREFIX } from "#shared/read/api-paths.ts";
import { READER_ACCESS } from "#shared/read/redis-rights.ts";
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
      const { partitions } = specs.find(({ topic }) => topic === Properties["TopicName"])!;
      expect(Properties).toMatchObject({ ReplicationFactor: 3, PartitionCount: partitions });
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
    // A password outside this account, beside IAM which needs none: nowhere that data is real, though access lists would hold it to events.raw.
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

  test("who comes by SCRAM may do what is declared and nothing else: producers write events, within a quota, and their function alone changes that", () => {
    const settings = String(one(resourcesOf(templates.streaming, "AWS::MSK::Configuration"))["ServerProperties"]);
    expect(settings).toContain("allow.everyone.if.no.acl.found=false");
    const { Users, ServiceTimeout } = one(resourcesOf(templates.streaming, "Custom::KafkaAccess"));
    // CloudFormation waits an hour for an answer that never comes, unless it is told otherwise.
    expect(Number(ServiceTimeout)).toBeLessThanOrEqual(900);
    const users = Object.values(Users as Record<string, { ProducerBytesPerS: string }>);
    expect(users.length).toBeGreaterThan(0);
    for (const { ProducerBytesPerS, ...rights } of users) {
      expect(rights).toMatchObject({ Read: [], Write: [topicName("live", "raw")], Groups: [] });
      expect(rights).not.toHaveProperty("TransactionalIdPrefix");
      // The rate that the environment is sized for fits in; ten times as much does not.
      const all = Number(ProducerBytesPerS) * environment.kafka.brokers;
      expect(all).toBeGreaterThan(environment.alarms.eventsPerS * 330);
      expect(all).toBeLessThan(Math.max(10 * environment.alarms.eventsPerS * 330, 4_000_000));
    }
    const cluster = Object.keys(templates.streaming.findResources("AWS::MSK::Cluster"))[0]!;
    const granted = statements(templates.streaming, /^AclsWriterRole/).filter(({ actions }) => actions[0]!.startsWith("kafka"));
    expect(granted).toHaveLength(1);
    expect(granted[0]!.actions).toContain("kafka-cluster:AlterCluster");
    expect(granted[0]!.resources).toBe(JSON.stringify({ "Fn::GetAtt": [cluster, "Arn"] }));
    for (const part of ["Operations", "Validator", "Processor", "Sinks"])
      for (const { actions } of statements(templates.processing, new RegExp(`^${part}`)))
        expect(actions).not.toContain("kafka-cluster:AlterCluster");
  });

  test("the brokers' addresses are asked of AWS by a role that may ask just that, and stand in SSM for whoever comes later", () => {
    const asked = resourcesOf(templates.streaming, "Custom::AWS").map(({ Properties }) => JSON.stringify(Properties));
    expect(asked).toHaveLength(1);
    expect(asked[0]).toContain("getBootstrapBrokers");
    const parameters = resourcesOf(templates.streaming, "AWS::SSM::Parameter").map(({ Properties }) => Properties);
    for (const [parameter, attribute] of Object.entries({ "bootstrap-iam": "SaslIam", "bootstrap-scram": "SaslScram" })) {
      const { Value } = parameters.find((each) => each["Name"] === `/weir/${name}/kafka/${parameter}`)!;
      expect(JSON.stringify(Value)).toContain(`BootstrapBrokerString${attribute}`);
    }
    expect(statements(templates.streaming, /^KafkaBootstrap/).flatMap(({ actions }) => actions)).toEqual(["kafka:GetBootstrapBrokers"]);
  });

  test("operations run inside the network, are repeated by nobody, and have the rights of their work alone", () => {
    const functions = resourcesOf(templates.processing, "AWS::Lambda::Function").map(({ Properties }) => Properties);
    const operations = functions.filter(({ FunctionName }) => FunctionName !== undefined);
    expect(operations.map(({ FunctionName }) => String(FunctionName)).toSorted()).toEqual(
      ["migrations", "redrive", "rules-publisher"].map((each) => `weir-${name}-${each}`),
    );
    for (const { VpcConfig, Architectures, KmsKeyArn, Environment: variables } of operations) {
      expect(VpcConfig).toBeDefined();
      expect([Architectures, KmsKeyArn !== undefined]).toEqual([["arm64"], true]);
      // A login is read when it is needed, and never stands in a template.
      expect(JSON.stringify(variables)).not.toContain("resolve:secretsmanager");
    }
    const retries = resourcesOf(templates.processing, "AWS::Lambda::EventInvokeConfig").map(
      ({ Properties }) => Properties["MaximumRetryAttempts"],
    );
    expect(retries).toEqual([0, 0, 0]);
    const may = (id: string, action: string): string =>
      statements(templates.processing, new RegExp(`^Operations${id}Role`))
        .filter(({ actions }) => actions.includes(action))
        .map(({ resources }) => resources)
        .join();
    expect(may("Redrive", "kafka-cluster:WriteData")).toMatch(/\/events\.raw"/);
    expect(may("Redrive", "kafka-cluster:ReadData")).not.toMatch(/\/events\.valid"/);
    // It looks how far the validator and the processor are, and can move neither.
    expect(may("Redrive", "kafka-cluster:DescribeGroup")).toContain(groupId(LIVE, "processor"));
    expect(may("Redrive", "kafka-cluster:AlterGroup")).toBe("");
    expect(may("RulesPublisher", "kafka-cluster:WriteData")).toMatch(/\/events\.valid"/);
    expect(may("RulesPublisher", "kafka-cluster:ReadData")).toBe("");
    expect(may("RulesPublisher", "s3:PutObject")).toContain("rules/*");
    for (const id of ["Migrations", "Redrive"]) expect(may(id, "s3:PutObject")).toBe("");
    expect(may("Migrations", "kafka-cluster:Connect")).toBe("");
  });

  test("the password of PostgreSQL's owner changes by itself every month, by a function of AWS that reaches the database", () => {
    const schedule = one(resourcesOf(templates.stores, "AWS::SecretsManager::RotationSchedule"));
    expect(schedule["RotationRules"]).toEqual({ ScheduleExpression: "rate(30 days)" });
    expect(schedule["HostedRotationLambda"]).toMatchObject({
      RotationType: "PostgreSQLSingleUser",
      KmsKeyArn: expect.anything(),
      VpcSecurityGroupIds: expect.anything(),
    });
    expect((templates.stores.toJSON() as { Transform?: string }).Transform).toMatch(/^AWS::SecretsManager-/);
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
    for (const type of ["AWS::ApiGatewayV2::Api", "AWS::Lambda::Url", "AWS::CloudFront::Distribution"])
      expect(allResources(name, type)).toEqual([]);
    for (const { Properties } of allResources(name, "AWS::ApiGateway::RestApi"))
      expect(Properties["EndpointConfiguration"]).toMatchObject({ Types: ["PRIVATE"], VpcEndpointIds: [expect.anything()] });
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
    expect(users.map(({ Engine }) => Engine)).toEqual(["valkey", "valkey", "valkey"]);
    // Who only reads may set what it has read, and nothing else that writes: test/integration/functions/api.test.ts runs under this list.
    expect(users.find(({ UserName }) => UserName === "reader")!["AccessString"]).toBe(READER_ACCESS);
  });

  test("the read API answers signed requests that come through its endpoint, within a rate, and writes down who asked", () => {
    const { api } = templates;
    const rest = one(resourcesOf(api, "AWS::ApiGateway::RestApi"));
    const [allowed, denied] = (rest["Policy"] as { Statement: Record<string, unknown>[] }).Statement;
    // A star would let in everybody of the account who can sign, whatever IAM says of him.
    expect(JSON.stringify(allowed!["Principal"])).toContain(":root");
    expect(denied).toMatchObject({
      Effect: "Deny",
      Principal: { AWS: "*" },
      Condition: {
        StringNotEquals: { "aws:SourceVpce": (rest["EndpointConfiguration"] as { VpcEndpointIds: unknown[] }).VpcEndpointIds[0] },
      },
    });
    const methods = resourcesOf(api, "AWS::ApiGateway::Method").map(({ Properties }) => Properties);
    expect(methods).toHaveLength(2 * Object.keys(API_PATHS).length);
    for (const method of methods) expect(method).toMatchObject({ HttpMethod: "GET", AuthorizationType: "AWS_IAM" });
    const stage = one(resourcesOf(api, "AWS::ApiGateway::Stage"));
    expect(stage).toMatchObject({
      AccessLogSetting: { DestinationArn: expect.anything(), Format: expect.stringContaining("$context.identity.userArn") },
      MethodSettings: [
        {
          HttpMethod: "*",
          ResourcePath: "/*",
          ThrottlingRateLimit: environment.api.ratePerS,
          ThrottlingBurstLimit: environment.api.burst,
          LoggingLevel: "ERROR",
          DataTraceEnabled: false,
        },
      ],
    });
    const endpoint = one(resourcesOf(api, "AWS::EC2::VPCEndpoint"));
    expect(endpoint).toMatchObject({ VpcEndpointType: "Interface", PrivateDnsEnabled: false, SecurityGroupIds: [expect.anything()] });
    expect(JSON.stringify(endpoint["PolicyDocument"])).toContain('"aws:PrincipalAccount"');
  });

  test("who may see one source is granted its paths and no others: each path is there behind its sources, and nothing else is", () => {
    const resources = templates.api.findResources("AWS::ApiGateway::Resource") as Record<string, Resource>;
    const pathOf = (id: string): string => {
      const { ParentId, PathPart } = resources[id]!.Properties as { ParentId: { Ref?: string }; PathPart: string };
      return `${ParentId.Ref === undefined ? "" : pathOf(ParentId.Ref)}/${PathPart}`;
    };
    const paths = resourcesOf(templates.api, "AWS::ApiGateway::Method").map(({ Properties }) =>
      pathOf((Properties["ResourceId"] as { Ref: string }).Ref),
    );
    expect(paths.toSorted()).toEqual(
      Object.values(API_PATHS)
        .flatMap((path) => [path, `${SOURCES_PREFIX}${path}`])
        .toSorted(),
    );
    for (const { Properties } of resourcesOf(templates.api, "AWS::IAM::ManagedPolicy"))
      expect(JSON.stringify(Properties["PolicyDocument"])).toMatch(/"Action":"execute-api:Invoke".*\/v1\/GET\/\*/);
  });

  test("the read API's function reads two logins that may change nothing, reaches two stores, and cannot starve the validator", () => {
    const functions = resourcesOf(templates.api, "AWS::Lambda::Function").map(({ Properties }) => Properties);
    const { reservedConcurrency } = environment.api;
    expect(one(resourcesOf(templates.api, "AWS::Lambda::Function"))).toMatchObject({
      Architectures: ["arm64"],
      KmsKeyArn: expect.anything(),
      VpcConfig: expect.anything(),
    });
    expect(functions[0]!["ReservedConcurrentExecutions"]).toBe(reservedConcurrency ?? undefined);
    if (name !== "dev") expect(environment.validator.reservedConcurrency! + reservedConcurrency!).toBeLessThanOrEqual(900);
    const secrets = statements(templates.api, /^ReadsRole/).filter(({ actions }) => actions.includes("secretsmanager:GetSecretValue"));
    expect(secrets).toHaveLength(1);
    expect(secrets[0]!.resources).toMatch(/ValkeyReaderLogin/);
    expect(secrets[0]!.resources).toMatch(/ApiLogin/);
    expect((JSON.parse(secrets[0]!.resources) as unknown[]).length).toBe(2);
    expect(JSON.stringify(functions[0]!["Environment"])).not.toContain("resolve:secretsmanager");
    const group = (member: string): string =>
      Object.keys(templates.network.findResources("AWS::EC2::SecurityGroup")).find((id) => id.startsWith(`Groups${member}`))!;
    const from = resourcesOf(templates.network, "AWS::EC2::SecurityGroupIngress").filter(({ Properties }) =>
      JSON.stringify(Properties["SourceSecurityGroupId"]).includes(`"${group("Api")}"`),
    );
    expect(from.map(({ Properties }) => String(Properties["Description"])).toSorted()).toEqual([
      "api to balancer: clickhouseHttps",
      "api to endpoints: https",
      "api to valkey: valkey",
    ]);
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

  test("what costs or breaks more than most need is off: a second region, experiments, more groups of Valkey", () => {
    expect(environment).toMatchObject({ standby: null, hasExperiments: false, site: "home", valkey: { groups: 1 } });
    for (const type of ["AWS::MSK::Replicator", "AWS::MSK::ClusterPolicy", "AWS::FIS::ExperimentTemplate"])
      expect(allResources(name, type), type).toEqual([]);
    expect(resourcesOf(templates.stores, "AWS::ElastiCache::ReplicationGroup")).toHaveLength(1);
    for (const { Properties } of allResources(name, "AWS::S3::Bucket")) expect(Properties).not.toHaveProperty("ReplicationConfiguration");
    expect(JSON.stringify(one(resourcesOf(templates.streaming, "AWS::MSK::Cluster")))).not.toContain("VpcConnectivity");
  });

  test("every stack stays far below CloudFormation's 500 resources", () => {
    for (const [stack, template] of Object.entries(templates)) {
      expect(Object.keys((template.toJSON() as { Resources: object }).Resources).length, stack).toBeLessThan(400);
    }
  });
});
