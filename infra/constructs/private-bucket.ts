/** A bucket as every one here is: nobody outside, TLS only, own key, versions, and its accesses logged. */
import { Duration, RemovalPolicy, Stack } from "aws-cdk-lib";
import * as iam from "aws-cdk-lib/aws-iam";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as s3 from "aws-cdk-lib/aws-s3";
import type { Construct } from "constructs";
import { acknowledge, acknowledgeWildcards } from "../checks/acknowledge.ts";

export interface PrivateBucketProps {
  readonly name: string;
  readonly key: kms.IKey;
  readonly accessLog: s3.IBucket;
  readonly isDurable: boolean;
  readonly expireAfterDays?: number;
  /** Versions that were overwritten or deleted stay so long: time to notice. */
  readonly keepOldVersionsDays?: number;
  /** Where each object is written again, within fifteen minutes. What is deleted here stays there. */
  readonly copyTo?: { readonly bucket: s3.IBucket; readonly key: kms.IKey };
}

export function privateBucket(scope: Construct, id: string, props: PrivateBucketProps): s3.Bucket {
  const { name, key, accessLog, isDurable, expireAfterDays, keepOldVersionsDays = 7, copyTo } = props;
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
    ...(copyTo === undefined
      ? {}
      : { replicationRules: [copyRule(copyTo)], replicationRole: copyRole(scope, `${id}Copier`, { name, key, copyTo }) }),
  });
}

function copyRule({ bucket, key }: NonNullable<PrivateBucketProps["copyTo"]>): s3.ReplicationRule {
  return {
    id: "other-region",
    priority: 0,
    destination: bucket,
    kmsKey: key,
    sseKmsEncryptedObjects: true,
    deleteMarkerReplication: false,
    replicationTimeControl: s3.ReplicationTimeValue.FIFTEEN_MINUTES,
    metrics: s3.ReplicationTimeValue.FIFTEEN_MINUTES,
  };
}

/** S3's own; aws-cdk-lib would let it use every key ("Setting up permissions for live replication" in the S3 user guide). */
function copyRole(
  scope: Construct,
  id: string,
  { name, key, copyTo }: Pick<PrivateBucketProps, "name" | "key"> & { readonly copyTo: NonNullable<PrivateBucketProps["copyTo"]> },
): iam.Role {
  const here = `arn:${Stack.of(scope).partition}:s3:::${name}`;
  const allow = (actions: readonly string[], resource: string): iam.PolicyStatement =>
    new iam.PolicyStatement({ actions: [...actions], resources: [resource] });
  const role = new iam.Role(scope, id, {
    assumedBy: new iam.ServicePrincipal("s3.amazonaws.com", {
      conditions: { StringEquals: { "aws:SourceAccount": Stack.of(scope).account }, ArnLike: { "aws:SourceArn": here } },
    }),
    inlinePolicies: {
      Access: new iam.PolicyDocument({
        statements: [
          allow(["s3:GetReplicationConfiguration", "s3:ListBucket"], here),
          allow(["s3:GetObjectVersionForReplication", "s3:GetObjectVersionAcl", "s3:GetObjectVersionTagging"], `${here}/*`),
          allow(["s3:ReplicateObject", "s3:ReplicateTags"], copyTo.bucket.arnForObjects("*")),
          allow(["kms:Decrypt"], key.keyArn),
          allow(["kms:Encrypt", "kms:GenerateDataKey"], copyTo.key.keyArn),
        ],
      }),
    },
  });
  acknowledgeWildcards(role, [[/^Resource::.*:s3:::weir-.*\/\*$/, "every object of this bucket, read, and of its copy, written"]]);
  return role;
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
