/**
 * The validator's Lambda function: decode, validate, encode, produce, and only then return. Data never makes it throw; what throws is a wrong
 * wiring or infrastructure, and then the mapping delivers the batch again (docs/ARCHITECTURE.md).
 */
import { Logger } from "@aws-lambda-powertools/logger";
import { BufferPool } from "#shared/clients/kafka/buffer-pool.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { encodeBlock } from "#shared/events/block.ts";
import { topicName } from "#shared/events/names.ts";
import { describeError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { EmfMetrics, type Metrics, NO_METRICS } from "#shared/telemetry/emf.ts";
import { emitBatch } from "./batch-metrics.ts";
import { BatchValidator, type BlockPlace, noCounts } from "./batch-validator.ts";
import { blockHeaders } from "./block-headers.ts";
import { BlockProducer } from "./block-producer.ts";
import { Deadline, type InvocationContext } from "./deadline.ts";
import { readInvocationEvent } from "./invocation-event.ts";
import { createRulesSource } from "./rules-source.ts";
import { limitsOf } from "./scanner/limits.ts";

/** Connection and rules are waited for before the first invocation, while Lambda gives the time for free; but not for ever. */
const WARM_UP_MS = 2_000;

const config: Config = loadConfig();
const logger = new Logger({ serviceName: "weir-validator" });
const rawTopic = topicName(config.lane, "raw");

const metrics: Metrics =
  config.metrics === "none"
    ? NO_METRICS
    : new EmfMetrics({
        dimensions: { service: "validator", environment: config.environment, lane: config.lane },
        intervalMs: config.metricsIntervalMs,
        now: Date.now,
        write: (line) => void process.stdout.write(`${line}\n`),
      });

const rules = createRulesSource({
  open: () => openRulesObjects(config),
  now: () => performance.now(),
  wallClock: () => Date.now(),
  onFallback: (problem, version) => logger.warn("rules release unusable, the last good one goes on", { problem, rulesVersion: version }),
});

let retries = 0;
let slowestProduceMs = 0;

const producer = new BlockProducer({
  topic: topicName(config.lane, "valid"),
  open: async () => {
    // Well within the function's own time limit, so that an outage ends as an error that names the broker, not as a time-out that names nothing.
    const patienceMs = Math.ceil(config.validatorTimeoutMs / 3);
    return openKafka({
      ...(await kafkaOptions(config)),
      clientId: "weir-validator",
      requestTimeoutMs: patienceMs,
      unavailableAfterMs: patienceMs,
    });
  },
  headersOf: (place) => blockHeaders(config.generation, place),
  onRetry: (problem, { partition, firstSourceOffset }) => {
    retries++;
    logger.warn("produce repeated", { problem, partition, firstSourceOffset });
  },
});

/** A block's bytes are free again when its send is over. */
const buffers = new BufferPool();

const batch = new BatchValidator(limitsOf(config), {
  encode: (columns, place) =>
    encodeBlock(columns, { generation: config.generation, topic: rawTopic, ...place }, (sizeBytes) => buffers.take(sizeBytes)),
  send: sendTimed,
});

await warmUp();
let initDurationMs: number | null = performance.now();

export async function handler(event: unknown, context?: InvocationContext): Promise<void> {
  const startedAtMs = Date.now();
  const started = performance.now();
  const counts = noCounts();
  const deadline = new Deadline(context, config.kafka, (error) => void producer.close(error));
  retries = 0;
  slowestProduceMs = 0;
  let failed = true;
  try {
    const batches = readInvocationEvent(event, rawTopic);
    if (batches.length > 0) await batch.run(batches, await deadline.within(rules.plan()), counts);
    failpoint("validator-after-produce");
    failed = false;
    logger.debug("batch validated", { events: counts.events, rejects: counts.rejects, blocks: counts.blocks, partitions: batches.length });
  } catch (thrown) {
    // What it has in flight is unknown.
    await producer.close();
    logger.error("batch failed and will be delivered again", {
      problem: describeError(thrown),
      code: (thrown as { code?: string }).code,
      requestId: context?.awsRequestId,
    });
    throw thrown;
  } finally {
    deadline.clear();
    const durationMs = performance.now() - started;
    emitBatch(metrics, {
      counts,
      failed,
      durationMs,
      produceMs: slowestProduceMs,
      retries,
      rules: rules.state(),
      startedAtMs,
      initDurationMs,
    });
    initDurationMs = null;
  }
}

async function sendTimed(value: Uint8Array, place: BlockPlace): Promise<void> {
  const began = performance.now();
  try {
    await producer.send(value, place);
  } finally {
    buffers.give(value as Buffer);
  }
  slowestProduceMs = Math.max(slowestProduceMs, performance.now() - began);
}

/** Never fails: the first invocation meets the same trouble and can say so. */
async function warmUp(): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<void>((resolve) => (timer = setTimeout(resolve, WARM_UP_MS)));
  await Promise.race([limit, Promise.allSettled([producer.warm(), rules.plan()])]);
  clearTimeout(timer);
}
