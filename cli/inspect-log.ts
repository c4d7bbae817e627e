/** An event's way through the topics: raw record, block and verdict, what the fold made of it. */
import type { FetchedRecord } from "#shared/clients/kafka/types.ts";
import { decodeBlock, decodeClean, decodeLate } from "#shared/events/block.ts";
import { VERDICT, WINDOW_KINDS } from "#shared/events/columns.ts";
import { HEADERS, topicName } from "#shared/events/names.ts";
import { readEventId } from "#shared/ledger/event-id.ts";
import { headerText, type InspectContext, offsetAt, type Place, scanLog, type Stage } from "./inspect-stage.ts";
import { rowsOf, uuid } from "./topic-rows.ts";

/** Blocks behind the first one that holds the event: redeliveries come soon. */
const BLOCKS_BEHIND = 100;
const SHOWN_CHARACTERS = 2_000;
/** Records looked through for replays of a dead letter. */
const REPLAY_RECORDS = 500_000;

export interface RawFindings {
  readonly stage: Stage;
  readonly timeMs: number | null;
  readonly id: string | null;
}

export async function rawStage({ kafka, config }: InspectContext, { partition, offset }: Place): Promise<RawFindings> {
  const topic = topicName(config.lane, "raw");
  const at = { topic, partition };
  const none = (status: "gone" | "absent", text: string): RawFindings => ({
    stage: { stage: topic, status, atMs: null, text, facts: { partition, offset } },
    timeMs: null,
    id: null,
  });
  const [start, end] = await Promise.all([
    kafka.listOffset(at, "earliest", "read_committed"),
    kafka.listOffset(at, "latest", "read_committed"),
  ]);
  if (offset < start) return none("gone", `retention has taken offset ${offset}: the partition begins at ${start}`);
  if (offset >= end) return none("absent", `partition ${partition} ends at ${end}`);
  const [answer] = await kafka.fetch([{ ...at, offset }], { isolation: "read_committed" });
  const record = answer?.records.find((each) => each.offset === offset);
  if (record === undefined) return none("absent", `there is no record at offset ${offset}`);
  const id = readEventId(record.value);
  const headers = Object.fromEntries(record.headers.map(([name, value]) => [name, Buffer.from(value).toString()]));
  const value = record.value === null ? null : Buffer.from(record.value).toString();
  const key = record.key === null ? null : Buffer.from(record.key).toString();
  const replay = headers[HEADERS.replay];
  const bytes = record.value?.length ?? 0;
  return {
    stage: {
      stage: topic,
      status: "found",
      atMs: record.timestampMs,
      text: `${partition}/${offset}, key ${key}, ${bytes} bytes${replay === undefined ? "" : `, replay ${replay}`}`,
      facts: { partition, offset, key, bytes, headers, value: value?.slice(0, SHOWN_CHARACTERS) ?? null },
    },
    timeMs: record.timestampMs,
    id: id === null ? null : uuid(id, 0),
  };
}

export interface BlockFindings {
  readonly stages: readonly Stage[];
  /** Log time of the first block that holds the event. */
  readonly timeMs: number | null;
  readonly id: string | null;
  readonly isRejected: boolean;
}

/** `aroundMs`: a time at or before the block's. */
export async function blockStages(context: InspectContext, { partition, offset }: Place, aroundMs: number): Promise<BlockFindings> {
  const { config } = context;
  const topic = topicName(config.lane, "valid");
  const holding: FetchedRecord[] = [];
  let behind = 0;
  let last = -1;
  await scanLog(context, { topic, partition }, await offsetAt(context, "valid", partition, aroundMs), (record) => {
    const first = Number(headerText(record, HEADERS.firstSourceOffset) ?? Number.NaN);
    last = Number(headerText(record, HEADERS.lastSourceOffset) ?? last);
    if (first <= offset && last >= offset) holding.push(record);
    return first > offset && ++behind > BLOCKS_BEHIND;
  });
  if (holding.length === 0) {
    const start = await context.kafka.listOffset({ topic, partition }, "earliest", "read_committed");
    // What comes behind it is there, so it was there.
    const isGone = start > 0 && last >= offset;
    const text = isGone ? "retention has taken the block" : "no block holds it: the validator has not got there";
    return {
      stages: [{ stage: topic, status: isGone ? "gone" : "waiting", atMs: null, text, facts: {} }],
      timeMs: null,
      id: null,
      isRejected: false,
    };
  }
  let id: string | null = null;
  let isRejected = false;
  const stages = holding.map((record, i): Stage => {
    const { columns, meta } = decodeBlock(record.value!);
    const row = columns.sourceOffset.indexOf(offset);
    const verdict = (["ok", "reject", "warning"] as const).find((name) => VERDICT[name] === columns.verdict[row])!;
    const code = columns.reason.codes[row]!;
    const reason = code < 0 ? null : columns.reason.values[code]!;
    const pointer = Buffer.from(columns.pointer.bytes.subarray(columns.pointer.offsets[row], columns.pointer.offsets[row + 1])).toString();
    if (i === 0) {
      isRejected = verdict === "reject";
      if (!isRejected) id = uuid(columns.eventId, 16 * row);
    }
    const facts = {
      blockOffset: record.offset,
      rows: columns.rows,
      firstSourceOffset: meta.firstSourceOffset,
      lastSourceOffset: meta.lastSourceOffset,
      generation: meta.generation,
      verdict,
      reason,
      pointer: pointer === "" ? null : pointer,
      rulesVersion: meta.rulesVersion,
    };
    const said = reason === null ? verdict : `${verdict}, ${reason}${pointer === "" ? "" : ` at ${pointer}`}`;
    const again = i === 0 ? "" : "; redelivered, trimmed by position";
    return {
      stage: topic,
      status: "found",
      atMs: record.timestampMs,
      text: `${said}, rules version ${meta.rulesVersion}, row ${row + 1} of ${columns.rows} in block ${record.offset}${again}`,
      facts,
    };
  });
  return { stages, timeMs: holding[0]!.timestampMs, id, isRejected };
}

