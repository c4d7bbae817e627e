/** The validator's event source mapping and its Lambda, on this machine. */
import { fileURLToPath } from "node:url";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { processFlags } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import { runService } from "#shared/telemetry/service.ts";
import { EventSourceMapping } from "./event-source-mapping.ts";
import { RuntimePool } from "./runtime-pool.ts";

/** Execution environments, as provisioned concurrency. */
const RUNTIMES = 2;
const HANDLER = fileURLToPath(new URL("../../functions/validator/handler.ts", import.meta.url));

await runService("lambda-twin", async (service) => {
  const { config, log, stop } = service;
  const pool = new RuntimePool({ handlerPath: HANDLER, size: RUNTIMES, timeoutMs: config.validatorTimeoutMs, log });
  const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-lambda-twin" });
  // An armed failpoint of the function fires in one invocation: a runtime that died of it must not die again on the redelivery.
  let armed = processFlags.failpoint;
  const mapping = new EventSourceMapping({
    kafka,
    topic: topicName(config.lane, "raw"),
    partitions: config.partitions,
    group: groupId(config, "validator"),
    source: { arn: "arn:aws:kafka:local:000000000000:cluster/weir/1", bootstrapServers: config.kafka, timestampType: "LOG_APPEND_TIME" },
    batchSize: config.validatorBatchSize,
    concurrency: RUNTIMES,
    log,
    invoke: async (event, order) => {
      const failpoint = armed;
      armed = undefined;
      await pool.invoke(event, failpoint === undefined ? order : { ...order, failpoint });
    },
  });
  try {
    await pool.start();
    stop.addEventListener("abort", () => void setTimeout(() => void pool.close(), config.validatorTimeoutMs).unref(), { once: true });
    await mapping.run(stop, () => service.ready({ runtimes: RUNTIMES }));
    log.info("mapping drained", { ...mapping.counts });
  } finally {
    await pool.close();
    await kafka.close();
  }
});
