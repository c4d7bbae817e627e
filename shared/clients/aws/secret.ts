/** Secrets Manager, for what runs in AWS. The client is loaded only by who names a secret. */
import { z } from "zod";
import { OperatingError, toError, UnavailableError } from "../../kernel/errors.ts";

/** What MSK prescribes for a SCRAM secret (docs.aws.amazon.com/msk/latest/developerguide/msk-password.html). */
const login = z.object({ username: z.string().min(1), password: z.string().min(1) });

export type Login = z.output<typeof login>;

/** @throws UnavailableError SECRET_UNAVAILABLE, OperatingError SECRET_SHAPE. No message holds anything of the secret. */
export async function readLogin(secret: string): Promise<Login> {
  const { SecretsManagerClient, GetSecretValueCommand } = await import("@aws-sdk/client-secrets-manager");
  const client = new SecretsManagerClient({ maxAttempts: 3, requestHandler: { connectionTimeout: 2_000, requestTimeout: 5_000 } });
  let text: string | undefined;
  try {
    text = (await client.send(new GetSecretValueCommand({ SecretId: secret }))).SecretString;
  } catch (thrown) {
    const error = toError(thrown);
    throw new UnavailableError(`cannot read the secret ${secret}: ${error.name}: ${error.message}`, {
      code: "SECRET_UNAVAILABLE",
      hint: "see whether this identity may secretsmanager:GetSecretValue and kms:Decrypt, and whether the network reaches Secrets Manager",
      cause: error,
    });
  } finally {
    client.destroy();
  }
  return parseLogin(text, secret);
}

export function parseLogin(text: string | undefined, secret: string): Login {
  let content: unknown;
  try {
    content = JSON.parse(text ?? "");
  } catch {
    content = undefined;
  }
  const parsed = login.safeParse(content);
  if (parsed.success) return parsed.data;
  throw new OperatingError(`the secret ${secret} does not hold {"username", "password"} as JSON`, {
    code: "SECRET_SHAPE",
    hint: "write it as MSK wants it: both keys, both not empty",
  });
}
