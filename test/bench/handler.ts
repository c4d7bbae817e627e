/**
 * The validator's function from Lambda's event, parsed already, to the acknowledged block: CPU of its whole process against a real broker, and
 * beside it the function as it is usually written, over the same events in the same run.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startServer } from "#local/services/servers.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { environmentOf } from "#shared/config/config.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import type { HandlerRun, Variant } from "./handler-process.ts";

/** Of handler-process.ts, which is a program and not to be imported. */
const BATCH = 1_000;

const EVENTS = 400_000;
/** The idiomatic one takes seven times as long. */
const REFERENCE_SHARE = 0.2;
const REFERENCE_EVENTS_MAX = 200_000;
const RETENTION_BYTES = 256 << 20;

export interface HandlerResult {
  readonly handler_ns_per_event: number;
  readonly best_handler_ns_per_event: number;
  readonly best_reference_ns_per_event: number;
  readonly handler_kernel_ns_per_event: number;
  readonly reference_ns_per_event: number;
  readonly handler_events: number;
  /** Of the function's process, after a tenth of its events and after all. */
  readonly handler_rss_mb_tenth: number;
  readonly handler_rss_mb_end: number;
  /** Every event handed in stands in a block, none twice; and the reference accepted every one. */
  readonly exact: boolean;
}

export async function measureHandlers(events = EVENTS): Promise<HandlerResult> {
  const dir = await mkdtemp(join(tmpdir(), "weir-bench-handler-"));
  const server = await startServer("kafka", { dir });
  try {
    const config = { "retention.bytes": String(RETENTION_BYTES), "segment.bytes": String(RETENTION_BYTES / 4) };
    const lanes: Record<Variant, string> = { weir: "bench", idiomatic: "reference" };
    const specs = Object.values(lanes).map((lane) => ({ topic: topicName(lane, "valid"), partitions: 1, replicationFactor: 1, config }));
    await createTopics([server.address], specs);
    const run = (variant: Variant, count: number): Promise<HandlerRun> =>
      runProcess(variant, count, environmentOf({ lane: lanes[variant], kafka: server.address, dataDir: dir, partitions: 1 }));
    const ours = await run("weir", events);
    const reference = await run("idiomatic", Math.min(REFERENCE_EVENTS_MAX, events * REFERENCE_SHARE));
    const whole = await isWhole(server.address, topicName(lanes.weir, "valid"), ours.events);
    return {
      handler_ns_per_event: Math.round(ours.cpuNsPerEvent),
      best_handler_ns_per_event: Math.round(ours.bestCpuNsPerEvent),
      best_reference_ns_per_event: Math.round(reference.bestCpuNsPerEvent),
      handler_kernel_ns_per_event: Math.round(ours.systemNsPerEvent),
      reference_ns_per_event: Math.round(reference.cpuNsPerEvent),
      handler_events: ours.events,
      handler_rss_mb_tenth: Math.round(ours.rssTenthMib),
      handler_rss_mb_end: Math.round(ours.rssEndMib),
      exact: whole && reference.accepted === reference.events,
    };
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function runProcess(variant: Variant, count: number, environment: Record<string, string>): Promise<HandlerRun> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "handler-process.ts"), variant, String(count)], {
    env: { ...process.env, ...environment, NODE_NO_WARNINGS: "1" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`the ${variant} handler ended with exit code ${code}`);
  return JSON.parse(output) as HandlerRun;
}

/** By the log's end: as many blocks as batches, the last of which ends with the last event. Older blocks may have gone with their segments. */
async function isWhole(broker: string, topic: string, events: number): Promise<boolean> {
  const kafka = await openKafka({ brokers: [broker], clientId: "weir-bench" });
  try {
    const at = { topic, partition: 0 };
    const end = await kafka.listOffset(at, "latest", "read_committed");
    const [answer] = await kafka.fetch([{ ...at, offset: end - 1 }], { isolation: "read_committed" });
    const last = answer?.records.at(-1)?.headers.find(([name]) => name === HEADERS.lastSourceOffset)?.[1];
    return end * BATCH === events && last !== undefined && Number(Buffer.from(last).toString()) === events - 1;
  } finally {
    await kafka.close();
  }
}
