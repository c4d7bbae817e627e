/** Custom resource: who may do what in Kafka, and how much of it. Logs in by IAM, which Kafka's own lists cannot lock out. */
import { Logger } from "@aws-lambda-powertools/logger";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { loadConfig } from "#shared/config/config.ts";
import { answerCloudformation } from "../custom-resource.ts";
import { declaredAccess, declaredOrNothing, moveAccess } from "./access.ts";

const config = loadConfig();
const logger = new Logger({ serviceName: "weir-kafka-access" });

export async function handler(event: unknown, context: { getRemainingTimeInMillis(): number }): Promise<void> {
  await answerCloudformation(event, context.getRemainingTimeInMillis(), {
    physicalId: `weir-${config.environment}-kafka-access`,
    async apply({ type, properties, before }) {
      const after = type === "Delete" ? declaredOrNothing(undefined) : declaredAccess(properties);
      const undeclared = await moveAccess(await kafkaOptions(config), declaredOrNothing(type === "Delete" ? properties : before), after);
      for (const line of undeclared) logger.warn("access that is not declared here", { line });
      return { Grants: String(after.grants.size), Undeclared: String(undeclared.length) };
    },
    log: (level, text) => logger[level](text),
  });
}
