/** The life of one event, stage by stage. Where a part is missing (retention, a store that is down) the others still tell theirs. */
import { topicName } from "#shared/events/names.ts";
import { OperatingError, toError } from "#shared/kernel/errors.ts";
import { blockStages, lateOriginal, outputStages, rawStage, replayStage } from "./inspect-log.ts";
import type { InspectContext, Place, Stage } from "./inspect-stage.ts";
import { type EventRow, redisStages, rowsAt, rowsOfId, tableStages } from "./inspect-stores.ts";
import { readProgress } from "./progress.ts";

export type Outcome = "clean" | "late" | "deadLettered" | "duplicate" | "waiting" | "lost" | "unknown" | "absent";

export interface Life extends Place {
  readonly topic: string;
  readonly eventId: string | null;
  readonly outcome: Outcome;
  /** Position of the event that this one repeats. */
  readonly original: string | null;
  readonly stages: readonly Stage[];
}

export async function lifeOf(context: InspectContext, place: Place): Promise<Life> {
  const { config, kafka, onStep } = context;
  const topic = topicName(config.lane, "raw");
  onStep("events.raw");
  const raw = await rawStage(context, place);
  onStep("ClickHouse");
  const table = await orUnknown("ClickHouse", () => rowsAt(context, place));
  const rows = table.value ?? [];
  const life = (rest: Pick<Life, "outcome" | "stages"> & Partial<Pick<Life, "original" | "eventId">>): Life => ({
    topic,
    ...place,
    original: null,
    eventId: raw.id ?? rows[0]?.event_id ?? null,
    ...rest,
  });
  if (raw.stage.status === "absent" && rows.length === 0) return life({ outcome: "absent", stages: [raw.stage] });
  onStep("events.valid");
  const blocks = await blockStages(context, place, raw.timeMs ?? rows[0]?.logTimeMs ?? 0);
  const eventId = raw.id ?? blocks.id ?? rows[0]?.event_id ?? null;
  onStep("outputs");
  const outputs = await outputStages(context, place, blocks.timeMs ?? raw.timeMs ?? rows[0]?.logTimeMs ?? 0);
  const progress = (await readProgress(kafka, config))[place.partition]?.progress ?? null;
  const isFolded = (progress?.hw ?? -1) >= place.offset;
  const fold = await foldOf(context, place, {
    outputs: outputs.outcome,
    rows,
    isFolded,
    eventId,
    timeMs: blocks.timeMs ?? raw.timeMs,
    hw: progress?.hw ?? -1,
  });
  const stores =
    table.stage === null
      ? [
          ...(await orStage("ClickHouse", () => tableStages(context, rows, place))),
          ...(rows[0] === undefined ? [] : await redisStages(context, rows[0])),
        ]
      : [table.stage];
  const missing: Stage[] =
    fold.outcome === "clean" && rows.length === 0 && table.stage === null
      ? [
          {
            stage: "ClickHouse events",
            status: "waiting",
            atMs: null,
            text: "no row: the sink has not got there, or see weir verify",
            facts: {},
          },
        ]
      : [];
  const replays = outputs.letter === null ? null : await replayStage(context, place.partition, outputs.letter);
  return life({
    eventId,
    outcome: fold.outcome,
    original: fold.original,
    stages: [raw.stage, ...blocks.stages, fold.stage, ...outputs.stages, ...missing, ...stores, ...(replays === null ? [] : [replays])],
  });
}

interface FoldFacts {
  readonly outputs: "clean" | "late" | "deadLettered" | null;
  readonly rows: readonly EventRow[];
  readonly isFolded: boolean;
  readonly eventId: string | null;
  readonly timeMs: number | null;
  readonly hw: number;
}

async function foldOf(
  context: InspectContext,
  place: Place,
  { outputs, rows, isFolded, eventId, timeMs, hw }: FoldFacts,
): Promise<{ outcome: Outcome; original: string | null; stage: Stage }> {
  const stage = (status: Stage["status"], text: string, facts: Stage["facts"] = {}): Stage => ({
    stage: "fold",
    status,
    atMs: null,
    text,
    facts,
  });
  if (outputs !== null)
    return { outcome: outputs, original: null, stage: stage("found", outputs === "deadLettered" ? "dead-lettered" : outputs) };
  if (!isFolded)
    return { outcome: "waiting", original: null, stage: stage("waiting", `the processor has accounted for offsets up to ${hw}`) };
  if (rows.length > 0)
    return {
      outcome: "clean",
      original: null,
      stage: stage("gone", "clean, by its row in ClickHouse: retention has taken the record of events.clean"),
    };
  const original = eventId === null ? null : await originalOf(context, eventId, place, timeMs);
  if (original !== null) {
    const position = `${topicName(context.config.lane, "raw")}/${place.partition}/${original}`;
    return { outcome: "duplicate", original: position, stage: stage("found", `duplicate of ${position}`, { original: position }) };
  }
  if (timeMs === null)
    return { outcome: "unknown", original: null, stage: stage("gone", "accounted for; its record and outputs are gone") };
  const advice = `weir verify --partition ${place.partition} --since ${place.offset}`;
  return { outcome: "lost", original: null, stage: stage("absent", `accounted for, and in no output: ${advice}`) };
}

async function originalOf(context: InspectContext, id: string, place: Place, timeMs: number | null): Promise<number | null> {
  const table = await orUnknown("ClickHouse", () => rowsOfId(context, id));
  const row = table.value?.find(({ p, source_offset }) => p === place.partition && source_offset < place.offset);
  if (row !== undefined) return row.source_offset;
  return lateOriginal(context, id, place, (timeMs ?? 0) - context.config.dedupHorizonMs);
}

/** A store that does not answer is a stage that says so. */
async function orUnknown<T>(store: string, work: () => Promise<T>): Promise<{ value: T | null; stage: Stage | null }> {
  try {
    return { value: await work(), stage: null };
  } catch (thrown) {
    if (!(thrown instanceof OperatingError)) throw thrown;
    return { value: null, stage: { stage: store, status: "unknown", atMs: null, text: toError(thrown).message, facts: {} } };
  }
}

async function orStage(store: string, work: () => Promise<Stage[]>): Promise<Stage[]> {
  const { value, stage } = await orUnknown(store, work);
  return value ?? [stage!];
}
