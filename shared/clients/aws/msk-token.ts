/**
 * The token that Amazon MSK takes as SASL/OAUTHBEARER: a presigned `kafka-cluster:Connect` URL in base64url. The published signer
 * (aws-msk-iam-sasl-signer-js) signs the same bytes, which a test shows, but brings an STS client, 2 MB, into every function.
 * Signature version 4 in a query: docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html.
 */
import { createHash, createHmac } from "node:crypto";
import type { AwsCredentials } from "../../config/aws-environment.ts";

/** The longest that MSK grants. The broker ends the session when the token does (KIP-368); the connection is renewed before. */
const LIFETIME_S = 900;
const SERVICE = "kafka-cluster";
const ALGORITHM = "AWS4-HMAC-SHA256";

export function signMskToken(region: string, credentials: AwsCredentials, nowMs: number): string {
  const host = `kafka.${region}.amazonaws.com`;
  const time = new Date(nowMs).toISOString().replace(/[-:]|\.\d+/g, "");
  const day = time.slice(0, 8);
  const scope = `${day}/${region}/${SERVICE}/aws4_request`;
  const lifetimeS =
    credentials.expiration === undefined ? LIFETIME_S : Math.min(LIFETIME_S, (credentials.expiration.getTime() - nowMs) / 1_000);
  const parameters: [string, string][] = [
    ["Action", `${SERVICE}:Connect`],
    ["X-Amz-Algorithm", ALGORITHM],
    ["X-Amz-Credential", `${credentials.accessKeyId}/${scope}`],
    ["X-Amz-Date", time],
    ["X-Amz-Expires", String(Math.floor(lifetimeS))],
  ];
  if (credentials.sessionToken !== undefined) parameters.push(["X-Amz-Security-Token", credentials.sessionToken]);
  parameters.push(["X-Amz-SignedHeaders", "host"]);
  const query = parameters.map(([name, value]) => `${name}=${escaped(value)}`).join("&");
  const request = `GET\n/\n${query}\nhost:${host}\n\nhost\n${hash("")}`;
  const toSign = `${ALGORITHM}\n${time}\n${scope}\n${hash(request)}`;
  let key: Buffer = Buffer.from(`AWS4${credentials.secretAccessKey}`);
  for (const part of [day, region, SERVICE, "aws4_request"]) key = hmac(key, part);
  const url = `https://${host}/?${query}&X-Amz-Signature=${hmac(key, toSign).toString("hex")}&User-Agent=weir`;
  return Buffer.from(url).toString("base64url");
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

/** RFC 3986: encodeURIComponent leaves five characters that the signature wants escaped. */
function escaped(value: string): string {
  return encodeURIComponent(value).replace(/[!'()*]/g, (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`);
}
