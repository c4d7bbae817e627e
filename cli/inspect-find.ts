/** Which positions of events.raw a person means: by an event's id, or by a position in any topic of the lane. */
import { decodeClean, decodeLate } from "#shared/events/block.ts";
import { HEADERS, TOPICS, topicName, type TopicRole } from "#shared/events/names.ts";
import { OperatingError } from "#shared/kernel/errors.ts";
import { readEventId } from "#shared/ledger/event-id.ts";
import { numberOption, UsageError } from "./command.ts";
import { headerText, type InspectContext, offsetAt, type Place, scanLog } from "./inspect-stage.ts";
import { lettersOfId, rowsOfId } from "./inspect-stores.ts";
import { uuid } from "./topic-rows.ts";

const LIVES_MAX = 10;
const SKEW_MS = 60_000;

export type Target =
  | { readonly id: string }
  | { readonly role: TopicRole; readonly partition: number; readonly offset: number; readonly row: number | null };

const PLACES = ["raw", "valid", "clean", "late", "dlq"] as const;

/** @throws UsageError */
export function parseTarget(text: string, lane: string): Target {
  const hex = text.replaceAll("-", "").toLowerCase();
  if (/^[0-9a-f]{32}$/.test(hex)) return { id: uuid(Buffer.from(hex, "hex"), 0) };
  const [, topic, partition, offset, row] = /^(?:(.+)\/)?(\d+)\/(\d+)(?:#(\d+))?$/.exec(text) ?? [];
  if (partition === undefined || offset === undefined)
    throw new UsageError(`${text}: must be an event_id, or TOPIC/PARTITION/OFFSET`, "weir inspect --help");
  const role = PLACES.find((each) => topic === undefined || topic === each || topic === TOPICS[each] || topic === topicName(lane, each));
  if (role === undefined) throw new UsageError(`${topic}: must be one of ${PLACES.map((each) => TOPICS[each]).join(", ")}`);
  return {
    role,
    partition: numberOption("partition", partition, { from: 0, to: 1_023, whole: true })!,
    offset: Number(offset),
    row: row === undefined ? null : Number(row),
  };
}

/** Positions of events.raw, at most ten. */
export async function placesOf(context: InspectContext, target: Target): Promise<Place[]> {
  if ("id" in target) return placesOfId(context, target.id);
  if (target.role === "raw") return [{ partition: target.partition, offset: target.offset }];
  return placesInRecord(context, target);
}

async function placesInRecord(
  context: InspectContext,
  { role, partition, offset, row }: Exclude<Target, { readonly id: string }>,
): Promise<Place[]> {
  let offsets: number[] | undefined;
  const topic = topicName(context.config.lane, role);
  await scanLog(context, { topic, partition }, offset, (record) => {
    if (record.offset !== offset) return true;
    if (role === "dlq") offsets = [Number(headerText(record, HEADERS.source)?.split("/").at(-1))];
    else if (role === "valid") {
      const [first, last] = [HEADERS.firstSourceOffset, HEADERS.lastSourceOffset].map((name) =>
        Number(headerText(record, name) ?? Number.NaN),
      );
      offsets = Array.from({ length: Number.isNaN(last!) ? 0 : last! - first! + 1 }, (_, i) => first! + i);
    } else if (record.value !== null) offsets = [...(role === "clean" ? decodeClean(record.value) : decodeLate(record.value)).sourceOffset];
    return true;
  });
  if (offsets === undefined || offsets.length === 0) throw new UsageError(`${topic}/${partition}/${offset}: no record with rows is there`);
  if (row !== null) {
    if (offsets[row] === undefined) throw new UsageError(`#${row}: the record has rows 0 to ${offsets.length - 1}`);
    offsets = [offsets[row]];
  }
  if (offsets.length > LIVES_MAX)
    throw new UsageError(
      `${topic}/${partition}/${offset} holds ${offsets.length} rows, of offsets ${offsets[0]} to ${offsets.at(-1)} of events.raw`,
      `name one: weir inspect ${topic}/${partition}/${offset}#0`,
    );
  return offsets.map((each) => ({ partition, offset: each }));
}

async function placesOfId(context: InspectContext, id: string): Promise<Place[]> {
  const { config, onStep } = context;
  onStep("looking for the id in ClickHouse");
  const rows = await orNone(() => rowsOfId(context, id));
  const letters = await orNone(() => lettersOfId(context, id));
  const places = [...rows.map(({ p, source_offset }) => ({ partition: p, offset: source_offset })), ...letters];
  const [original] = rows;
  const partitions = Array.from({ length: config.partitions }, (_, partition) => partition);
  // One key, one partition: repetitions of a clean row lie behind it, within the horizon. Without one the log has to be read.
  const isNear = original !== undefined;
  for (const partition of isNear ? [original.p] : partitions) {
    onStep(`looking for the id in events.raw, partition ${partition}`);
    const from = isNear ? await offsetAt(context, "raw", partition, original.logTimeMs - config.dedupHorizonMs - SKEW_MS) : 0;
    const untilMs = isNear ? original.logTimeMs + config.dedupHorizonMs + SKEW_MS : Number.POSITIVE_INFINITY;
    const needles = [id, id.toUpperCase(), id.replaceAll("-", ""), id.replaceAll("-", "").toUpperCase()].map((text) => Buffer.from(text));
    await scanLog(context, { topic: topicName(config.lane, "raw"), partition }, from, ({ offset, value, timestampMs }) => {
      if (value === null) return false;
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      if (needles.some((needle) => bytes.includes(needle))) {
        const own = readEventId(bytes);
        // Bytes that are no JSON have the id all the same: they were dead-lettered for what is wrong with them.
        if (own === null || uuid(own, 0) === id) places.push({ partition, offset });
      }
      return timestampMs > untilMs;
    });
  }
  const unique = new Map(places.map((place) => [`${place.partition}/${place.offset}`, place]));
  return [...unique.values()].toSorted((a, b) => a.partition - b.partition || a.offset - b.offset).slice(0, LIVES_MAX);
}

/** A table that cannot be asked leaves the log to look in. */
async function orNone<T>(work: () => Promise<T[]>): Promise<T[]> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    return [];
  }
}
