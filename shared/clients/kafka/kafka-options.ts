/** How every part of the pipeline gets to Kafka: the one place where configuration becomes addresses, TLS and credentials. */
import { readFile } from "node:fs/promises";
import { awsEnvironment } from "../../config/aws-environment.ts";
import type { Config } from "../../config/config.ts";
import { ConfigError, OperatingError, toError } from "../../kernel/errors.ts";
import { awsCredentials } from "../aws/credentials.ts";
import { signMskToken } from "../aws/msk-token.ts";
import { readLogin } from "../aws/secret.ts";
import type { KafkaOptions } from "./types.ts";

type KafkaConfig = Pick<
  Config,
  "kafka" | "kafkaSecurity" | "kafkaCaFile" | "kafkaUsername" | "kafkaPassword" | "kafkaSecret" | "kafkaScramMechanism" | "kafkaTokenFile"
>;

export type KafkaAccess = Pick<KafkaOptions, "brokers" | "tls" | "sasl">;

/**
 * A SCRAM secret is read when this is called: call it again for a new connection after a refusal, it may have been changed. Tokens are asked for
 * by every connection itself. @throws ConfigError, OperatingError, UnavailableError.
 */
export async function kafkaOptions(config: KafkaConfig): Promise<KafkaAccess> {
  const brokers = config.kafka.split(",").map((broker) => broker.trim());
  if (config.kafkaSecurity === "none") return { brokers };
  const tls = config.kafkaCaFile === "" ? true : { ca: await readText(config.kafkaCaFile, "kafkaCaFile") };
  switch (config.kafkaSecurity) {
    case "tls":
      return { brokers, tls };
    case "sasl-scram":
      return { brokers, tls, sasl: { mechanism: config.kafkaScramMechanism, ...(await loginOf(config)) } };
    case "iam": {
      const region = regionOf(brokers);
      return {
        brokers,
        tls,
        sasl: { mechanism: "OAUTHBEARER", token: async () => signMskToken(region, await awsCredentials(), Date.now()) },
      };
    }
    case "oauth":
      return { brokers, tls, sasl: { mechanism: "OAUTHBEARER", token: () => readText(config.kafkaTokenFile, "kafkaTokenFile") } };
  }
}

function loginOf({ kafkaSecret, kafkaUsername, kafkaPassword }: KafkaConfig): Promise<{ username: string; password: string }> {
  return kafkaSecret === "" ? Promise.resolve({ username: kafkaUsername, password: kafkaPassword }) : readLogin(kafkaSecret);
}

function regionOf(brokers: readonly string[]): string {
  // The brokers' own names say it (b-1.cluster.id.c2.kafka.eu-central-1.amazonaws.com:9098), also to a client in another region.
  const region = /\.kafka\.([a-z0-9-]+)\.amazonaws\.com/.exec(brokers[0] ?? "")?.[1] ?? awsEnvironment().region;
  if (region !== undefined) return region;
  throw new ConfigError(["kafkaSecurity: iam wants to know the region: set AWS_REGION"]);
}

async function readText(path: string, key: string): Promise<string> {
  try {
    return (await readFile(path, "utf8")).trim();
  } catch (thrown) {
    throw new OperatingError(`cannot read the file that ${key} names: ${toError(thrown).message}`, {
      code: "KAFKA_CREDENTIALS_FILE",
      hint: `see whether it exists and this process may read it`,
      cause: thrown,
    });
  }
}
