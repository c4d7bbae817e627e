/**
 * ns per event of the validator's scan and column build, one thread, over the load generator's events. Beside it, in the same run and over the same
 * bytes, the usual way: JSON.parse, checks by hand, one object per event. Both must accept the same events, or there is no number.
 *
 * Then the whole function (handler.ts): CPU of its process from Lambda's parsed event to the acknowledged block, beside the function as it is
 * usually written. `--events` says how many it gets: 10,000,000 shows whether its memory stays flat.
 *
 * Not measured: the Lambda runtime's own JSON.parse of the payload; the broker's CPU.
 */
import { pathToFileURL } from "node:url";
import { DEFAULT_LIMITS } from "#functions/validator/scanner/limits.ts";
import { createValidator, END_MARK_BYTES } from "#functions/validator/scanner/validator.ts";
import { createGenerator } from "#loadgen/generator.ts";
import { loadSeedRelease } from "#shared/rules/load-release.ts";
import { compilePlan } from "#shared/rules/plan.ts";
import { type HandlerResult, measureHandlers } from "./handler.ts";
import { ObjectValidator } from "./object-validator.ts";

const BATCH = 1_000;
const BATCHES = 8;
const NOW_MS = 1_795_510_800_000;

export interface ValidatorResult extends HandlerResult {
  readonly name: "validator";
  /** Scan and column build. Best of the rounds: the machine is shared, and the fastest round is the one with the least of others in it. */
  readonly ns_per_event: number;
  readonly median_ns_per_event: number;
  readonly events_per_core_second: number;
  readonly reference_scan_ns_per_event: number;
  readonly json_parse_ns_per_event: number;
  readonly event_bytes: number;
  readonly accepted_share: number;
  /** Growth of heap and array buffers over the measured rounds. */
  readonly grown_bytes: number;
}

interface Corpus {
  /** Value, end mark, key, end mark; event by event. */
  readonly bytes: Uint8Array;
  readonly valueStart: Int32Array;
  readonly valueEnd: Int32Array;
  readonly keyStart: Int32Array;
  readonly keyEnd: Int32Array;
  readonly valueBytes: number;
  readonly values: readonly Buffer[];
  readonly keys: readonly Buffer[];
}

function createCorpus(): Corpus {
  const count = BATCH * BATCHES;
  // No poison: the reference cannot see half of it (a key that comes twice, a rounded id), and must accept the same events.
  const shares = { late: 0.005, duplicate: 0.005, poison: 0, futureClock: 0.001 };
  const generator = createGenerator({ seed: "bench", users: 1_000_000, distribution: "uniform", shares });
  const events = Array.from({ length: count }, (_, i) => generator.next(NOW_MS + i));
  const mark = Buffer.alloc(END_MARK_BYTES);
  const bytes = new Uint8Array(Buffer.concat(events.flatMap(({ value, key }) => [value, mark, key, mark])));
  const starts = {
    valueStart: new Int32Array(count),
    valueEnd: new Int32Array(count),
    keyStart: new Int32Array(count),
    keyEnd: new Int32Array(count),
  };
  let at = 0;
  for (const [i, { value, key }] of events.entries()) {
    const valueEnd = at + value.length;
    const keyStart = valueEnd + END_MARK_BYTES;
    const keyEnd = keyStart + key.length;
    starts.valueStart[i] = at;
    starts.valueEnd[i] = valueEnd;
    starts.keyStart[i] = keyStart;
    starts.keyEnd[i] = keyEnd;
    at = keyEnd + END_MARK_BYTES;
  }
  return {
    bytes,
    ...starts,
    valueBytes: events.reduce((sum, { value }) => sum + value.length, 0),
    values: events.map(({ value }) => Buffer.from(value)),
    keys: events.map(({ key }) => Buffer.from(key)),
  };
}

/** ns per event of each round of one batch, sorted. */
function time(rounds: number, batch: (first: number) => void): number[] {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const from = performance.now();
    batch((round % BATCHES) * BATCH);
    times.push(((performance.now() - from) * 1e6) / BATCH);
  }
  return times.sort((a, b) => a - b);
}

export async function run({ rounds = 1_500, events }: { rounds?: number; events?: number } = {}): Promise<ValidatorResult> {
  const corpus = createCorpus();
  const plan = compilePlan(loadSeedRelease());
  const validator = createValidator(plan, DEFAULT_LIMITS);
  const { bytes, valueStart, valueEnd, keyStart, keyEnd } = corpus;
  let accepted = 0;
  const scan = (first: number): void => {
    validator.begin();
    for (let i = first; i < first + BATCH; i++) {
      if (validator.add(bytes, valueStart[i]!, valueEnd[i]!, bytes, null, i, NOW_MS + i, keyStart[i], keyEnd[i])) accepted++;
    }
    validator.finish();
  };
  time(rounds, scan);
  accepted = 0;
  const before = process.memoryUsage();
  const scanned = time(rounds, scan);
  const after = process.memoryUsage();
  const acceptedShare = accepted / (rounds * BATCH);

  const reference = new ObjectValidator(loadSeedRelease(), DEFAULT_LIMITS);
  const refer = (first: number): void => {
    reference.begin();
    for (let i = first; i < first + BATCH; i++) reference.add(corpus.values[i]!, corpus.keys[i]!, i, NOW_MS + i);
  };
  time(rounds / 5, refer);
  const referenced = time(rounds / 5, refer);
  for (let first = 0; first < BATCH * BATCHES; first += BATCH) {
    scan(first);
    refer(first);
    const both = [validator.rows - validator.rejects, reference.accepted.length];
    if (both[0] !== both[1]) throw new Error(`the scanner accepts ${both[0]} of a batch, the reference ${both[1]}`);
  }
  const parsed = time(rounds / 5, (first) => {
    for (let i = first; i < first + BATCH; i++) JSON.parse(corpus.values[i]!.toString());
  });
  const handlers = await measureHandlers(events);
  return {
    ...handlers,
    name: "validator",
    ns_per_event: Math.round(scanned[0]!),
    median_ns_per_event: Math.round(scanned[scanned.length >> 1]!),
    events_per_core_second: Math.round(1e9 / scanned[0]!),
    reference_scan_ns_per_event: Math.round(referenced[0]!),
    json_parse_ns_per_event: Math.round(parsed[0]!),
    event_bytes: Math.round(corpus.valueBytes / (BATCH * BATCHES)),
    accepted_share: acceptedShare,
    grown_bytes: Math.max(0, after.arrayBuffers - before.arrayBuffers),
  };
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${JSON.stringify(await run(), null, 2)}\n`);
}
