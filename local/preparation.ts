/** What fresh servers must hold before the services start: topics, tables, metadata and the first release of rules. Everything here may be repeated. */
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { publishRelease, seedRules } from "#shared/clients/postgres/rules-store.ts";
import type { Config } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";

export async function prepareKafka(config: Config): Promise<string> {
  const specs = topicSpecs(config.lane, config.partitions, { replicationFactor: 1 });
  await createTopics(config.kafka.split(","), specs);
  return `${specs.length} topics of ${config.partitions} partitions`;
}

export async function prepareClickhouse(config: Config): Promise<string> {
  const client = new Clickhouse({ url: config.clickhouse, user: config.clickhouseUser, password: config.clickhousePassword });
  try {
    const applied = await migrateClickhouse(client, config.clickhouseDatabase, { replicated: false });
    return applied.length === 0 ? "up to date" : `${applied.length} migrations applied`;
  } finally {
    await client.close();
  }
}

export async function preparePostgres(config: Config): Promise<string> {
  const database = new Database(config.postgres);
  try {
    const applied = await migratePostgres(database);
    await seedRules(database, loadSeedRelease());
    const version = await publishRelease(database, config.dataDir, "starter");
    return `${applied.length === 0 ? "up to date" : `${applied.length} migrations applied`}, rules version ${version}`;
  } finally {
    await database.close();
  }
}
