import { generateAuthTokenFromCredentialsProvider } from "aws-msk-iam-sasl-signer-js";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseLogin } from "#shared/clients/aws/secret.ts";
import { signMskToken } from "#shared/clients/aws/msk-token.ts";
import { type AwsCredentials, awsEnvironment } from "#shared/config/aws-environment.ts";

const NOW_MS = Date.UTC(2026, 10, 24, 9, 5, 7);

const urlOf = (token: string): URL => new URL(Buffer.from(token, "base64url").toString());

/** Everything but who signed it. */
function parametersOf(url: URL): Record<string, string> {
  const { "User-Agent": _agent, ...rest } = Object.fromEntries(url.searchParams);
  return rest;
}

describe("the token for Amazon MSK", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: NOW_MS });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test.each<[string, string, AwsCredentials]>([
    ["of a user", "us-east-1", { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY" }],
    ["of a role", "eu-central-1", { accessKeyId: "ASIA1", secretAccessKey: "s/e+c", sessionToken: "IQoJb3JpZ2lu//a+b=='(!*)~_-." }],
    ["of a role about to expire", "ap-southeast-2", { accessKeyId: "A", secretAccessKey: "b", expiration: new Date(NOW_MS + 300_000) }],
  ])("%s is the one that the published signer makes, signature included", async (_what, region, credentials) => {
    const published = await generateAuthTokenFromCredentialsProvider({
      region,
      awsCredentialsProvider: async () => credentials as Required<Pick<AwsCredentials, "accessKeyId" | "secretAccessKey">>,
    });
    const ours = signMskToken(region, credentials, NOW_MS);
    expect(ours).toMatch(/^[\w-]+$/);
    expect(urlOf(ours).host).toBe(urlOf(published.token).host);
    expect(parametersOf(urlOf(ours))).toEqual(parametersOf(urlOf(published.token)));
    expect(urlOf(ours).searchParams.get("X-Amz-Signature")).toMatch(/^[0-9a-f]{64}$/);
  });

  test("signed at another time is another", () => {
    const credentials = { accessKeyId: "A", secretAccessKey: "b" };
    expect(signMskToken("us-east-1", credentials, NOW_MS)).not.toBe(signMskToken("us-east-1", credentials, NOW_MS + 1_000));
  });
});

describe("the identity in the environment", () => {
  test("is whole or none", () => {
    expect(awsEnvironment({ AWS_REGION: "eu-west-1", AWS_ACCESS_KEY_ID: "A", AWS_SECRET_ACCESS_KEY: "b", AWS_SESSION_TOKEN: "c" })).toEqual(
      {
        region: "eu-west-1",
        credentials: { accessKeyId: "A", secretAccessKey: "b", sessionToken: "c" },
      },
    );
    expect(awsEnvironment({ AWS_DEFAULT_REGION: "eu-west-2", AWS_ACCESS_KEY_ID: "A" })).toEqual({
      region: "eu-west-2",
      credentials: undefined,
    });
  });
});

describe("a SCRAM secret", () => {
  test("holds user and password as MSK wants them", () => {
    expect(parseLogin('{"username":"weir","password":"p","engine":"other"}', "AmazonMSK_weir")).toEqual({
      username: "weir",
      password: "p",
    });
  });

  test.each([undefined, "", "hunter2", '{"username":"weir"}', '{"username":"","password":"hunter2"}', "[]"])(
    "of another shape is refused without a word of it: %s",
    (text) => {
      const attempt = (): unknown => parseLogin(text, "AmazonMSK_weir");
      expect(attempt).toThrow(expect.objectContaining({ code: "SECRET_SHAPE" }) as Error);
      expect(attempt).not.toThrow(/hunter2/);
    },
  );
});
