import { withKafka } from "./pipeline.ts";
import { findPipeline } from "./pipeline.ts";
import { readCommitted, replayTo, SnapshotReader, type CommittedAt } from "#processor/observe/snapshot-reader.ts";
import type { SnapshotRef } from "#processor/checkpoint/types.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { CorruptStateError, OperatingError } from "#shared/kernel/errors.ts";
import { type Command, type CommandContext, EXIT, type ExitCode, numberOption, parseOptions, table, UsageError } from "./command.ts";

interface Checked {
  readonly key: string;
  readonly partition: number;
  readonly offset: number;
  /** null = good. */
  readonly problem: string | null;
  readonly code: string | null;
  readonly stateBytes: number | null;
  readonly storedBytes: number | null;
  /** `committed` = stands at the committed position; `replayed` = the log from there leads to it, compared; else why not. */
  readonly progress: "committed" | "replayed" | "not compared" | "ahead of the commit" | null;
}

export const command: Command = {
  summary: "snapshots of the processor: ls, show, verify",
  help: `usage: weir checkpoint ls [--partition N]
       weir checkpoint show [KEY] [--partition N]
       weir checkpoint verify [--partition N] [--no-replay]

ls       keys, oldest first, and how many blocks lie between each and the committed position
show     what a snapshot says of itself: offset, progress, sizes (default: the newest of the partition)
verify   reads every snapshot, checks all sums, restores it, compares its state with what it says of itself; the newest good one at or before the
         committed position is replayed to it and its hash compared. Exit 3 when one is bad, 3 also when there is none: nothing was verified.

The running processor does not notice. Snapshots are found by WEIR_SNAPSHOT_URL or, without it, in the data folder.

examples:
  weir checkpoint ls --partition 0
  weir checkpoint verify --json | jq '.snapshots[] | select(.problem)'
`,
  async run(context) {
    const { values, positionals } = parseOptions(context.args, { partition: { type: "string" }, "no-replay": { type: "boolean" } });
    const [what = "ls", key, ...rest] = positionals;
    if (rest.length > 0 || (what !== "show" && key !== undefined))
      throw new UsageError(`too many words: ${positionals.join(" ")}`, "weir checkpoint --help");
    const { config } = findPipeline({ dataDir: values["data-dir"], lane: values.lane });
    const partition = numberOption("partition", values.partition, { from: 0, to: config.partitions - 1, whole: true });
    const call: Call = {
      context,
      config,
      reader: new SnapshotReader(config, Date.now),
      partitions: partition === undefined ? Array.from({ length: config.partitions }, (_, i) => i) : [partition],
      json: values.json === true,
    };
    if (what === "ls") return list(call);
    if (what === "show") return show(call, key);
    if (what === "verify") return verify(call, values["no-replay"] !== true);
    throw new UsageError(`${what}: ls, show or verify`, "weir checkpoint --help");
  },
};

interface Call {
  readonly context: CommandContext;
  readonly config: Config;
  readonly reader: SnapshotReader;
  readonly partitions: readonly number[];
  readonly json: boolean;
}

async function list({ context, config, reader, partitions, json }: Call): Promise<ExitCode> {
  const rows = await withKafka(config, (kafka) =>
    Promise.all(
      partitions.map(async (partition) => {
        const [refs, committed] = await Promise.all([reader.list(partition), readCommitted(kafka, config, partition)]);
        return refs.map(({ key, offset, createdAtMs }) => ({
          partition,
          offset,
          createdAtMs,
          blocksToReplay: committed === null ? null : committed.offset - offset,
          key,
        }));
      }),
    ),
  );
  const snapshots = rows.flat();
  if (json) {
    context.out(`${JSON.stringify({ store: reader.address, snapshots })}\n`);
    return EXIT.ok;
  }
  const cells = snapshots.map(({ partition, offset, createdAtMs, blocksToReplay, key }) => [
    partition,
    offset,
    new Date(createdAtMs).toISOString(),
    blocksToReplay ?? "",
    key,
  ]);
  context.out(`${reader.address}\n${table([["p", "offset", "written", "to replay", "key"], ...cells])}`);
  return EXIT.ok;
}

