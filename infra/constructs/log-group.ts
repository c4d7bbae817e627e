/** A log group as every one here is: it ends, it is encrypted by our key, and it goes with an environment that leaves nothing behind. */
import { RemovalPolicy } from "aws-cdk-lib";
import type * as kms from "aws-cdk-lib/aws-kms";
import * as logs from "aws-cdk-lib/aws-logs";
import type { Construct } from "constructs";
import type { Environment } from "../config/environment.ts";

export interface LogGroupProps {
  readonly environment: Environment;
  readonly key: kms.IKey;
  /** Only where another service or a configuration file knows it. */
  readonly name?: string;
}

const RETENTION = {
  7: logs.RetentionDays.ONE_WEEK,
  30: logs.RetentionDays.ONE_MONTH,
  90: logs.RetentionDays.THREE_MONTHS,
} as const;

export function logGroup(scope: Construct, id: string, { environment, key, name }: LogGroupProps): logs.LogGroup {
  return new logs.LogGroup(scope, id, {
    ...(name === undefined ? {} : { logGroupName: name }),
    retention: RETENTION[environment.logRetentionDays],
    encryptionKey: key,
    removalPolicy: environment.isDurable ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
  });
}