export interface OutputFindings {
  readonly outcome: "clean" | "late" | "deadLettered" | null;
  readonly stages: readonly Stage[];
  readonly oseq: number | null;
  /** Of events.dlq. */
  readonly letter: FetchedRecord | null;
}

/** Looks in all three outputs: an event that stands in two of them is what an inspection must not hide. */
export async function outputStages(context: InspectContext, { partition, offset }: Place, fromMs: number): Promise<OutputFindings> {
  const stages: Stage[] = [];
  let outcome: OutputFindings["outcome"] = null;
  let oseq: number | null = null;
  let letter: FetchedRecord | null = null;
  for (const role of ["clean", "late"] as const) {
    const topic = topicName(context.config.lane, role);
    await scanLog(context, { topic, partition }, await offsetAt(context, role, partition, fromMs), (record) => {
      if (record.value === null) return false;
      const columns = role === "clean" ? decodeClean(record.value) : decodeLate(record.value);
      const row = columns.sourceOffset.indexOf(offset);
      if (row < 0) return columns.rows > 0 && columns.sourceOffset[0]! > offset;
      const number = Number(headerText(record, HEADERS.oseq)) + row;
      if (role === "clean") oseq = number;
      outcome ??= role;
      const cut = headerText(record, HEADERS.cut);
      const facts = {
        offset: record.offset,
        oseq: number,
        cut: cut === null ? null : Number(cut),
        ...rowsOf(role, partition, record)[row],
      };
      const place = `oseq ${number} in ${partition}/${record.offset}`;
      const text =
        role === "clean" ? `clean, ${place}, cut ${cut}` : `late, its window was closed: ${lateWindow(record.value, row)}, ${place}`;
      stages.push({ stage: topic, status: "found", atMs: record.timestampMs, text, facts });
      // On, to the next row: a second one of this offset would follow close by.
      return false;
    });
  }
  const topic = topicName(context.config.lane, "dlq");
  await scanLog(context, { topic, partition }, await offsetAt(context, "dlq", partition, fromMs), (record) => {
    const source = Number(headerText(record, HEADERS.source)?.split("/").at(-1) ?? Number.NaN);
    if (source !== offset) return source > offset;
    outcome ??= "deadLettered";
    letter = record;
    const [reason, pointer, number] = [HEADERS.reason, HEADERS.pointer, HEADERS.oseq].map((name) => headerText(record, name));
    const where = pointer === null || pointer === "" ? "" : ` at ${pointer}`;
    stages.push({
      stage: topic,
      status: "found",
      atMs: record.timestampMs,
      text: `dead letter, ${reason}${where}, oseq ${number} in ${partition}/${record.offset}`,
      facts: { offset: record.offset, reason, pointer, oseq: Number(number), replays: Number(headerText(record, HEADERS.replays) ?? 0) },
    });
    return false;
  });
  return { outcome, stages, oseq, letter };
}

function lateWindow(value: Uint8Array, row: number): string {
  const columns = decodeLate(value);
  return `${WINDOW_KINDS[columns.lateKind[row]!]} of ${new Date(columns.lateWindowStartMs[row]!).toISOString()}`;
}

/** The late event that a later one repeats; clean ones stand in the table. */
export async function lateOriginal(
  context: InspectContext,
  id: string,
  { partition, offset }: Place,
  fromMs: number,
): Promise<number | null> {
  const topic = topicName(context.config.lane, "late");
  let found: number | null = null;
  await scanLog(context, { topic, partition }, await offsetAt(context, "late", partition, fromMs), (record) => {
    const columns = record.value === null ? null : decodeLate(record.value);
    for (let row = 0; row < (columns?.rows ?? 0); row++) {
      if (columns!.sourceOffset[row]! >= offset) return true;
      if (uuid(columns!.eventId, 16 * row) === id) found = columns!.sourceOffset[row]!;
    }
    return found !== null;
  });
  return found;
}

/** What was sent again of a dead letter: records of events.raw that name it. */
export async function replayStage(context: InspectContext, partition: number, letter: FetchedRecord): Promise<Stage | null> {
  const topic = topicName(context.config.lane, "raw");
  const suffix = `/${partition}/${letter.offset}`;
  const found: { offset: number; replay: string; atMs: number }[] = [];
  let seen = 0;
  await scanLog(context, { topic, partition }, await offsetAt(context, "raw", partition, letter.timestampMs), (record) => {
    const replay = headerText(record, HEADERS.replay);
    if (replay?.endsWith(suffix) === true) found.push({ offset: record.offset, replay, atMs: record.timestampMs });
    return ++seen > REPLAY_RECORDS;
  });
  const first = found[0];
  if (first === undefined) return null;
  return {
    stage: "replays",
    status: "found",
    atMs: first.atMs,
    text: found.map(({ offset, replay }) => `sent again as ${topic}/${partition}/${offset} by ${replay.split("/")[0]}`).join("; "),
    facts: { replays: found },
  };
}
