/** What topics and brokers are set to, and where a time lies in a topic: rare questions, by kafkajs' admin client. */
import kafkajs, { type ConfigResourceTypes } from "kafkajs";
import { withAdmin } from "./admin.ts";
import type { ClusterAddress } from "./kafkajs-client.ts";

type Settings = ReadonlyMap<string, string>;

export interface KafkaSettings {
  /** By topic; a topic that does not exist is not there. */
  readonly topics: ReadonlyMap<string, Settings>;
  readonly replicas: ReadonlyMap<string, number>;
  /** By node id. */
  readonly brokers: ReadonlyMap<string, Settings>;
}

export async function readSettings(address: ClusterAddress, topics: readonly string[]): Promise<KafkaSettings> {
  return withAdmin(address, async (admin) => {
    const existing = new Set(await admin.listTopics());
    const present = topics.filter((topic) => existing.has(topic));
    const { brokers } = await admin.describeCluster();
    const nodes = brokers.map(({ nodeId }) => String(nodeId));
    const read = async (type: ConfigResourceTypes, names: readonly string[]): Promise<Map<string, Settings>> => {
      if (names.length === 0) return new Map();
      const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: names.map((name) => ({ type, name })) });
      return new Map(
        resources.map(({ resourceName, configEntries }) => [
          resourceName,
          new Map(configEntries.map(({ configName, configValue }) => [configName, configValue])),
        ]),
      );
    };
    const metadata = present.length === 0 ? [] : (await admin.fetchTopicMetadata({ topics: present })).topics;
    // A broker answers for itself only.
    const ofBrokers = await Promise.all(nodes.map((node) => read(kafkajs.ConfigResourceTypes.BROKER, [node])));
    return {
      topics: await read(kafkajs.ConfigResourceTypes.TOPIC, present),
      replicas: new Map(metadata.map(({ name, partitions }) => [name, Math.min(...partitions.map((each) => each.replicas.length))])),
      brokers: new Map(ofBrokers.flatMap((one) => Array.from(one))),
    };
  });
}

/** All of a topic's settings at once: what is not named goes back to its default. Tests only: topics are made from the catalogue. */
export async function setTopic(address: ClusterAddress, topic: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }));
  await withAdmin(address, (admin) =>
    admin.alterConfigs({ validateOnly: false, resources: [{ type: kafkajs.ConfigResourceTypes.TOPIC, name: topic, configEntries }] }),
  );
}

/** First offset of each partition whose log time is at or behind `timeMs`; the end where there is none. */
export async function offsetsAtTime(address: ClusterAddress, topic: string, timeMs: number): Promise<number[]> {
  return withAdmin(address, async (admin) => {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, timeMs);
    return found.toSorted((a, b) => a.partition - b.partition).map(({ offset }) => Number(offset));
  });
}
