import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weir-options-"));
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

const configOf = (environment: Record<string, string>): Config => loadConfig(environment);

describe("the way to Kafka", () => {
  test("is plain unless the configuration says otherwise", async () => {
    expect(await kafkaOptions(configOf({ WEIR_KAFKA: "a:1, b:2" }))).toEqual({ brokers: ["a:1", "b:2"] });
  });

  test("by TLS trusts the authority that a file names", async () => {
    writeFileSync(join(folder, "ca.pem"), "-----BEGIN CERTIFICATE-----\n");
    expect(await kafkaOptions(configOf({ WEIR_KAFKA_SECURITY: "tls", WEIR_KAFKA_CA_FILE: join(folder, "ca.pem") }))).toMatchObject({
      tls: { ca: "-----BEGIN CERTIFICATE-----" },
    });
    expect(await kafkaOptions(configOf({ WEIR_KAFKA_SECURITY: "tls" }))).toMatchObject({ tls: true });
  });

  test("by SCRAM is over TLS, with the login of the configuration", async () => {
    const config = configOf({ WEIR_KAFKA_SECURITY: "sasl-scram", WEIR_KAFKA_USERNAME: "u", WEIR_KAFKA_PASSWORD: "p" });
    expect(await kafkaOptions(config)).toEqual({
      brokers: ["127.0.0.1:9092"],
      tls: true,
      sasl: { mechanism: "SCRAM-SHA-512", username: "u", password: "p" },
    });
  });

  test("by a token reads the file for every connection, since it is renewed there", async () => {
    const file = join(folder, "token");
    const { sasl } = await kafkaOptions(configOf({ WEIR_KAFKA_SECURITY: "oauth", WEIR_KAFKA_TOKEN_FILE: file }));
    if (sasl?.mechanism !== "OAUTHBEARER") throw new Error("no bearer token");
    await expect(sasl.token()).rejects.toMatchObject({ code: "KAFKA_CREDENTIALS_FILE" });
    for (const token of ["first", "second"]) {
      writeFileSync(file, `${token}\n`);
      expect(await sasl.token()).toBe(token);
    }
  });

  test("by IAM takes the region from the brokers' names", async () => {
    const { tls, sasl } = await kafkaOptions(
      configOf({ WEIR_KAFKA_SECURITY: "iam", WEIR_KAFKA: "b-1.weir.abc.c2.kafka.eu-central-1.amazonaws.com:9098" }),
    );
    expect([tls, sasl?.mechanism]).toEqual([true, "OAUTHBEARER"]);
  });
});

describe("a configuration of Kafka's security", () => {
  test.each<[string, Record<string, string>, string]>([
    ["SCRAM without a login", { WEIR_KAFKA_SECURITY: "sasl-scram" }, "sasl-scram wants kafkaUsername and kafkaPassword, or kafkaSecret"],
    ["a token without its file", { WEIR_KAFKA_SECURITY: "oauth" }, "oauth wants kafkaTokenFile"],
    ["a password that nothing would use", { WEIR_KAFKA_PASSWORD: "hunter2" }, "is none, but credentials or a CA for Kafka are set"],
    [
      "two logins",
      { WEIR_KAFKA_SECURITY: "sasl-scram", WEIR_KAFKA_SECRET: "AmazonMSK_x", WEIR_KAFKA_USERNAME: "u", WEIR_KAFKA_PASSWORD: "hunter2" },
      "stands instead of kafkaUsername and kafkaPassword",
    ],
    ["a kind that does not exist", { WEIR_KAFKA_SECURITY: "ssl" }, "kafkaSecurity"],
  ])("with %s is refused, and the message repeats no secret", (_what, environment, message) => {
    expect(() => configOf(environment)).toThrow(message);
    expect(() => configOf(environment)).not.toThrow(/hunter2/);
  });

  test("with a secret of the wrong type in a file is refused without showing it", () => {
    const file = join(folder, "weir.json");
    writeFileSync(file, JSON.stringify({ kafkaPassword: { deep: "hunter2" } }));
    expect(() => configOf({ WEIR_CONFIG: file })).toThrow(/kafkaPassword: .*a secret/);
    expect(() => configOf({ WEIR_CONFIG: file })).not.toThrow(/hunter2/);
  });
});
