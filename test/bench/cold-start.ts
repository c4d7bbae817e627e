/**
 * What the first event waits for when Lambda starts another runtime: the bundled function in a fresh process without node_modules, from the start
 * of the process until it could be invoked (modules, rules, connection) and until the first block is acknowledged. Against a real broker.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleFunction } from "#functions/bundle.ts";
import { encodeEvent, encodeRecord } from "#local/lambda-twin/invocation-event.ts";
import { startServer } from "#local/services/servers.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { environmentOf } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { FunctionProcess } from "#test/support/function-process.ts";
import { goodEvent, NOW_MS } from "#test/support/validated-event.ts";

const STARTS = 9;
const BATCH = 100;
const LANE = "bench";

export interface ColdStartResult {
  readonly name: "cold-start";
  /** Medians. */
  readonly empty_process_ms: number;
  readonly load_ms: number;
  readonly first_ack_ms: number;
  readonly first_ack_ms_max: number;
  readonly start_bytes: number;
  readonly bundle_bytes: number;
}

export async function run(): Promise<ColdStartResult> {
  const dir = await mkdtemp(join(tmpdir(), "weir-bench-cold-"));
  const server = await startServer("kafka", { dir: join(dir, "kafka") });
  try {
    const { entry, startBytes, totalBytes } = await bundleFunction("validator", join(dir, "function"));
    await createTopics([server.address], [{ topic: topicName(LANE, "valid"), partitions: 1, replicationFactor: 1, config: {} }]);
    const environment = environmentOf({ lane: LANE, kafka: server.address, dataDir: join(dir, "data"), partitions: 1 });
    const at = { topic: topicName(LANE, "raw"), partition: 0 };
    const source = { arn: "arn:aws:kafka:local:0:cluster/weir/0", bootstrapServers: server.address, timestampType: "CREATE_TIME" } as const;
    const value = Buffer.from(JSON.stringify(goodEvent()));
    const record = (offset: number): string =>
      encodeRecord(at, { offset, timestampMs: NOW_MS, key: Buffer.from("42"), value, headers: [] }, source);
    const event = encodeEvent([{ ...at, encoded: Array.from({ length: BATCH }, (_, i) => record(i)) }], source);
    const empty = join(dir, "empty.mjs");
    await writeFile(empty, "export const handler = async () => undefined;\n");
    const loads: number[] = [];
    const acks: number[] = [];
    const empties: number[] = [];
    for (let i = 0; i < STARTS; i++) {
      const nothing = await FunctionProcess.start(dir, empty, {});
      empties.push(nothing.loadedMs);
      await nothing.stop();
      const cold = await FunctionProcess.start(dir, entry, environment);
      const outcome = await cold.invoke(event);
      await cold.stop();
      if (!outcome.ok) throw new Error(`a cold start failed: ${outcome.message}`);
      loads.push(cold.loadedMs);
      acks.push(outcome.endedMs);
    }
    return {
      name: "cold-start",
      empty_process_ms: median(empties),
      load_ms: median(loads),
      first_ack_ms: median(acks),
      first_ack_ms_max: Math.round(Math.max(...acks)),
      start_bytes: startBytes,
      bundle_bytes: totalBytes,
    };
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

function median(numbers: readonly number[]): number {
  return Math.round(numbers.toSorted((a, b) => a - b)[numbers.length >> 1]!);
}
