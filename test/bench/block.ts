/**
 * ns per event of encoding and decoding blocks, one thread, over the load generator's events as the validator makes columns of them. Beside it, in
 * the same run and over the same events: JSON text, one object per event, and the npm package apache-arrow over the same bytes. apache-arrow is
 * let off lightly: it writes a table whose vectors exist already, and reading is to open the table and touch each column once.
 *
 * CPU time of the process (garbage collection included), median of the rounds. Not measured: Kafka, compression, the validator's scan.
 */
import { pathToFileURL } from "node:url";
import { type Table, tableFromIPC, tableToIPC } from "apache-arrow";
import { RecordDecoder } from "#functions/validator/record-decoder.ts";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createValidator } from "#functions/validator/scanner/validator.ts";
import { createGenerator } from "#loadgen/generator.ts";
import { decodeBlock, encodeBlock } from "#shared/events/block.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";

const ROWS = [100, 1_000, 5_000] as const;
/** Top-level numbers are of this one. */
const USUAL_ROWS = 1_000;
const ROUNDS = 9;
const NOW_MS = 1_795_510_800_000;

export interface BlockCase {
  readonly rows: number;
  readonly encode_ns: number;
  readonly decode_ns: number;
  readonly arrow_encode_ns: number;
  readonly arrow_decode_ns: number;
  readonly json_encode_ns: number;
  readonly json_decode_ns: number;
  readonly bytes_per_event: number;
  readonly json_bytes_per_event: number;
}

export interface BlockResult {
  readonly name: "block";
  /** Encode and decode, 1,000 rows. */
  readonly ns_per_event: number;
  readonly events_per_core_second: number;
  /** JSON.stringify to bytes, and JSON.parse of them. */
  readonly reference_ns_per_event: number;
  readonly encode_ns_per_event: number;
  readonly decode_ns_per_event: number;
  readonly reference_encode_ns_per_event: number;
  readonly reference_decode_ns_per_event: number;
  readonly arrow_encode_ns_per_event: number;
  readonly arrow_decode_ns_per_event: number;
  readonly bytes_per_event: number;
  readonly reference_bytes_per_event: number;
  readonly cases: readonly BlockCase[];
}

interface Corpus {
  readonly block: Uint8Array;
  readonly texts: readonly Buffer[];
}

/** Rejects are left out: JSON has no place for them. A block of 5,000 of these events is more than fits one Kafka record: measured all the same. */
function createCorpus(rows: number): Corpus {
  const shares = { late: 0.005, duplicate: 0.005, poison: 0, futureClock: 0 };
  const generator = createGenerator({ seed: "bench", users: 1_000_000, distribution: "zipf", shares });
  const texts: Buffer[] = [];
  const validator = createValidator(compilePlan(loadSeedRelease()), DEFAULT_LIMITS);
  const decoder = new RecordDecoder();
  validator.begin();
  for (let offset = 0; offset < rows; offset++) {
    const timestamp = NOW_MS + offset;
    const event = generator.next(timestamp);
    const value = Buffer.from(event.value);
    texts.push(value);
    const encoded = { key: Buffer.from(event.key).toString("base64"), value: value.toString("base64") };
    decoder.add(validator, { topic: "events.raw", partition: 0, offset, timestamp, headers: [], ...encoded });
  }
  const meta = { generation: 1, topic: "events.raw", partition: 0, firstSourceOffset: 0, lastSourceOffset: rows - 1, rulesVersion: 1 };
  if (validator.rejects > 0) throw new Error(`the validator rejects ${validator.rejects} of the bench's events`);
  return { block: encodeBlock(validator.finish(), meta), texts };
}

/** Median over the rounds of the CPU ns per event. `once` handles one block and returns something of it, so that nothing is optimized away. */
function measure(rows: number, eventsPerRound: number, once: () => number): number {
  const repeats = Math.max(1, Math.round(eventsPerRound / rows));
  const rounds: number[] = [];
  let kept = 0;
  // The first round warms up.
  for (let round = 0; round <= ROUNDS; round++) {
    const from = process.cpuUsage();
    for (let i = 0; i < repeats; i++) kept += once();
    const { user, system } = process.cpuUsage(from);
    if (round > 0) rounds.push(((user + system) * 1_000) / (repeats * rows));
  }
  if (!Number.isFinite(kept)) throw new Error("a block gave no number");
  return Math.round(rounds.sort((a, b) => a - b)[ROUNDS >> 1]!);
}

function runCase(rows: number, events: number): BlockCase {
  const { block, texts } = createCorpus(rows);
  const { columns, meta } = decodeBlock(block);
  if (columns.rows !== rows || Buffer.compare(encodeBlock(columns, meta), block) !== 0)
    throw new Error(`a block of ${rows} rows does not come back as it went in`);
  const table = tableFromIPC(block);
  if (table.numRows !== rows) throw new Error(`apache-arrow sees ${table.numRows} rows of ${rows}`);
  const objects = texts.map((text) => JSON.parse(text.toString()) as object);
  const jsonBytes = texts.reduce((sum, text) => sum + text.length, 0);
  return {
    rows,
    encode_ns: measure(rows, events, () => encodeBlock(columns, meta).length),
    decode_ns: measure(rows, events, () => decodeBlock(block).columns.rows),
    arrow_encode_ns: measure(rows, events, () => tableToIPC(table, "stream").length),
    arrow_decode_ns: measure(rows, events, () => touch(tableFromIPC(block))),
    json_encode_ns: measure(rows, events, () => objects.reduce((sum, object) => sum + Buffer.from(JSON.stringify(object)).length, 0)),
    json_decode_ns: measure(rows, events, () =>
      texts.reduce((sum, text) => sum + (JSON.parse(text.toString()) as { event_id: string }).event_id.length, 0),
    ),
    bytes_per_event: Math.round(block.length / rows),
    json_bytes_per_event: Math.round(jsonBytes / rows),
  };
}

function touch(table: Table): number {
  let touched = 0;
  for (let i = 0; i < table.numCols; i++) touched += table.getChildAt(i)!.data[0]!.length;
  return touched;
}

export async function run({ events = 100_000 }: { events?: number } = {}): Promise<BlockResult> {
  const cases = ROWS.map((rows) => runCase(rows, events));
  const usual = cases.find(({ rows }) => rows === USUAL_ROWS)!;
  const nsPerEvent = usual.encode_ns + usual.decode_ns;
  return Promise.resolve({
    name: "block",
    ns_per_event: nsPerEvent,
    events_per_core_second: Math.round(1e9 / nsPerEvent),
    reference_ns_per_event: usual.json_encode_ns + usual.json_decode_ns,
    encode_ns_per_event: usual.encode_ns,
    decode_ns_per_event: usual.decode_ns,
    reference_encode_ns_per_event: usual.json_encode_ns,
    reference_decode_ns_per_event: usual.json_decode_ns,
    arrow_encode_ns_per_event: usual.arrow_encode_ns,
    arrow_decode_ns_per_event: usual.arrow_decode_ns,
    bytes_per_event: usual.bytes_per_event,
    reference_bytes_per_event: usual.json_bytes_per_event,
    cases,
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${JSON.stringify(await run(), null, 2)}\n`);
}
