/** What fresh servers must hold before the services start: topics, tables, metadata and the first release of rules. Everything here may be repeated. */
import { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import { openRulesObjects } from "#shared/clients/objects/open-objects.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import { migratePostgres } from "#shared/clients/postgres/migrate.ts";
import { applyRules, newestRelease, seedRules } from "#shared/clients/postgres/rules-store.ts";
import { publishNewest } from "#shared/clients/rules/publication.ts";
import type { Config } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { migrateClickhouse } from "#sinks/clickhouse/migrate.ts";

export async function prepareKafka(config: Config): Promise<string> {
  const specs = topicSpecs(config.lane, config.partitions, { replicationFactor: 1 });
  await createTopics(await kafkaOptions(config), specs);
  return `${specs.length} topics, ${config.partitions} partitions each but for minutes`;
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
    // Only the first release is made here. What somebody edits in the tables takes effect when somebody applies it.
    if ((await newestRelease(database)) === null) await applyRules(database, { actor: "starter", reason: "first start" });
    return applied.length === 0 ? "up to date" : `${applied.length} migrations applied`;
  } finally {
    await database.close();
  }
}

/** Publishes the newest release and announces it in this lane; finishes what a killed `weir rules apply` left. Needs topics and metadata. */
export async function prepareRules(config: Config): Promise<string> {
  const database = new Database(config.postgres);
  try {
    const publication = await publishNewest({
      database,
      objects: await openRulesObjects(config),
      id: { lane: config.lane, generation: config.generation },
      actor: "starter",
      withKafka: async (work) => {
        const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-starter" });
        try {
          await work(kafka);
        } finally {
          await kafka.close();
        }
      },
    });
    const { version, newerThanKnown } = publication!;
    return newerThanKnown === null ? `version ${version}` : `version ${newerThanKnown}, newer than PostgreSQL's ${version}`;
  } finally {
    await database.close();
  }
}
