/** Topics, by kafkajs' admin client: rare calls, where its maturity counts and its speed does not. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Admin } from "kafkajs";
import type { TopicSpec } from "../../events/topic-specs.ts";
import { OperatingError, toError, UnavailableError } from "../../kernel/errors.ts";
import { brokersOf, type ClusterAddress, kafkaJs } from "./kafkajs-client.ts";

const LEADERS_LIMIT_MS = 30_000;
const LEADERS_POLL_MS = 50;

export async function withAdmin<T>(address: ClusterAddress, work: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = kafkaJs(address, "weir-admin").admin();
  try {
    await admin.connect();
    return await work(admin);
  } catch (thrown) {
    if (thrown instanceof OperatingError) throw thrown;
    const error = toError(thrown);
    throw new UnavailableError(`Kafka at ${brokersOf(address).join(",")} did not carry out an admin request: ${error.message}`, {
      code: "KAFKA_UNAVAILABLE",
      hint: "see whether the brokers run and the address is right (WEIR_KAFKA)",
      cause: error,
    });
  } finally {
    await admin.disconnect().catch(() => undefined);
  }
}

/** Idempotent. A topic that exists with another number of partitions is refused: keyed state must never split silently. */
export async function createTopics(address: ClusterAddress, specs: readonly TopicSpec[]): Promise<void> {
  await withAdmin(address, async (admin) => {
    const existing = new Set(await admin.listTopics());
    const known = specs.filter(({ topic }) => existing.has(topic));
    if (known.length > 0) {
      const { topics } = await admin.fetchTopicMetadata({ topics: known.map(({ topic }) => topic) });
      for (const { name, partitions } of topics) {
        const wanted = known.find(({ topic }) => topic === name)!.partitions;
        if (partitions.length === wanted) continue;
        throw new OperatingError(`topic ${name} has ${partitions.length} partitions, the configuration says ${wanted}`, {
          code: "KAFKA_PARTITION_COUNT",
          hint: `set WEIR_PARTITIONS=${partitions.length}, or start another generation (WEIR_GENERATION) in another lane`,
        });
      }
    }
    const missing = specs.filter(({ topic }) => !existing.has(topic));
    if (missing.length === 0) return;
    await admin.createTopics({
      // Its own wait gives up when a broker's metadata lags behind the controller's answer.
      waitForLeaders: false,
      topics: missing.map(({ topic, partitions, replicationFactor, config }) => ({
        topic,
        numPartitions: partitions,
        replicationFactor,
        configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
      })),
    });
    await haveLeaders(admin, missing);
  });
}

/** Metadata reaches the brokers a moment after the controller has answered; until then they deny that the topic exists. */
async function haveLeaders(admin: Admin, specs: readonly TopicSpec[]): Promise<void> {
  const deadline = performance.now() + LEADERS_LIMIT_MS;
  for (;;) {
    try {
      const { topics } = await admin.fetchTopicMetadata({ topics: specs.map(({ topic }) => topic) });
      if (topics.every(({ partitions }) => partitions.length > 0 && partitions.every(({ leader }) => leader >= 0))) return;
    } catch (thrown) {
      if (performance.now() > deadline || (thrown as { readonly retriable?: boolean }).retriable !== true) throw thrown;
    }
    if (performance.now() > deadline) throw new Error(`new topics have no leaders after ${LEADERS_LIMIT_MS / 1_000} s`);
    await sleep(LEADERS_POLL_MS);
  }
}

export async function listTopics(address: ClusterAddress): Promise<string[]> {
  return withAdmin(address, (admin) => admin.listTopics());
}

/** Topics that do not exist are passed over. */
export async function deleteTopics(address: ClusterAddress, topics: readonly string[]): Promise<void> {
  await withAdmin(address, async (admin) => {
    const existing = new Set(await admin.listTopics());
    const present = topics.filter((topic) => existing.has(topic));
    if (present.length > 0) await admin.deleteTopics({ topics: present });
  });
}
