/**
 * The validator's Lambda function: decode, validate, encode, produce, and only then return. Data never makes it throw; what throws is a wrong
 * wiring or infrastructure, and then the mapping delivers the batch again (docs/ARCHITECTURE.md).
 */
import { Logger } from "@aws-lambda-powertools/logger";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import { type Config, loadConfig } from "#shared/config/config.ts";
import { encodeBlock } from "#shared/events/block.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { describeError, OperatingError, toError } from "#shared/kernel/errors.ts";
import { failpoint } from "#shared/kernel/failpoint.ts";
import { BatchValidator, type BlockPlace } from "./batch-validator.ts";
import { readInvocationEvent } from "./invocation-event.ts";
import { createRulesSource } from "./rules-source.ts";
import { limitsOf } from "./scanner/limits.ts";

const config: Config = loadConfig();
const logger = new Logger({ serviceName: "weir-validator" });
const rawTopic = topicName(config.lane, "raw");
const validTopic = topicName(config.lane, "valid");
const encoder = new TextEncoder();

const rules = createRulesSource({
  dataDir: config.dataDir,
  now: () => performance.now(),
  onFallback: (problem, version) => logger.warn("rules release unusable, the last good one goes on", { problem, rulesVersion: version }),
});

/** Warm between invocations; dropped after an error, since what it has in flight is unknown. */
let connection: Promise<Kafka> | undefined;

const batch = new BatchValidator(limitsOf(config), {
  encode: (columns, place) =>
    encodeBlock(columns, {
      generation: config.generation,
      topic: rawTopic,
      partition: place.partition,
      firstSourceOffset: place.firstSourceOffset,
      lastSourceOffset: place.lastSourceOffset,
      rulesVersion: place.rulesVersion,
    }),
  send: sendBlock,
});

export async function handler(event: unknown): Promise<void> {
  const batches = readInvocationEvent(event, rawTopic);
  if (batches.length === 0) return;
  const startedAtMs = performance.now();
  try {
    const counts = await batch.run(batches, rules.plan());
    failpoint("validator-after-produce");
    logger.debug("batch validated", { ...counts, partitions: batches.length, durationMs: Math.round(performance.now() - startedAtMs) });
  } catch (thrown) {
    const dropped = connection;
    connection = undefined;
    if (dropped !== undefined) await dropped.then((kafka) => kafka.close()).catch(() => undefined);
    logger.error("batch failed and will be delivered again", { problem: describeError(thrown), code: (thrown as { code?: string }).code });
    throw thrown;
  }
}

async function sendBlock(value: Uint8Array, place: BlockPlace): Promise<void> {
  try {
    connection ??= openConnection();
    const kafka = await connection;
    await kafka.produce({ topic: validTopic, partition: place.partition }, [{ key: null, value, headers: blockHeaders(place) }]);
  } catch (thrown) {
    const { firstSourceOffset, lastSourceOffset } = place;
    const error = toError(thrown);
    throw new OperatingError(
      `cannot produce the block of offsets ${firstSourceOffset} to ${lastSourceOffset} to ${validTopic}-${place.partition}: ${error.message}`,
      {
        code: error instanceof OperatingError ? error.code : "VALIDATOR_PRODUCE",
        hint: error instanceof OperatingError ? error.hint : undefined,
        cause: thrown,
      },
    );
  }
}

async function openConnection(): Promise<Kafka> {
  // Well within the function's own time limit, so that an outage ends as an error that names the broker, not as a time-out that names nothing.
  const patienceMs = Math.ceil(config.validatorTimeoutMs / 3);
  return openKafka({
    brokers: config.kafka.split(","),
    clientId: "weir-validator",
    requestTimeoutMs: patienceMs,
    unavailableAfterMs: patienceMs,
  });
}

function blockHeaders(place: BlockPlace): [string, Uint8Array][] {
  return [
    [HEADERS.kind, encoder.encode("block")],
    [HEADERS.generation, encoder.encode(String(config.generation))],
    [HEADERS.firstSourceOffset, encoder.encode(String(place.firstSourceOffset))],
    [HEADERS.lastSourceOffset, encoder.encode(String(place.lastSourceOffset))],
    [HEADERS.count, encoder.encode(String(place.count))],
    [HEADERS.rulesVersion, encoder.encode(String(place.rulesVersion))],
  ];
}
