/** A bucket as every one here is: nobody outside, TLS only, own key, versions, and its accesses logged. */
import { Duration, RemovalPolicy } from "aws-cdk-lib";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as s3 from "aws-cdk-lib/aws-s3";
import type { Construct } from "constructs";
import { acknowledge } from "../checks/acknowledge.ts";

export interface PrivateBucketProps {
  readonly name: string;
  readonly key: kms.IKey;
  readonly accessLog: s3.IBucket;
  readonly isDurable: boolean;
  readonly expireAfterDays?: number;
  /** Versions that were overwritten or deleted stay so long: time to notice. */
  readonly keepOldVersionsDays?: number;
}

export function privateBucket(scope: Construct, id: string, props: PrivateBucketProps): s3.Bucket {
  const { name, key, accessLog, isDurable, expireAfterDays, keepOldVersionsDays = 7 } = props;
  return new s3.Bucket(scope, id, {
    bucketName: name,
    encryption: s3.BucketEncryption.KMS,
    encryptionKey: key,
    bucketKeyEnabled: true,
    enforceSSL: true,
    minimumTLSVersion: 1.2,
    blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
    versioned: true,
    serverAccessLogsBucket: accessLog,
    serverAccessLogsPrefix: `${id.toLowerCase()}/`,
    lifecycleRules: [
      {
        abortIncompleteMultipartUploadAfter: Duration.days(1),
        noncurrentVersionExpiration: Duration.days(keepOldVersionsDays),
        ...(expireAfterDays === undefined ? {} : { expiration: Duration.days(expireAfterDays) }),
      },
    ],
    removalPolicy: isDurable ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    autoDeleteObjects: !isDurable,
  });
}

/** The end of the chain: S3 writes it itself, and can only with a key of its own. */
export function accessLogBucket(scope: Construct, id: string, { isDurable }: { readonly isDurable: boolean }): s3.Bucket {
  const bucket = new s3.Bucket(scope, id, {
    encryption: s3.BucketEncryption.S3_MANAGED,
    enforceSSL: true,
    minimumTLSVersion: 1.2,
    blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
    lifecycleRules: [{ expiration: Duration.days(90), abortIncompleteMultipartUploadAfter: Duration.days(1) }],
    removalPolicy: isDurable ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    autoDeleteObjects: !isDurable,
  });
  acknowledge(bucket, { "AwsSolutions-S1": "this is where the others' access logs go" });
  return bucket;
}
