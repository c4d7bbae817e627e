/** Kafka's settings that decide exactly-once, per topic and broker. */
import type { KafkaSettings } from "#shared/clients/kafka/settings.ts";
import type { Config } from "#shared/config/config.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { type Examination, Examiner } from "./doctor-finding.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** As long as somebody may take to bring a partition back: its progress and its fence must outlive that. */
const ABSENCE_MS = 7 * DAY_MS;
/** Progress is JSON of some hundreds of bytes (shared/events/progress.ts). */
const METADATA_BYTES = 4_096;

type Settings = ReadonlyMap<string, string>;

export function examineKafka(config: Config, { topics, replicas, brokers }: KafkaSettings): Examination {
  const examiner = new Examiner("Kafka");
  // With one broker there is nothing to replicate to; what is promised then ends with its disk.
  const copies = brokers.size >= 3 ? 3 : 1;
  for (const { topic, config: wanted } of topicSpecs(config.lane, config.partitions, { replicationFactor: copies })) {
    const settings = topics.get(topic);
    examiner.expect(settings !== undefined, {
      where: `topic ${topic}`,
      what: "does not exist",
      why: "every stage writes to the topics of the catalogue and none makes one",
      fix: "npm start, or deploy the topics",
    });
    if (settings !== undefined) examineTopic(examiner, topic, settings, wanted, { config, copies, replicas: replicas.get(topic) ?? 0 });
  }
  for (const [node, settings] of brokers) examineBroker(examiner, node, settings, config, copies);
  return examiner.result();
}

function examineTopic(
  examiner: Examiner,
  topic: string,
  settings: Settings,
  wanted: Readonly<Record<string, string>>,
  { config, copies, replicas }: { readonly config: Config; readonly copies: number; readonly replicas: number },
): void {
  const where = `topic ${topic}`;
  const alter = (key: string, value: string): string =>
    `kafka-configs.sh --alter --entity-type topics --entity-name ${topic} --add-config ${key}=${value}`;
  const equal = (key: string, why: string): void =>
    examiner.expect(settings.get(key) === wanted[key], {
      where,
      what: `${key} is ${settings.get(key)}, not ${wanted[key]}`,
      why,
      fix: alter(key, wanted[key]!),
    });
  const atLeast = (key: string, least: number, why: string): void => {
    const value = Number(settings.get(key));
    examiner.expect(value === -1 || value >= least, {
      where,
      what: `${key} is ${value}, below ${least}`,
      why,
      fix: alter(key, wanted[key] ?? String(least)),
    });
  };
  equal("message.timestamp.type", "log time decides cuts, duplicates and lateness: a producer's clock would decide them instead");
  equal(
    "unclean.leader.election.enable",
    "a leader that lacks records takes offsets back: acknowledged events are lost, new ones count as redelivered",
  );
  equal("cleanup.policy", "compaction takes records out of the log that everything is recomputed from");
  atLeast(
    "max.message.bytes",
    Number(wanted["max.message.bytes"]),
    "an output record, or a large dead letter, would be refused and its partition stop",
  );
  atLeast(
    "retention.ms",
    Math.max(DAY_MS, config.dedupHorizonMs + HOUR_MS),
    "a partition that is replayed must find its log, and a duplicate its original",
  );
  examiner.expect(settings.get("retention.bytes") === "-1", {
    where,
    what: `retention.bytes is ${settings.get("retention.bytes")}, not -1`,
    why: "a burst would push records out before they were read",
    fix: alter("retention.bytes", "-1"),
  });
  atLeast("min.insync.replicas", copies === 1 ? 1 : 2, "a record that one broker alone has acknowledged is lost with it");
  examiner.expect(replicas >= copies, {
    where,
    what: `has ${replicas} replicas, below ${copies}`,
    why: "a broker's loss would be the partition's",
    fix: `kafka-reassign-partitions.sh: give ${topic} ${copies} replicas`,
  });
}

function examineBroker(examiner: Examiner, node: string, settings: Settings, config: Config, copies: number): void {
  const where = `broker ${node}`;
  const atLeast = (key: string, least: number, why: string): void => {
    const text = settings.get(key);
    // A managed broker may not tell: nothing is known then, and nothing claimed against it.
    if (text === undefined) return;
    examiner.expect(Number(text) >= least, {
      where,
      what: `${key} is ${text}, below ${least}`,
      why,
      fix: `${key}=${least} in the broker's configuration`,
    });
  };
  const copiesInSync = copies === 1 ? 1 : 2;
  atLeast("transaction.state.log.min.isr", copiesInSync, "a commit that one broker alone knows is forgotten with it");
  atLeast("transaction.state.log.replication.factor", copies, "the outcome of transactions would be lost with a broker");
  atLeast("offsets.topic.replication.factor", copies, "progress would be lost with a broker");
  atLeast("offsets.retention.minutes", ABSENCE_MS / 60_000, "the progress of a partition that stands still expires");
  atLeast(
    "transactional.id.expiration.ms",
    ABSENCE_MS,
    "the broker forgets the epoch that fences a partition's old owner: a zombie could write again",
  );
  atLeast("transaction.max.timeout.ms", config.transactionTimeoutMs, "no transaction of the processor would be begun");
  atLeast("offset.metadata.max.bytes", METADATA_BYTES, "progress is committed as an offset's metadata and would be refused");
  const unclean = settings.get("unclean.leader.election.enable");
  examiner.expect(unclean === undefined || unclean === "false", {
    where,
    what: `unclean.leader.election.enable is ${unclean}, not false`,
    why: "the topics of offsets and transactions take it from here: committed progress could be taken back",
    fix: "unclean.leader.election.enable=false in the broker's configuration",
  });
}
