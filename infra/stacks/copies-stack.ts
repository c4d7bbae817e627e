/** Where the home region's copies of AWS Backup go: PostgreSQL and the rules, under a key of this region. */
import { Duration } from "aws-cdk-lib";
import * as backup from "aws-cdk-lib/aws-backup";
import type * as kms from "aws-cdk-lib/aws-kms";
import type { Construct } from "constructs";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export interface CopiesStackProps extends WeirStackProps {
  readonly key: kms.IKey;
}

export class CopiesStack extends WeirStack {
  readonly vault: backup.BackupVault;

  constructor(scope: Construct, props: CopiesStackProps) {
    super(scope, "copies", props);
    this.vault = new backup.BackupVault(this, "Vault", {
      encryptionKey: props.key,
      removalPolicy: this.removalPolicy,
      lockConfiguration: { minRetention: Duration.days(this.config.backupRetentionDays) },
    });
  }
}
