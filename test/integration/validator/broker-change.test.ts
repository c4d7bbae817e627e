/** A warm function whose broker is killed under it and comes back: the connection is stale, what it had in flight is unclear. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startKafka } from "#local/services/kafka.ts";
import type { RunningServer } from "#local/services/running-server.ts";
import { environmentOf } from "#shared/config/config.ts";
import { FunctionProcess } from "#test/support/function-process.ts";
import { goodEvent } from "#test/support/validated-event.ts";
import { headersOf, Lane } from "./lane.ts";

const HANDLER = join(import.meta.dirname, "../../../functions/validator/handler.ts");
const good = JSON.stringify(goodEvent());

let folder: string;
let broker: RunningServer;
let lane: Lane;
let running: FunctionProcess;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "weir-broker-change-"));
  broker = await startKafka({ dir: join(folder, "kafka") });
  lane = await Lane.create(broker.address);
  running = await FunctionProcess.start(
    folder,
    HANDLER,
    environmentOf({ lane: lane.name, kafka: broker.address, dataDir: folder, partitions: 2, validatorTimeoutMs: 60_000, metrics: "emf" }),
  );
});

afterAll(async () => {
  await running.stop();
  await lane.close();
  await broker.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function kill(): Promise<void> {
  process.kill(broker.pid, "SIGKILL");
  await broker.exited;
}

test("an invocation after the broker's restart works over a new connection", async () => {
  expect(await running.invoke(lane.event(0, 0, [good]))).toMatchObject({ ok: true });
  await kill();
  broker = await startKafka({ dir: join(folder, "kafka"), port: broker.port });
  expect(await running.invoke(lane.event(0, 1, [good]))).toMatchObject({ ok: true });
});

test("an invocation during the outage waits for the broker, and every block is there at least once, in order", async () => {
  await kill();
  const waiting = running.invoke(lane.event(0, 2, [good, good]), 60_000);
  broker = await startKafka({ dir: join(folder, "kafka"), port: broker.port });
  expect(await waiting).toMatchObject({ ok: true });
  const firsts = (await lane.blocks(0)).map((record) => Number(headersOf(record)["first"]));
  // What came twice stands directly behind its first copy, or the fold could not trim it.
  expect([...new Set(firsts)]).toEqual([0, 1, 2]);
  expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
});

test("an outage that outlives the invocation is one error that names the broker, and the same process serves the redelivery", async () => {
  await kill();
  const outcome = await running.invoke(lane.event(1, 9, [good]), 1_500);
  expect(outcome).toMatchObject({ ok: false, code: "VALIDATOR_TIMEOUT" });
  expect(outcome.message).toContain(broker.address);
  broker = await startKafka({ dir: join(folder, "kafka"), port: broker.port });
  expect(await running.invoke(lane.event(1, 9, [good]), 60_000)).toMatchObject({ ok: true });
  expect((await lane.blocks(1)).length).toBeGreaterThanOrEqual(1);
});
