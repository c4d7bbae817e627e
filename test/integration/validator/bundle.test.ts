/** The function as it is deployed: bundled, alone in a folder, against a real broker. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { bundleFunction, type Bundle } from "#functions/bundle.ts";
import { environmentOf } from "#shared/config/config.ts";
import { decodeBlock } from "#shared/events/block.ts";
import { decodeHeaders } from "#shared/events/headers.ts";
import { FunctionProcess } from "#test/support/function-process.ts";
import { bytesAt, goodEvent, NOW_MS, verdictOf } from "#test/support/validated-event.ts";
import { headersOf, Lane } from "./lane.ts";

const TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const good = JSON.stringify(goodEvent());

let folder: string;
let bundle: Bundle;
let lane: Lane;
const processes: FunctionProcess[] = [];

async function start(environment: Record<string, string> = {}): Promise<FunctionProcess> {
  const started = await FunctionProcess.start(folder, bundle.entry, {
    ...environmentOf({
      lane: lane.name,
      kafka: inject("stack").kafka,
      dataDir: join(folder, "data"),
      partitions: 2,
      metrics: "emf",
      environment: "test",
    }),
    ...environment,
  });
  processes.push(started);
  return started;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-bundle-"));
  bundle = await bundleFunction("validator", join(folder, "function"));
  lane = await Lane.create(inject("stack").kafka.split(",")[0]!);
});

afterAll(async () => {
  await Promise.all(processes.map((each) => each.stop()));
  await lane.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("the bundle", () => {
  test("is below 2 MB with everything in it, and a cold start reads half of that at most", () => {
    expect(bundle.totalBytes).toBeLessThan(2_000_000);
    expect(bundle.startBytes).toBeLessThan(1_000_000);
    expect(bundle.packages.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["functions/validator", "@aws-sdk/client-secrets-manager"]),
    );
  });

  test("runs without node_modules: a cold process validates a batch and has it acknowledged", async () => {
    const cold = await start();
    const outcome = await cold.invoke(lane.event(0, 100, [good, "{", good], [["traceparent", Buffer.from(TRACE)]]));
    expect(outcome).toMatchObject({ ok: true });
    const [record] = await lane.blocks(0);
    const oldest = String(NOW_MS);
    expect(headersOf(record!)).toEqual({
      kind: "block",
      gen: "1",
      first: "100",
      last: "102",
      count: "3",
      rules: "1",
      oldest,
      traces: TRACE,
    });
    const { columns } = decodeBlock(record!.value!);
    expect([0, 1, 2].map((row) => verdictOf(columns, row).reason)).toEqual([null, "json.syntax", null]);
    expect(decodeHeaders(bytesAt(columns.headers, 0)!)).toEqual([["traceparent", new Uint8Array(Buffer.from(TRACE))]]);
    // Not a bench, which is `npm run bench -- validator`: a bound that a mistake of kind, not of degree, would break.
    expect(outcome.endedMs).toBeLessThan(10_000);
  });

  test("says in its metrics what came in and what was refused, and what a cold start cost", async () => {
    const cold = await start();
    await cold.invoke(lane.event(1, 0, [good, "{", "[]", good]));
    await cold.invoke(lane.event(1, 4, [good]));
    const documents = cold.output
      .split("\n")
      .filter((line) => line.includes('"_aws"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    const sumOf = (name: string): number => documents.reduce((sum, document) => sum + ((document[name] as number | undefined) ?? 0), 0);
    expect(documents).toHaveLength(4);
    expect(documents.every((document) => document["lane"] === lane.name && document["environment"] === "test")).toBe(true);
    expect(["BatchesValidated", "BatchFailures", "EventsIn", "EventsRejected", "BlocksProduced", "ColdStarts"].map(sumOf)).toEqual([
      2, 0, 5, 2, 2, 1,
    ]);
    expect(sumOf("BytesIn")).toBe(3 * good.length + 3);
    expect(documents.flatMap(({ reason, RejectsByReason }) => (reason === undefined ? [] : [[reason, RejectsByReason]]))).toEqual([
      ["json.syntax", 1],
      ["schema.not_object", 1],
    ]);
    expect(documents[0]).toMatchObject({ RulesVersion: 1, RulesFailingSeconds: 0 });
    expect((documents[0]!["InitDurationMs"] as number[])[0]).toBeGreaterThan(1);
  });

  test("writes nothing of an event, its key, its headers or its credentials into any log, whatever goes wrong", async () => {
    const secrets = {
      value: "PLANTED-VALUE-7c1d",
      key: "PLANTED-KEY-51aa",
      header: "PLANTED-HEADER-93bf",
      password: "PLANTED-PASSWORD-02e4",
    };
    const bad = JSON.stringify({
      ...goodEvent(),
      session_id: secrets.value,
      event_time: secrets.value,
      properties: { [secrets.value]: secrets.value },
    });
    const event = lane.event(
      0,
      500,
      [good.replace("EUR", secrets.value), bad, `{"${secrets.value}`],
      [["x", Buffer.from(secrets.header)]],
      secrets.key,
    );
    const well = await start({ WEIR_LOG_LEVEL: "debug", POWERTOOLS_LOG_LEVEL: "DEBUG" });
    expect(await well.invoke(event)).toMatchObject({ ok: true });
    const unreachable = { WEIR_KAFKA: "127.0.0.1:9", WEIR_VALIDATOR_TIMEOUT_MS: "1000", POWERTOOLS_LOG_LEVEL: "DEBUG" };
    const ill = await start({
      ...unreachable,
      WEIR_KAFKA_SECURITY: "sasl-scram",
      WEIR_KAFKA_USERNAME: "weir",
      WEIR_KAFKA_PASSWORD: secrets.password,
    });
    const outcome = await ill.invoke(event);
    const wrong = await ill.invoke(event.replaceAll(".events.raw", ".events.clean"));
    expect([outcome.ok, wrong.ok, wrong.code]).toEqual([false, false, "LAMBDA_WRONG_TOPIC"]);
    const said = [well.output, ill.output, JSON.stringify([outcome, wrong])].join("\n");
    expect(said).toContain("batch failed and will be delivered again");
    for (const secret of Object.values(secrets)) {
      for (const form of [secret, Buffer.from(secret).toString("base64").slice(0, -4), Buffer.from(secret).join(",")])
        expect(said).not.toContain(form);
    }
  });

  test("ends an invocation that Kafka does not acknowledge before Lambda does, and the next one works", async () => {
    const warm = await start();
    // Less than a connection and a produce take.
    const hurried = await warm.invoke(lane.event(0, 900, [good]), 1);
    expect(hurried).toMatchObject({ ok: false, code: "VALIDATOR_TIMEOUT" });
    expect(await warm.invoke(lane.event(0, 900, [good]))).toMatchObject({ ok: true });
  });
});
