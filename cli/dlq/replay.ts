/** `weir dlq replay`: what it would do, doing it, going on with it, giving it up. */
import { randomBytes } from "node:crypto";
import { userInfo } from "node:os";
import { limitsOf } from "#functions/validator/scanner/limits.ts";
import type { NumberedKafka } from "#shared/clients/kafka/types.ts";
import { Database } from "#shared/clients/postgres/database.ts";
import {
  createReplay,
  listReplays,
  recordProgress,
  replayedLetters,
  type StoredReplay,
} from "#shared/clients/postgres/dlq-replays-store.ts";
import { type Config, processFlags } from "#shared/config/config.ts";
import { topicName } from "#shared/events/names.ts";
import { OperatingError, UnavailableError } from "#shared/kernel/errors.ts";
import { armFailpoint } from "#shared/kernel/failpoint.ts";
import { planOfVersion, publishedPlan } from "../check-rules.ts";
import { type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, UsageError } from "../command.ts";
import { findPipeline, withKafka } from "../pipeline.ts";
import { readProgress } from "../progress.ts";
import { ProgressLine } from "../progress-line.ts";
import { EDIT_OPTIONS, readEdits } from "./event-edit.ts";
import { FILTER_OPTIONS, readFilter } from "./filter.ts";
import { LetterJudge } from "./letter-judge.ts";
import { letterRanges } from "./letters.ts";
import { leftText, type Preview, previewReplay, previewText } from "./replay-preview.ts";
import { allowedTarget, commandHash, type ReplayRequest, type ReplayWish } from "./replay-request.ts";
import { ReplayRun } from "./replay-run.ts";

/** A replay leaves a sign of life every two seconds; a request to Kafka may take as long as this. */
const SURELY_DEAD_AFTER_MS = 30_000;

type Replay = StoredReplay<ReplayRequest>;

interface Work {
  readonly context: CommandContext;
  readonly config: Config;
  readonly kafka: NumberedKafka;
  readonly database: Database;
  readonly dlqTopic: string;
  readonly by: string;
  readonly ratePerSecond: number | undefined;
  readonly asJson: boolean;
}

export async function replay(context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseOptions(context.args, {
    ...FILTER_OPTIONS,
    ...EDIT_OPTIONS,
    "key-from": { type: "string" },
    target: { type: "string" },
    limit: { type: "string" },
    again: { type: "boolean", default: false },
    "even-rejected": { type: "boolean", default: false },
    "dry-run": { type: "boolean", default: false },
    rate: { type: "string" },
    by: { type: "string" },
    resume: { type: "string" },
    abandon: { type: "string" },
  });
  if (positionals.length > 0) throw new UsageError(`${positionals[0]}: replay takes options only`, "weir dlq --help");
  const { rate, by, resume, abandon, json: asJson = false, lane, "data-dir": dataDir, "dry-run": dryRun, ...words } = values;
  const edits = readEdits(values);
  const wish = {
    filter: readFilter(values, Date.now()),
    edits,
    keyFrom: values["key-from"] ?? null,
    limit: numberOption("limit", values.limit, { from: 1, to: 1e9, whole: true }) ?? null,
    again: values.again,
    evenRejected: values["even-rejected"],
  };
  if (wish.keyFrom !== null && !/^\/./.test(wish.keyFrom)) throw new UsageError("--key-from: must be a JSON pointer, such as /user_id");
  const ratePerSecond = numberOption("rate", rate?.replace(/\/s$/, ""), { from: 0.001, to: 1e7 });
  if (processFlags.failpoint !== undefined) armFailpoint(processFlags.failpoint);
  const { config } = findPipeline({ dataDir, lane });
  const database = new Database(config.postgres);
  try {
    return await withKafka(config, async (kafka) => {
      const dlqTopic = topicName(config.lane, "dlq");
      const work: Work = { context, config, kafka, database, dlqTopic, by: by ?? userName(), ratePerSecond, asJson };
      if (abandon !== undefined) return abandonReplay(work, await namedReplay(work, abandon));
      if (resume !== undefined) return goOn(work, await namedReplay(work, resume));
      const request = { ...wish, target: await allowedTarget(kafka, config, values.target) };
      return dryRun ? showOnly(work, request) : begin(work, request, commandHash(words));
    });
  } finally {
    await database.close();
  }
}

