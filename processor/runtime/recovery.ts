/**
 * From nothing to a fold that stands exactly where the last committed transaction left it (docs/specs/commit-protocol.md, "Start"). Order
 * matters: the fence comes first, so that nothing read afterwards can be changed by an older owner.
 */
import type { CommittedOffset, TransactionalProducer } from "#shared/clients/kafka/types.ts";
import { groupId, HEADERS, OUTPUT_ROLES, type OutputRole, topicName, transactionalId } from "#shared/events/names.ts";
import { CorruptStateError, FencedError, OperatingError } from "#shared/kernel/errors.ts";
import { parseProgress } from "../checkpoint/progress-text.ts";
import { progressDifference, refuse, snapshotFlaw } from "../checkpoint/resolve.ts";
import { openSnapshot } from "../checkpoint/snapshot-codec.ts";
import type { TaskEvent } from "../checkpoint/state.ts";
import type { SnapshotRef, StartFacts, StartVerdict } from "../checkpoint/types.ts";
import type { PartitionFold } from "../model/ports.ts";
import { neededWith } from "./enrichment-objects.ts";
import type { InputLog } from "./input-log.ts";
import { findLastOutput } from "./last-output.ts";
import type { TaskOptions, TaskPorts } from "./ports.ts";
import { listSnapshots, type SnapshotWriter } from "./snapshot-writer.ts";

export interface Recovered {
  readonly kind: "recovered";
  readonly producer: TransactionalProducer;
  readonly fold: PartitionFold;
  /** Next input offset: everything below is folded and committed. */
  readonly offset: number;
}

type Refused = Extract<StartVerdict, { kind: "refuse" }>;

export type RecoveryEnd = Recovered | Refused | { readonly kind: "stopped" };

export interface RecoveryContext {
  readonly ports: TaskPorts;
  readonly options: TaskOptions;
  readonly input: InputLog;
  readonly writer: SnapshotWriter;
  /** Keys of snapshots found bad; grows. */
  readonly distrusted: Set<string>;
  readonly stop: AbortSignal;
  readonly advance: (event: TaskEvent) => void;
}

type ReplayVerdict = Extract<StartVerdict, { kind: "replay" }>;

export async function recover(context: RecoveryContext): Promise<RecoveryEnd> {
  const { ports, options, advance, stop } = context;
  const startedMs = ports.clock.now();
  await ports.mayFence?.();
  if (stop.aborted) return { kind: "stopped" };
  const producer = await ports.kafka.initProducer(transactionalId(options.id, options.partition), {
    transactionTimeoutMs: options.transactionTimeoutMs,
  });
  if (stop.aborted) return { kind: "stopped" };
  advance("producer-ready");
  const facts = await readFacts(context);
  let difference: string | null = null;
  // Each turn distrusts one snapshot more, or ends.
  for (;;) {
    if (stop.aborted) return { kind: "stopped" };
    const resolved = ports.resolve({ ...facts, distrusted: context.distrusted });
    const verdict = resolved.kind === "refuse" && difference !== null ? hashMismatch(difference, options) : resolved;
    if (verdict.kind === "refuse") return refuseStart(verdict, facts, context);
    if (verdict.kind === "fresh") {
      advance("resolved-fresh");
      ports.log.info("partition starts empty");
      const fold = ports.folds.create();
      ports.observer?.recovered({ offset: 0, replayedRecords: 0, snapshotOffset: null, fold });
      return { kind: "recovered", producer, fold, offset: 0 };
    }
    advance("resolved-replay");
    const fold = await restore(verdict, context);
    if (fold === null) continue;
    advance("restored");
    const replayed = await replay(fold, verdict, context);
    if (replayed === "stopped") return { kind: "stopped" };
    difference = progressDifference(fold.progress(), verdict.expected);
    if (difference === null) {
      if (verdict.rewrite)
        await context.writer.write({ offset: verdict.to, progress: fold.progress(), state: fold.snapshot(), isWhole: true });
      advance("replayed");
      const replayedRecords = verdict.to - verdict.from;
      ports.observer?.recovered({ offset: verdict.to, replayedRecords, snapshotOffset: verdict.snapshot?.offset ?? null, fold });
      ports.log.info("partition recovered", {
        offset: verdict.to,
        snapshotOffset: verdict.snapshot?.offset ?? null,
        replayedRecords,
        durationMs: ports.clock.now() - startedMs,
        hash: verdict.expected.hash,
      });
      return { kind: "recovered", producer, fold, offset: verdict.to };
    }
    ports.log.error("replay does not reproduce the committed progress", {
      offset: verdict.to,
      snapshot: verdict.snapshot?.key,
      difference,
    });
    advance("hash-differs");
    if (verdict.snapshot === null) return refuseStart(hashMismatch(difference, options), facts, context);
    context.distrusted.add(verdict.snapshot.key);
  }
}

