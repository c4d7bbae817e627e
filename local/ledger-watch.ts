/** Reads how far a lane's events have come, from the outside: raw ends, the processor's committed progress, ClickHouse's rows. */
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import type { Progress } from "#shared/events/progress.ts";

export interface InFlight {
  /** Events of events.raw that the processor has not accounted for in a commit. */
  readonly unprocessed: number;
  /** Clean events that ClickHouse does not hold yet. */
  readonly unwritten: number;
  readonly raw: number;
}

export async function readInFlight(kafka: Kafka, config: Config): Promise<InFlight> {
  const partitions = Array.from({ length: config.partitions }, (_, partition) => partition);
  const rawTopic = topicName(config.lane, "raw");
  const validTopic = topicName(config.lane, "valid");
  const ends = await Promise.all(
    partitions.map((partition) => kafka.listOffset({ topic: rawTopic, partition }, "latest", "read_committed")),
  );
  const commits = await kafka.committedOffsets(
    groupId(config, "processor"),
    partitions.map((partition) => ({ topic: validTopic, partition })),
    { requireStable: true },
  );
  let raw = 0;
  let unprocessed = 0;
  let clean = 0;
  for (const partition of partitions) {
    const end = ends[partition] ?? 0;
    const metadata = commits.find((commit) => commit.partition === partition)?.metadata ?? "";
    const progress = metadata === "" ? undefined : (JSON.parse(metadata) as Progress);
    raw += end;
    unprocessed += end - ((progress?.hw ?? -1) + 1);
    clean += progress?.counts.clean ?? 0;
  }
  return { raw, unprocessed, unwritten: clean - (await countRows(config)) };
}

/** Rows of the lane in ClickHouse. */
export async function countRows(config: Config): Promise<number> {
  const query = `SELECT count() FROM ${config.clickhouseDatabase}.events WHERE lane = {lane:String} AND gen = {generation:UInt32}`;
  const url = new URL(config.clickhouse);
  url.searchParams.set("param_lane", config.lane);
  url.searchParams.set("param_generation", String(config.generation));
  const answer = await fetch(url, {
    method: "POST",
    body: query,
    headers: { "X-ClickHouse-User": config.clickhouseUser, "X-ClickHouse-Key": config.clickhousePassword },
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`clickhouse: ${text.split("\n")[0]}`);
  return Number(text);
}