function userName(): string {
  try {
    return userInfo().username;
  } catch {
    // An account without a name, as in many containers.
    return "unknown";
  }
}

async function namedReplay({ database, config }: Work, name: string): Promise<Replay> {
  const found = (await listReplays<ReplayRequest>(database, config)).find((each) => each.name === name);
  if (found === undefined) throw new UsageError(`there is no replay ${name}`, "weir dlq replays");
  if (found.state !== "running") throw new UsageError(`replay ${name} is ${found.state}`, "weir dlq replays");
  return found;
}

/** Writes nothing. Works without PostgreSQL, and then says what it cannot know. */
async function showOnly(work: Work, wish: ReplayWish): Promise<ExitCode> {
  const { context, config, database, asJson } = work;
  let replayed: Map<number, Map<number, number>> = new Map();
  try {
    replayed = await replayedLetters(database, config);
  } catch (thrown) {
    if (!(thrown instanceof UnavailableError)) throw thrown;
    context.err(`weir: what earlier replays sent is not known: ${thrown.message}\n`);
  }
  const { request, preview } = await look(work, wish, replayed);
  const { reasons, verdicts, ranges: _, ...rest } = preview;
  if (asJson) {
    const content = {
      dryRun: true,
      rulesVersion: request.rulesVersion,
      ...rest,
      reasons: Object.fromEntries(reasons),
      verdicts: Object.fromEntries(verdicts),
    };
    context.out(`${JSON.stringify(content)}\n`);
  } else context.out(previewText(preview, request.rulesVersion));
  return context.stop.aborted ? EXIT.interrupted : EXIT.ok;
}

async function look(
  work: Work,
  wish: ReplayWish,
  replayed: ReadonlyMap<number, ReadonlyMap<number, number>>,
): Promise<{ request: ReplayRequest; preview: Preview }> {
  const { kafka, config, dlqTopic, context } = work;
  const plan = await publishedPlan(config);
  const ranges = await letterRanges(kafka, dlqTopic);
  const request: ReplayRequest = { ...wish, ranges, rulesVersion: plan.version, atMs: Date.now() };
  const isOwn = wish.target === topicName(config.lane, "raw");
  const preview = await previewReplay({
    kafka,
    judge: await judgeOf(work, "preview", request, replayed),
    dlqTopic,
    ranges,
    limit: wish.limit,
    watermarksMs: isOwn ? (await readProgress(kafka, config)).map(({ progress }) => progress?.watermarkMs ?? null) : [],
    stop: context.stop,
  });
  return { request: { ...request, ranges: preview.ranges }, preview };
}

async function judgeOf(
  { kafka, config }: Work,
  replayName: string,
  request: ReplayRequest,
  replayed: ReadonlyMap<number, ReadonlyMap<number, number>>,
): Promise<LetterJudge> {
  return new LetterJudge({
    kafka,
    replay: replayName,
    request,
    targetPartitions: await kafka.partitionCount(request.target),
    plan: await planOfVersion(config, request.rulesVersion),
    // Whether another lane is one of history is not known here: its validator says.
    limits: { ...limitsOf(config), historical: config.historical || request.target !== topicName(config.lane, "raw") },
    replayed,
  });
}