async function readFacts({ ports, options, input }: RecoveryContext): Promise<Omit<StartFacts, "distrusted">> {
  const { id, partition } = options;
  const committed = await readCommitted(ports, options);
  const { start, end } = await input.bounds();
  const snapshots = await listSnapshots(ports, options);
  const nothing = committed.offset < 0;
  const progress = nothing ? null : parseProgress(committed.metadata);
  return {
    partition,
    generation: id.generation,
    committed: nothing ? "none" : progress === null ? "unreadable" : { offset: committed.offset, progress },
    logStart: start,
    logEnd: end,
    snapshots,
    outputs: nothing ? await rolesWithOutputs(ports, options) : [],
    foldVersion: ports.folds.version,
  };
}

async function readCommitted({ kafka }: TaskPorts, { id, partition }: TaskOptions): Promise<CommittedOffset> {
  const at = { topic: topicName(id.lane, "valid"), partition };
  const [committed] = await kafka.committedOffsets(groupId(id, "processor"), [at], { requireStable: true });
  return committed ?? { ...at, offset: -1, metadata: "" };
}

/**
 * A refusal calls a person, so it must not come from facts that a newer owner changed between two readings. Every older owner is fenced: if the
 * committed offset moved meanwhile, somebody newer moved it.
 */
async function refuseStart(
  verdict: Refused,
  facts: Pick<StartFacts, "committed">,
  { ports, options, advance }: RecoveryContext,
): Promise<Refused> {
  const now = await readCommitted(ports, options);
  const before = typeof facts.committed === "string" ? null : facts.committed.offset;
  if (before === null ? facts.committed === "none" && now.offset >= 0 : now.offset !== before) {
    throw new FencedError(`partition ${options.partition} was committed at ${now.offset} by a newer owner during recovery`, {
      code: "RECOVERY_OVERTAKEN",
    });
  }
  advance("resolved-refuse");
  return verdict;
}

async function rolesWithOutputs({ kafka }: TaskPorts, { id, partition }: TaskOptions): Promise<OutputRole[]> {
  const generation = String(id.generation);
  const found = await Promise.all(
    OUTPUT_ROLES.map((role) =>
      findLastOutput(kafka, { topic: topicName(id.lane, role), partition }, (headers) => headers.get(HEADERS.generation) === generation),
    ),
  );
  return OUTPUT_ROLES.filter((_, i) => found[i] !== null);
}

/** null: the snapshot is distrusted from now on. */
async function restore(verdict: ReplayVerdict, context: RecoveryContext): Promise<PartitionFold | null> {
  const { ports, options } = context;
  if (verdict.snapshot === null) return ports.folds.create();
  try {
    return ports.folds.restore(await readState(verdict.snapshot, verdict, context));
  } catch (thrown) {
    if (!(thrown instanceof CorruptStateError)) throw thrown;
    ports.log.warn("snapshot is bad, the next older one is taken", {
      partition: options.partition,
      key: verdict.snapshot.key,
      error: thrown.message,
    });
    context.distrusted.add(verdict.snapshot.key);
    context.advance("snapshot-bad");
    return null;
  }
}

async function readState(ref: SnapshotRef, verdict: ReplayVerdict, { ports, options }: RecoveryContext): Promise<Uint8Array> {
  const object = await ports.snapshots.read(ref.key);
  if (object === null) throw new CorruptStateError(`snapshot ${ref.key}: it was listed and is gone`, { code: "SNAPSHOT_MISSING" });
  const { header, state } = await openSnapshot(ports.codec, ref, object);
  const { id, partition } = options;
  const flaw = snapshotFlaw(header, { lane: id.lane, generation: id.generation, partition, offset: ref.offset });
  if (flaw !== null) throw new CorruptStateError(`snapshot ${ref.key}: ${flaw}`, { code: "SNAPSHOT_FOREIGN" });
  if (header.foldVersion !== ports.folds.version && ref.offset !== verdict.to) {
    throw new CorruptStateError(`snapshot ${ref.key}: fold version ${header.foldVersion}, this is ${ports.folds.version}`, {
      code: "SNAPSHOT_FOLD_VERSION",
    });
  }
  return state;
}

/** Folds [from, to) again and throws the outputs away: they are committed already. */
async function replay(
  fold: PartitionFold,
  { from, to }: ReplayVerdict,
  { input, stop, ports }: RecoveryContext,
): Promise<"done" | "stopped"> {
  let offset = from;
  while (offset < to) {
    if (stop.aborted) return "stopped";
    const { records, release } = await input.read(offset);
    for (const record of records) {
      if (record.offset >= to) break;
      const needed = neededWith(record, fold, ports.readObject);
      if (needed === null) fold.apply(record);
      else fold.apply(record, await needed);
      offset = record.offset + 1;
    }
    fold.discardOutputs();
    release();
    if (records.length === 0) {
      throw new OperatingError(`the log gives nothing at offset ${offset}, replay must reach ${to}`, { code: "REPLAY_STUCK" });
    }
  }
  return "done";
}

function hashMismatch(difference: string, { partition }: TaskOptions): Refused {
  return refuse(
    "hash-mismatch",
    `replay of partition ${partition} does not reproduce the committed progress: ${difference}`,
    "keep the topics and snapshots as they are and report it; a release that folds as the committing one did can go on",
  );
}
