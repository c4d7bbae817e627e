/** A control record of one version in each partition of events.valid, and where it stands in PostgreSQL. What was done before is not done again. */
import { type ControlRecord, encodeControl } from "../events/control.ts";
import { type PipelineId, topicName } from "../events/names.ts";
import { OperatingError, toError } from "../kernel/errors.ts";
import { failpoint, type FailpointName } from "../kernel/failpoint.ts";
import type { Kafka } from "./kafka/types.ts";
import type { Session } from "./postgres/database.ts";

export type AnnouncementKafka = Pick<Kafka, "partitionCount" | "listOffset" | "produce">;

/** Opens Kafka for the work when it is needed, so that a broker that is away keeps nobody from the objects. */
export type WithKafka = (work: (kafka: AnnouncementKafka) => Promise<void>) => Promise<void>;

export interface Announced {
  readonly partition: number;
  readonly offset: number;
}

export interface Announcement {
  readonly id: PipelineId;
  readonly table: "rules_switches" | "enrichment_switches";
  readonly control: ControlRecord & { readonly version: number };
  /** Between a record and its row. A crash there appends the record again, which says the same. */
  readonly failpoint: FailpointName;
}

/** `appended` grows as records are, so that it is right also when the next partition fails. The caller holds the lock of publishers. */
export async function announce(
  kafka: AnnouncementKafka,
  session: Session,
  { id, table, control, failpoint: point }: Announcement,
  appended: Announced[],
): Promise<void> {
  const topic = topicName(id.lane, "valid");
  const partitions = await kafka.partitionCount(topic);
  for (let partition = 0; partition < partitions; partition++) {
    const at = { topic, partition };
    const [last] = await session.query<{ version: number; log_offset: string }>(
      `SELECT version, log_offset FROM ${table} WHERE lane = $1 AND generation = $2 AND partition = $3 ORDER BY at DESC, log_offset DESC LIMIT 1`,
      [id.lane, id.generation, partition],
    );
    // A log that ends before the record is another one: the topic was made anew.
    const isThere =
      last?.version === control.version && (await kafka.listOffset(at, "latest", "read_uncommitted")) > Number(last.log_offset);
    if (isThere) continue;
    const offset = await kafka.produce(at, [encodeControl(control)]);
    failpoint(point);
    await session.query(
      `INSERT INTO ${table} (lane, generation, partition, version, log_offset, at) VALUES ($1, $2, $3, $4, $5, clock_timestamp()) ON CONFLICT DO NOTHING`,
      [id.lane, id.generation, partition, control.version, offset],
    );
    appended.push({ partition, offset });
  }
}

/** What failed in the middle of a publication, which `command` finishes. The class of an error decides what a caller does about it, so it stays what it is and says more. */
export function unfinished(command: string, state: string, thrown: unknown): Error {
  const error = toError(thrown);
  if (error instanceof OperatingError) error.message = `${state} (${command} finishes it): ${error.message}`;
  return error;
}

export interface Switch {
  readonly partition: number;
  readonly version: number;
  /** Of the control record in events.valid. */
  readonly offset: number;
}

/** Where a lane's partitions were told of which version. */
export async function readSwitches(session: Session, table: Announcement["table"], { lane, generation }: PipelineId): Promise<Switch[]> {
  const rows = await session.query<{ partition: number; version: number; log_offset: string }>(
    `SELECT partition, version, log_offset FROM ${table} WHERE lane = $1 AND generation = $2 ORDER BY partition, at, log_offset`,
    [lane, generation],
  );
  return rows.map(({ partition, version, log_offset }) => ({ partition, version, offset: Number(log_offset) }));
}
