/** The function against a broker that lets nobody in without TLS and a login. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { environmentOf } from "#shared/config/config.ts";
import { FunctionProcess } from "#test/support/function-process.ts";
import { type SecureKafka, startSecureKafka, unsignedToken } from "#test/support/secure-kafka.ts";
import { goodEvent } from "#test/support/validated-event.ts";
import { Lane } from "./lane.ts";

const HANDLER = join(import.meta.dirname, "../../../functions/validator/handler.ts");
const good = JSON.stringify(goodEvent());
const SESSION_MS = 1_500;

let folder: string;
let broker: SecureKafka;
let lane: Lane;
let caFile: string;
let tokenFile: string;
const processes: FunctionProcess[] = [];

async function start(environment: Record<string, string>): Promise<FunctionProcess> {
  const started = await FunctionProcess.start(folder, HANDLER, {
    ...environmentOf({
      lane: lane.name,
      kafka: broker.address,
      dataDir: folder,
      partitions: 2,
      kafkaCaFile: caFile,
      validatorTimeoutMs: 6_000,
    }),
    ...environment,
  });
  processes.push(started);
  return started;
}

const byScram = (mechanism: string, password = broker.passwords.bob): Record<string, string> => ({
  WEIR_KAFKA_SECURITY: "sasl-scram",
  WEIR_KAFKA_SCRAM_MECHANISM: mechanism,
  WEIR_KAFKA_USERNAME: "bob",
  WEIR_KAFKA_PASSWORD: password,
});
const byToken = (): Record<string, string> => ({ WEIR_KAFKA_SECURITY: "oauth", WEIR_KAFKA_TOKEN_FILE: tokenFile });
const writeToken = (lifetimeS: number): void => writeFileSync(tokenFile, unsignedToken("weir", Math.floor(Date.now() / 1_000) + lifetimeS));

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-secure-"));
  broker = await startSecureKafka(join(folder, "kafka"), { sessionMs: SESSION_MS });
  caFile = join(folder, "ca.pem");
  tokenFile = join(folder, "token");
  writeFileSync(caFile, broker.certificate);
  lane = await Lane.create(broker.server.address);
});

afterAll(async () => {
  await Promise.all(processes.map((each) => each.stop()));
  await lane.close();
  await broker.server.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("a secured cluster lets the function in", () => {
  test.each(["SCRAM-SHA-512", "SCRAM-SHA-256"])("by %s over TLS", async (mechanism) => {
    const before = await lane.end(0);
    const running = await start(byScram(mechanism));
    expect(await running.invoke(lane.event(0, 0, [good]))).toMatchObject({ ok: true });
    expect(await lane.end(0)).toBe(before + 1);
  });

  test("by a token, and again when it has expired: the one in the file by then is taken", async () => {
    writeToken(3);
    const running = await start(byToken());
    const began = performance.now();
    let invocations = 0;
    // Past the first token's life the broker ends its session (KIP-368); no invocation may notice.
    while (performance.now() - began < 5_000) {
      if (invocations === 1) writeToken(600);
      expect(await running.invoke(lane.event(1, invocations, [good]))).toMatchObject({ ok: true });
      invocations++;
    }
    expect(await lane.end(1)).toBe(invocations);
    expect(running.output).not.toContain("batch failed");
  });

  test("past the session that the broker grants to a password", async () => {
    const running = await start(byScram("SCRAM-SHA-256"));
    const began = performance.now();
    while (performance.now() - began < 2 * SESSION_MS) expect(await running.invoke(lane.event(0, 9, [good]))).toMatchObject({ ok: true });
  });
});

describe("a secured cluster keeps the function out, which says why and nothing secret", () => {
  test("with a wrong password", async () => {
    const running = await start(byScram("SCRAM-SHA-512", "hunter2"));
    const outcome = await running.invoke(lane.event(0, 50, [good]));
    expect(outcome).toMatchObject({ ok: false, code: "KAFKA_AUTH" });
    expect(outcome.message).toContain(`${lane.name}.events.valid-0: Kafka refused the credentials`);
    expect(running.output + JSON.stringify(outcome)).not.toContain("hunter2");
  });

  test("with a token that is over, until the file holds another", async () => {
    writeToken(-60);
    const running = await start(byToken());
    expect(await running.invoke(lane.event(0, 51, [good]))).toMatchObject({ ok: false, code: "KAFKA_AUTH" });
    writeToken(600);
    expect(await running.invoke(lane.event(0, 51, [good]))).toMatchObject({ ok: true });
  });

  test("as an AWS identity: the token is made and sent, this broker is no Amazon MSK and refuses it", async () => {
    const running = await start({
      WEIR_KAFKA_SECURITY: "iam",
      AWS_REGION: "eu-central-1",
      AWS_ACCESS_KEY_ID: "AKIDEXAMPLE",
      AWS_SECRET_ACCESS_KEY: "PLANTED-AWS-SECRET",
    });
    const outcome = await running.invoke(lane.event(0, 52, [good]));
    expect(outcome).toMatchObject({ ok: false, code: "KAFKA_AUTH" });
    expect(running.output + JSON.stringify(outcome)).not.toContain("PLANTED-AWS-SECRET");
  });

  test("without TLS's authority", async () => {
    const running = await start({ ...byScram("SCRAM-SHA-512"), WEIR_KAFKA_CA_FILE: "" });
    expect(await running.invoke(lane.event(0, 53, [good]))).toMatchObject({ ok: false, code: "KAFKA_TLS" });
  });
});
