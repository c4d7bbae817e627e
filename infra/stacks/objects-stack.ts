/** Objects that outlive every task: snapshots and rules releases, written once each. */
import type * as kms from "aws-cdk-lib/aws-kms";
import * as s3 from "aws-cdk-lib/aws-s3";
import type { Construct } from "constructs";
import { acknowledgeProviders } from "../checks/acknowledge.ts";
import { accessLogBucket, privateBucket } from "../constructs/private-bucket.ts";
import { WeirStack, type WeirStackProps } from "./weir-stack.ts";

export interface ObjectsStackProps extends WeirStackProps {
  readonly key: kms.IKey;
}

export type BucketRole = "snapshots" | "rules" | "backups";

/** Buckets have names, so that stacks that come and go need not hold this one. */
export function bucketReference(stack: WeirStack, role: BucketRole): s3.IBucket {
  return s3.Bucket.fromBucketName(stack, `${role}Bucket`, bucketName(stack, role));
}

function bucketName(stack: WeirStack, role: BucketRole): string {
  return `weir-${stack.config.name}-${role}-${stack.account}-${stack.config.region}`;
}

export class ObjectsStack extends WeirStack {
  constructor(scope: Construct, props: ObjectsStackProps) {
    super(scope, "objects", props);
    const { isDurable, backupRetentionDays } = this.config;
    const accessLog = accessLogBucket(this, "AccessLog", { isDurable });
    const common = { key: props.key, accessLog, isDurable };
    const name = (role: BucketRole): string => bucketName(this, role);
    // The processor tidies up by itself: the newest three and one a day.
    privateBucket(this, "Snapshots", { ...common, name: name("snapshots") });
    privateBucket(this, "Rules", { ...common, name: name("rules"), keepOldVersionsDays: 90 });
    // An incremental chain of a day must not lose its base before its last link.
    privateBucket(this, "Backups", { ...common, name: name("backups"), expireAfterDays: backupRetentionDays + 2 });
    acknowledgeProviders(this);
  }
}
