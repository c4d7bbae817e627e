/** The identity of this process. In Lambda it stands in the environment; elsewhere AWS's own chain finds and renews it (loaded only there). */
import { awsEnvironment, type AwsCredentials } from "../../config/aws-environment.ts";
import { OperatingError, toError } from "../../kernel/errors.ts";

let chain: Promise<() => Promise<AwsCredentials>> | undefined;

/** @throws OperatingError AWS_CREDENTIALS */
export async function awsCredentials(): Promise<AwsCredentials> {
  const { credentials } = awsEnvironment();
  if (credentials !== undefined) return credentials;
  try {
    chain ??= import("@aws-sdk/credential-provider-node").then(({ defaultProvider }) => defaultProvider());
    return await (
      await chain
    )();
  } catch (thrown) {
    throw new OperatingError(`this process has no AWS identity: ${toError(thrown).message}`, {
      code: "AWS_CREDENTIALS",
      hint: "see whether the function or task has a role, or set AWS_PROFILE",
      cause: thrown,
    });
  }
}