async function begin(work: Work, wish: ReplayWish, hash: string): Promise<ExitCode> {
  const { context, config, database, kafka, asJson } = work;
  const running = (await listReplays<ReplayRequest>(database, config)).find(({ state }) => state === "running");
  if (running?.commandHash === hash) return goOn(work, running);
  if (running !== undefined)
    throw new OperatingError(`replay ${running.name}, begun by ${running.createdBy} with other options, has not ended`, {
      code: "DLQ_REPLAY_UNFINISHED",
      hint: `weir dlq replay --resume ${running.name}, or --abandon ${running.name}`,
    });
  const { request, preview } = await look(work, wish, await replayedLetters(database, config));
  if (context.stop.aborted) return EXIT.interrupted;
  if (preview.sent === 0) {
    if (asJson)
      context.out(`${JSON.stringify({ replay: null, state: "nothing", sent: 0, matching: preview.matching, left: preview.left })}\n`);
    else context.out(`nothing to replay: ${preview.matching} of ${preview.looked} dead letters match\n${leftText(preview.left)}`);
    return preview.left.refused > 0 ? EXIT.checkFailed : EXIT.ok;
  }
  const targets = await kafka.partitionCount(request.target);
  const progress = await Promise.all(
    Array.from({ length: targets }, async (_, partition) => {
      const logOffset = await kafka.listOffset({ topic: request.target, partition }, "latest", "read_uncommitted");
      return { logOffset, sequence: 0, last: null };
    }),
  );
  const name = randomBytes(8).toString("hex");
  const counts = { matching: preview.matching, planned: preview.sent, ...preview.left };
  const producerId = await kafka.newProducerId({ topic: request.target, partition: 0 });
  await createReplay(database, config, { name, commandHash: hash, request, producerId, progress, counts, createdBy: work.by });
  context.err(`weir: replay ${name}: ${preview.sent} dead letters into ${request.target}\n`);
  return goOn(work, await namedReplay(work, name));
}

async function goOn(work: Work, stored: Replay): Promise<ExitCode> {
  const { context, config, database, asJson } = work;
  const planned = stored.counts["planned"] ?? 0;
  const line = new ProgressLine({ write: context.err, isTerminal: context.errIsTerminal });
  const run = runOf(work, stored, (sent) => line.show(`${sent} of ${planned} sent`));
  try {
    await run.recover();
    if (run.sent > 0) context.err(`weir: replay ${stored.name} goes on: ${run.sent} of ${planned} are sent already\n`);
    const replayed = await replayedLetters(database, config);
    if (!(await run.send(await judgeOf(work, stored.name, stored.request, replayed)))) {
      await run.recover();
      context.err(`weir: stopped after ${run.sent} of ${planned}; the same command goes on, so does --resume ${stored.name}\n`);
      return EXIT.interrupted;
    }
    await run.end("done", stored.counts);
  } finally {
    line.end();
  }
  return finished(work, stored, run.sent, asJson);
}

function finished({ context }: Work, { name, counts, request }: Replay, sent: number, asJson: boolean): ExitCode {
  const left = Object.fromEntries(Object.entries(counts).filter(([key]) => key !== "matching" && key !== "planned")) as Preview["left"];
  if (asJson)
    context.out(`${JSON.stringify({ replay: name, state: "done", sent, matching: counts["matching"], left, target: request.target })}\n`);
  else context.out(`replay ${name}: ${sent} dead letters sent to ${request.target}, each once\n${leftText(left)}`);
  return EXIT.ok;
}

async function abandonReplay(work: Work, stored: Replay): Promise<ExitCode> {
  if (Date.now() - stored.updatedAtMs < SURELY_DEAD_AFTER_MS && stored.version > 1)
    throw new OperatingError(`replay ${stored.name} was at work a moment ago`, {
      code: "DLQ_REPLAY_UNFINISHED",
      hint: `stop its process; ${SURELY_DEAD_AFTER_MS / 1_000} s after its last sign of life it may be given up`,
    });
  const run = runOf(work, stored);
  await run.recover({ givingUp: true });
  await run.end("abandoned", stored.counts);
  if (work.asJson) work.context.out(`${JSON.stringify({ replay: stored.name, state: "abandoned", sent: run.sent })}\n`);
  else
    work.context.out(
      `replay ${stored.name} is given up after ${run.sent} of ${stored.counts["planned"] ?? 0}; the rest may be replayed by another\n`,
    );
  return EXIT.ok;
}

function runOf(
  { kafka, database, dlqTopic, by, ratePerSecond, context }: Work,
  stored: Replay,
  onSent?: (sent: number) => void,
): ReplayRun {
  return new ReplayRun({
    kafka,
    record: (version, step) => recordProgress(database, { name: stored.name, actor: by, version }, step),
    replay: stored,
    dlqTopic,
    ratePerSecond,
    stop: context.stop,
    ...(onSent === undefined ? {} : { onSent }),
  });
}
