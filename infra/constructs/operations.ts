/** What operators do now and then, as functions that they invoke: no shell inside the network, no login in anybody's hands, a log of each call. */
import type * as ec2 from "aws-cdk-lib/aws-ec2";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as s3 from "aws-cdk-lib/aws-s3";
import { Construct } from "constructs";
import { environmentOf } from "#shared/config/config.ts";
import { operationVariables } from "#shared/config/operation-environment.ts";
import { kafkaRights } from "#shared/events/kafka-rights.ts";
import type { Environment } from "../config/environment.ts";
import { kafkaStatements } from "./kafka-access.ts";
import type { KafkaReference } from "./kafka-reference.ts";
import { type Operation, OperationFunction } from "./operation-function.ts";

/** Lambda's longest; a replay that needs more goes on with the next invocation. */
const LONG_S = 900;
const SHORT_S = 120;

export interface OperationsProps {
  readonly environment: Environment;
  readonly code: Readonly<Record<Operation, string>>;
  readonly kafka: KafkaReference;
  readonly vpc: ec2.IVpc;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly keys: Readonly<Record<"operations" | "objects" | "stores", kms.IKey>>;
  readonly rules: s3.IBucket;
  readonly postgres: { readonly address: string; readonly secretArn: string };
  readonly clickhouse: { readonly replicaUrls: readonly string[]; readonly operatorSecretArn: string; readonly ca: string };
}

export class Operations extends Construct {
  readonly #props: OperationsProps;

  constructor(scope: Construct, id: string, props: OperationsProps) {
    super(scope, id);
    this.#props = props;
    const { environment, kafka, keys, clickhouse } = props;
    const rights = kafkaRights({ lane: "live", generation: environment.generation });
    this.#add("Migrations", "migrations", {
      description: "brings the schemas of PostgreSQL and ClickHouse up to date",
      timeoutS: LONG_S,
      secrets: [clickhouse.operatorSecretArn],
      variables: operationVariables({
        clickhouseReplicas: clickhouse.replicaUrls.join(","),
        clickhouseSecret: clickhouse.operatorSecretArn,
        clickhouseCa: clickhouse.ca,
      }),
    });
    this.#add("RulesPublisher", "rules-publisher", {
      description: "publishes the newest release of the rules",
      timeoutS: SHORT_S,
      statements: [
        ...kafkaStatements(kafka.clusterArn, rights["rules-publisher"]),
        ...this.#rulesStatements("s3:GetObject", "s3:PutObject"),
        new iam.PolicyStatement({ actions: ["kms:Decrypt", "kms:GenerateDataKey"], resources: [keys.objects.keyArn] }),
      ],
    });
    this.#add("Redrive", "redrive", {
      description: "replays dead letters",
      timeoutS: LONG_S,
      statements: [
        ...kafkaStatements(kafka.clusterArn, rights.redrive),
        ...this.#rulesStatements("s3:GetObject"),
        new iam.PolicyStatement({ actions: ["kms:Decrypt"], resources: [keys.objects.keyArn] }),
      ],
    });
  }

  #rulesStatements(...actions: string[]): iam.PolicyStatement[] {
    const { rules } = this.#props;
    return [
      new iam.PolicyStatement({ actions: ["s3:ListBucket"], resources: [rules.bucketArn] }),
      new iam.PolicyStatement({ actions, resources: [rules.arnForObjects("rules/*")] }),
    ];
  }

  #add(
    id: string,
    operation: Operation,
    options: {
      readonly description: string;
      readonly timeoutS: number;
      readonly statements?: readonly iam.PolicyStatement[];
      readonly secrets?: readonly string[];
      readonly variables?: Readonly<Record<string, string>>;
    },
  ): void {
    const { environment, code, kafka, vpc, securityGroup, keys, rules, postgres } = this.#props;
    const { description, timeoutS, statements = [], secrets = [], variables = {} } = options;
    new OperationFunction(this, id, {
      environment,
      operation,
      description,
      timeoutS,
      codeFolder: code[operation],
      vpc,
      securityGroup,
      key: keys.operations,
      // Whoever asked looks at the answer; nothing here should happen a second time unasked.
      retries: 0,
      variables: {
        ...environmentOf({
          environment: environment.name,
          lane: "live",
          generation: environment.generation,
          partitions: environment.partitions,
          kafka: kafka.bootstrapIam,
          kafkaSecurity: "iam",
          rulesUrl: `s3://${rules.bucketName}/rules`,
        }),
        ...operationVariables({ postgresAddress: postgres.address, postgresSecret: postgres.secretArn }),
        ...variables,
      },
      statements: [
        new iam.PolicyStatement({ actions: ["secretsmanager:GetSecretValue"], resources: [postgres.secretArn, ...secrets] }),
        new iam.PolicyStatement({ actions: ["kms:Decrypt"], resources: [keys.stores.keyArn] }),
        ...statements,
      ],
    });
  }
}
