/**
 * ns per event of the fold from memory, one thread: blocks of 1,000 rows, epochs of 16 blocks, ten minutes of event and log time to warm up
 * (tables grow, pages are touched for the first time: `cold_fold_ns`), then ten minutes measured. Beside it, in the same run and over the same
 * events, the usual way: JSON.parse, Map, one object per event. Both must close the same windows, or there is no number.
 *
 * Not measured: Kafka, the commit, snapshots. `decode` and `encode` are the Arrow work around the fold.
 */
import { pathToFileURL } from "node:url";
import { createFold } from "#processor/fold/partition-fold.ts";
import type { FoldOptions } from "#processor/model/ports.ts";
import { decodeBlock, decodeWindows, encodeBlock } from "#shared/events/block.ts";
import type { EventColumns } from "#shared/events/columns.ts";
import { EventStream, SPAN_MS } from "./fold-events.ts";
import { type KeysResult, measureKeys } from "./fold-keys.ts";
import { ObjectFold, WindowDigest } from "./object-fold.ts";

const OPTIONS: FoldOptions = {
  generation: 1,
  partition: 0,
  historical: false,
  outOfOrdernessMs: 5_000,
  idleMarginMs: 5_000,
  dedupHorizonMs: 600_000,
  cutRows: 65_536,
  cutMs: 1_000,
};
const BLOCK_ROWS = 1_000;
const BLOCKS_PER_EPOCH = 16;
const ROUNDS = 3;
const LOG_START_MS = 1_700_000_000_000;

export interface FoldCase {
  readonly users: number;
  readonly events: number;
  readonly fold_ns: number;
  readonly cold_fold_ns: number;
  readonly decode_ns: number;
  readonly encode_ns: number;
  readonly outputs_per_event: number;
  readonly state_bytes: number;
  readonly snapshot_ms: number;
}

export interface FoldResult {
  readonly name: "fold";
  /** Fold alone, 1 M users, best of three rounds. */
  readonly ns_per_event: number;
  readonly events_per_core_second: number;
  readonly reference_ns_per_event: number;
  /** The fold with decoding and encoding, as the reference parses. */
  readonly with_arrow_ns_per_event: number;
  readonly ns_per_event_10k_users: number;
  readonly cases: readonly FoldCase[];
  /** Every user once: what a key costs. */
  readonly keys: readonly KeysResult[];
}

/** CPU time of this thread, so that neighbours on the machine count less. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

interface Timed {
  readonly result: FoldCase;
  readonly digest: string;
}

export function runCase(users: number, events: number): Timed {
  const stream = new EventStream(users, events * 2, BLOCK_ROWS);
  const fold = createFold(OPTIONS);
  const digest = new WindowDigest();
  const ms = { fold: 0, decode: 0, encode: 0 };
  const blocks = (events * 2) / BLOCK_ROWS;
  let coldMs = 0;
  let outputs = 0;
  let block = 0;
  const take = (): void => {
    const from = cpuMs();
    const records = fold.takeOutputs();
    ms.encode += cpuMs() - from;
    for (const record of records)
      if (record.role === "windows" && record.value !== null) outputs += digest.addColumns(decodeWindows(record.value));
  };
  for (const columns of stream.blocks()) {
    const first = columns.sourceOffset[0]!;
    const meta = {
      generation: 1,
      topic: "events.raw",
      partition: 0,
      firstSourceOffset: first,
      lastSourceOffset: first + columns.rows - 1,
      rulesVersion: 1,
    };
    const bytes = encodeBlock(columns, meta);
    const t0 = cpuMs();
    const decoded: EventColumns = decodeBlock(bytes).columns;
    const t1 = cpuMs();
    fold.applyColumns(decoded, LOG_START_MS + (block * 2 * SPAN_MS) / blocks, meta);
    const t2 = cpuMs();
    ms.decode += t1 - t0;
    ms.fold += t2 - t1;
    if (++block % BLOCKS_PER_EPOCH === 0) take();
    if (block === blocks / 2) {
      coldMs = ms.fold;
      outputs = ms.fold = ms.decode = ms.encode = 0;
    }
  }
  take();
  const stateBytes = Object.values(fold.memory()).reduce((sum, bytes) => sum + bytes, 0);
  const from = cpuMs();
  fold.snapshot();
  const snapshotMs = cpuMs() - from;
  const ns = (total: number): number => Math.round((total * 1e6) / events);
  const result = {
    users,
    events,
    fold_ns: ns(ms.fold),
    cold_fold_ns: ns(coldMs),
    decode_ns: ns(ms.decode),
    encode_ns: ns(ms.encode),
    outputs_per_event: Math.round((outputs / events) * 100) / 100,
    state_bytes: stateBytes,
    snapshot_ms: Math.round(snapshotMs),
  };
  return { result, digest: digest.text() };
}

export function runReference(users: number, events: number): { ns: number; digest: string } {
  const stream = new EventStream(users, events * 2, BLOCK_ROWS);
  const digest = new WindowDigest();
  const reference = new ObjectFold(OPTIONS.outOfOrdernessMs);
  let ms = 0;
  let block = 0;
  for (const columns of stream.blocks()) {
    const texts = stream.texts(columns);
    const from = cpuMs();
    for (const text of texts) reference.apply(text);
    if (++block > events / BLOCK_ROWS) ms += cpuMs() - from;
    digest.addClosed(reference.take());
  }
  reference.finish();
  digest.addClosed(reference.take());
  return { ns: Math.round((ms * 1e6) / events), digest: digest.text() };
}

/** The machine is shared: the fastest round is the one with the least of others in it. */
function bestOf(round: () => Timed): Timed {
  return Array.from({ length: ROUNDS }, round).reduce((best, timed) => (timed.result.fold_ns < best.result.fold_ns ? timed : best));
}

export async function run({ events = 1_000_000, users = 1_000_000 }: { events?: number; users?: number } = {}): Promise<FoldResult> {
  runCase(10_000, Math.min(events, 200_000));
  const large = bestOf(() => runCase(users, events));
  const small = bestOf(() => runCase(10_000, events));
  const reference = runReference(users, events);
  if (reference.digest !== large.digest)
    throw new Error(`the fold and the reference close different windows: ${large.digest}, ${reference.digest}`);
  const { fold_ns: foldNs, decode_ns: decodeNs, encode_ns: encodeNs } = large.result;
  return Promise.resolve({
    name: "fold",
    ns_per_event: foldNs,
    events_per_core_second: Math.round(1e9 / foldNs),
    reference_ns_per_event: reference.ns,
    with_arrow_ns_per_event: foldNs + decodeNs + encodeNs,
    ns_per_event_10k_users: small.result.fold_ns,
    cases: [large.result, small.result],
    keys: [measureKeys(OPTIONS, users)],
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${JSON.stringify(await run(), null, 2)}\n`);
}
