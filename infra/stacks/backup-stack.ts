/** Copies nobody can delete before their time, and the alarm of the bill. ClickHouse backs itself up; Kafka's copy is its replicas and its seven days. */
import { Duration } from "aws-cdk-lib";
import * as backup from "aws-cdk-lib/aws-backup";
import * as budgets from "aws-cdk-lib/aws-budgets";
import * as events from "aws-cdk-lib/aws-events";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import type * as rds from "aws-cdk-lib/aws-rds";
import type { Construct } from "constructs";
import { acknowledge } from "../checks/acknowledge.ts";
import { bucketReference } from "./objects-stack.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export interface BackupStackProps extends WeirStackProps {
  readonly key: kms.IKey;
  readonly postgres: rds.IDatabaseInstance;
  /** In the other region, where there is one. */
  readonly copyVault?: backup.IBackupVault;
}

export class BackupStack extends WeirStack {
  constructor(scope: Construct, props: BackupStackProps) {
    super(scope, "backup", props);
    const { environment, key, postgres, copyVault } = props;
    const retention = Duration.days(environment.backupRetentionDays);
    const vault = new backup.BackupVault(this, "Vault", {
      encryptionKey: key,
      removalPolicy: this.removalPolicy,
      // Governance mode: who may change the vault may lift it, an intruder with the application's rights may not.
      ...(environment.isDurable ? { lockConfiguration: { minRetention: retention } } : {}),
    });
    const plan = new backup.BackupPlan(this, "Plan", {
      backupVault: vault,
      backupPlanRules: [
        new backup.BackupPlanRule({
          ruleName: "daily",
          scheduleExpression: events.Schedule.cron({ hour: "2", minute: "30" }),
          startWindow: Duration.hours(1),
          completionWindow: Duration.hours(8),
          deleteAfter: retention,
          ...(copyVault === undefined ? {} : { copyActions: [{ destinationBackupVault: copyVault, deleteAfter: retention }] }),
        }),
      ],
    });
    const policies = [
      "ServiceRolePolicyForBackup",
      "ServiceRolePolicyForRestores",
      "ServiceRolePolicyForS3Backup",
      "ServiceRolePolicyForS3Restore",
    ];
    const role = new iam.Role(this, "Role", {
      assumedBy: new iam.ServicePrincipal("backup.amazonaws.com"),
      managedPolicies: policies.map((policy) => iam.ManagedPolicy.fromAwsManagedPolicyName(managedName(policy))),
    });
    for (const policy of policies) {
      const id = `AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/${managedName(policy)}]`;
      acknowledge(role, { [id]: "AWS Backup's own policies follow what the service needs; buckets need the second pair" });
    }
    plan.addSelection("Stores", {
      role,
      resources: [
        backup.BackupResource.fromRdsDatabaseInstance(postgres),
        backup.BackupResource.fromArn(bucketReference(this, "rules").bucketArn),
      ],
      disableDefaultBackupPolicy: true,
    });
    // A budget is of the account and all its regions: the home one's sees both.
    if (environment.site === "home") this.#addBudget();
  }

  #addBudget(): void {
    const environment = this.config;
    const { monthlyUsd, alertTo } = environment.budget;
    new budgets.CfnBudget(this, "Budget", {
      budget: {
        budgetName: `weir-${environment.name}`,
        budgetType: "COST",
        timeUnit: "MONTHLY",
        budgetLimit: { amount: monthlyUsd, unit: "USD" },
        costFilters: { TagKeyValue: [`user:cost-centre$weir-${environment.name}`] },
      },
      notificationsWithSubscribers: [
        { kind: "ACTUAL", threshold: 80 },
        { kind: "FORECASTED", threshold: 100 },
      ].map(({ kind, threshold }) => ({
        notification: { notificationType: kind, comparisonOperator: "GREATER_THAN", threshold, thresholdType: "PERCENTAGE" },
        subscribers: alertTo.map((address) => ({ subscriptionType: "EMAIL", address })),
      })),
    });
  }
}

/** AWS keeps some of its policies under service-role/ and the newer ones not. */
function managedName(policy: string): string {
  return policy.includes("S3") ? `AWSBackup${policy}` : `service-role/AWSBackup${policy}`;
}
