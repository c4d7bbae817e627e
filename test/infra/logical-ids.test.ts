import { expect, test } from "vitest";
import { allResources } from "./test-environment.ts";

const STATEFUL =
  /^AWS::(MSK::(Cluster|Topic)|RDS::DBInstance|ElastiCache::ReplicationGroup|S3::Bucket|KMS::Key|EC2::(Volume|NetworkInterface|VPC)|SecretsManager::Secret|Backup::BackupVault|Route53::HostedZone)$/;

/** A logical id that changes makes CloudFormation delete the resource and create another. This list may grow; what is in it must stay. */
test("resources that hold data keep their logical ids", async () => {
  const ids = allResources("prod")
    .filter(({ Type }) => STATEFUL.test(Type))
    .map(({ stack, Type, id }) => `${stack} ${Type} ${id}`)
    .toSorted();
  await expect(ids.join("\n")).toMatchFileSnapshot("logical-ids.txt");
});
