/** Objects that outlive every task: snapshots and rules releases, written once each. */
import type * as kms from "aws-cdk-lib/aws-kms";
import * as s3 from "aws-cdk-lib/aws-s3";
import type { Construct } from "constructs";
import { acknowledgeProviders } from "../checks/acknowledge.ts";
import { accessLogBucket, privateBucket, type PrivateBucketProps } from "../constructs/private-bucket.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export interface ObjectsStackProps extends WeirStackProps {
  readonly key: kms.IKey;
  /** The other region's key for objects, where there is one. */
  readonly copyKey?: kms.IKey;
}

export type BucketRole = "snapshots" | "rules" | "backups" | "snapshots-copy" | "backups-copy";

/**
 * Rules go where the other region's validator looks for them. Backups and snapshots must not: ClickHouse there makes backups of the same names, and a
 * snapshot names offsets of a log that is not there. Both are kept beside.
 */
const COPY_OF = { rules: "rules", snapshots: "snapshots-copy", backups: "backups-copy" } as const satisfies Partial<
  Record<BucketRole, BucketRole>
>;

/** Deletions are not copied, so the copies of what the processor tidies up end by themselves. */
const SNAPSHOT_COPY_DAYS = 7;

/** Buckets have names, so that stacks that come and go need not hold this one. */
export function bucketReference(stack: WeirStack, role: BucketRole): s3.IBucket {
  return s3.Bucket.fromBucketName(stack, `${role}Bucket`, bucketName(stack, role));
}

function bucketName(stack: WeirStack, role: BucketRole, region = stack.config.region): string {
  return `weir-${stack.config.name}-${role}-${stack.account}-${region}`;
}

export class ObjectsStack extends WeirStack {
  constructor(scope: Construct, props: ObjectsStackProps) {
    super(scope, "objects", props);
    const { isDurable, backupRetentionDays, site } = this.config;
    const accessLog = accessLogBucket(this, "AccessLog", { isDurable });
    const common = { key: props.key, accessLog, isDurable };
    const named = (role: keyof typeof COPY_OF): Pick<PrivateBucketProps, "name" | "copyTo"> => ({
      name: bucketName(this, role),
      ...this.#copyOf(COPY_OF[role], props.copyKey),
    });
    // The processor tidies up by itself: the newest three and one a day.
    privateBucket(this, "Snapshots", { ...common, ...named("snapshots") });
    privateBucket(this, "Rules", { ...common, ...named("rules"), keepOldVersionsDays: 90 });
    // An incremental chain of a day must not lose its base before its last link.
    const expireAfterDays = backupRetentionDays + 2;
    privateBucket(this, "Backups", { ...common, ...named("backups"), expireAfterDays });
    if (site === "standby") {
      privateBucket(this, "SnapshotsCopy", { ...common, name: bucketName(this, "snapshots-copy"), expireAfterDays: SNAPSHOT_COPY_DAYS });
      privateBucket(this, "BackupsCopy", { ...common, name: bucketName(this, "backups-copy"), expireAfterDays });
    }
    acknowledgeProviders(this);
  }

  #copyOf(role: BucketRole, key: kms.IKey | undefined): Pick<PrivateBucketProps, "copyTo"> {
    const { standby } = this.config;
    if (standby === null || key === undefined) return {};
    return { copyTo: { bucket: s3.Bucket.fromBucketName(this, `${role}There`, bucketName(this, role, standby.region)), key } };
  }
}
