/** What fresh servers must hold before the services start: topics, tables, metadata and the first release of rules. Everything here may be repeated. */
import { createTopics } from "#shared/clients/kafka/admin.ts";
import type { Config } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";

export async function prepareKafka(config: Config): Promise<string> {
  const specs = topicSpecs(config.lane, config.partitions, { replicationFactor: 1 });
  await createTopics(config.kafka.split(","), specs);
  return `${specs.length} topics of ${config.partitions} partitions`;
}