async function show({ context, reader, partitions, json }: Call, key: string | undefined): Promise<ExitCode> {
  const all: SnapshotRef[] = [];
  for (const partition of partitions) all.push(...(await reader.list(partition)));
  const ref = key === undefined ? all.toSorted((a, b) => a.createdAtMs - b.createdAtMs).at(-1) : all.find((one) => one.key.endsWith(key));
  if (ref === undefined) {
    const what = key === undefined ? "no snapshot" : `no snapshot ${key}`;
    throw new OperatingError(`${what} in ${reader.address}`, { code: "SNAPSHOT_NOT_FOUND", hint: "weir checkpoint ls" });
  }
  const { header, storedBytes } = await reader.header(ref);
  const facts = { key: ref.key, writtenAtMs: ref.createdAtMs, storedBytes, ...header };
  context.out(`${json ? JSON.stringify(facts) : JSON.stringify(facts, null, 2)}\n`);
  return EXIT.ok;
}

async function verify(call: Call, replay: boolean): Promise<ExitCode> {
  const { context, config, reader, partitions, json } = call;
  const snapshots = await withKafka(config, async (kafka) => {
    const checked: Checked[] = [];
    // One after the other: a state may take gigabytes.
    for (const partition of partitions) checked.push(...(await verifyPartition(call, kafka, partition, replay)));
    return checked;
  });
  const bad = snapshots.filter(({ problem }) => problem !== null);
  const verdict = snapshots.length === 0 ? "unknown" : bad.length > 0 ? "bad" : "good";
  if (json) context.out(`${JSON.stringify({ store: reader.address, verdict, snapshots })}\n`);
  else {
    const cells = snapshots.map(({ partition, offset, stateBytes, storedBytes, progress, problem, key }) => [
      partition,
      offset,
      stateBytes ?? "",
      storedBytes ?? "",
      progress ?? "",
      problem ?? "good",
      problem === null ? "" : key,
    ]);
    context.out(table([["p", "offset", "state bytes", "stored bytes", "hash", "verdict", ""], ...cells]));
    const word = verdict === "unknown" ? "unknown: there is no snapshot" : `${snapshots.length - bad.length} good, ${bad.length} bad`;
    context.out(`${word}\n`);
  }
  return verdict === "good" ? EXIT.ok : EXIT.checkFailed;
}

async function verifyPartition({ config, reader, context }: Call, kafka: Kafka, partition: number, replay: boolean): Promise<Checked[]> {
  const refs = (await reader.list(partition)).toReversed();
  // Read behind the list: the list's snapshots then lie at or before it, unless they are a zombie's.
  const committed = await readCommitted(kafka, config, partition);
  const checked: Checked[] = [];
  let mayReplay = replay;
  for (const ref of refs) {
    if (context.stop.aborted) break;
    const result = await verifyOne(reader, ref, partition, { committed, mayReplay, kafka, config });
    if (result === null) continue;
    if (result.progress === "committed" || result.progress === "replayed") mayReplay = false;
    checked.push(result);
  }
  return checked.toReversed();
}

/** null: retention took it meanwhile. */
async function verifyOne(
  reader: SnapshotReader,
  ref: SnapshotRef,
  partition: number,
  {
    committed,
    mayReplay,
    kafka,
    config,
  }: {
    readonly committed: CommittedAt | null;
    readonly mayReplay: boolean;
    readonly kafka: Kafka;
    readonly config: Config;
  },
): Promise<Checked | null> {
  const facts = { key: ref.key, partition, offset: ref.offset };
  try {
    const opened = await reader.open(ref, partition);
    const { header, storedBytes } = opened.stored;
    const good = { ...facts, problem: null, code: null, stateBytes: header.stateBytes, storedBytes };
    if (committed === null || ref.offset > committed.offset) return { ...good, progress: "ahead of the commit" };
    if (!mayReplay && ref.offset !== committed.offset) return { ...good, progress: "not compared" };
    const difference = await replayTo(kafka, config, opened, partition, committed);
    const progress = ref.offset === committed.offset ? "committed" : "replayed";
    if (difference === null) return { ...good, progress };
    return { ...good, progress, problem: `its replay does not give the committed progress: ${difference}`, code: "SNAPSHOT_MISMATCH" };
  } catch (thrown) {
    if (!(thrown instanceof CorruptStateError)) throw thrown;
    const isGone = thrown.code === "SNAPSHOT_MISSING" && !(await reader.list(partition)).some(({ key }) => key === ref.key);
    return isGone ? null : { ...facts, problem: thrown.message, code: thrown.code, stateBytes: null, storedBytes: null, progress: null };
  }
}
