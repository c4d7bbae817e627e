/**
 * NEXMark q5, q7, q8, q11 and q12 on the fold's parts, one core, events from the generator in this process; beside each the same query by Map and
 * objects over the same events. Both must give the same rows, or there is no number. Timed is the query, CPU of this thread, not the generator.
 */
import { pathToFileURL } from "node:url";
import { EVENTS_PER_SECOND, nexmarkBatches } from "./nexmark-events.ts";
import { type NexmarkQuery, QUERIES, type QueryName } from "./nexmark-queries.ts";
import { REFERENCES } from "./nexmark-reference.ts";

const BATCH_ROWS = 8_192;
const ROUNDS = 3;

export interface NexmarkCase {
  readonly query: QueryName;
  readonly events_per_core_second: number;
  readonly ns_per_event: number;
  readonly reference_ns_per_event: number;
  readonly result_rows: number;
}

/** `q5_events_per_core_second` and so on and, of the reference, `reference_q5_events_per_core_second`. */
type Rates = Readonly<Record<`${"" | "reference_"}${QueryName}_events_per_core_second`, number>>;

export interface NexmarkResult extends Rates {
  readonly name: "nexmark";
  readonly events: number;
  /** Event time that the events span. */
  readonly span_seconds: number;
  readonly exact: boolean;
  readonly cases: readonly NexmarkCase[];
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1_000;
}

interface Timed {
  readonly ns: number;
  readonly digest: string;
  readonly rows: number;
}

export function runQuery(query: NexmarkQuery, events: number): Timed {
  let ms = 0;
  for (const batch of nexmarkBatches(events, BATCH_ROWS)) {
    const from = cpuMs();
    query.add(batch);
    ms += cpuMs() - from;
  }
  const from = cpuMs();
  query.finish();
  ms += cpuMs() - from;
  return { ns: (ms * 1e6) / events, digest: query.digest.text(), rows: query.digest.rows };
}

/** The machine is shared: the fastest round is the one with the least of others in it. */
function bestOf(create: () => NexmarkQuery, events: number, rounds: number): Timed {
  return Array.from({ length: rounds }, () => runQuery(create(), events)).reduce((best, timed) => (timed.ns < best.ns ? timed : best));
}

export async function run({ events = 3_000_000 }: { events?: number } = {}): Promise<NexmarkResult> {
  let exact = true;
  const cases = (Object.keys(QUERIES) as QueryName[]).map((query): NexmarkCase => {
    runQuery(QUERIES[query](), Math.min(events, 300_000));
    const ours = bestOf(QUERIES[query], events, ROUNDS);
    runQuery(REFERENCES[query](), Math.min(events, 300_000));
    const reference = bestOf(REFERENCES[query], events, 1);
    exact &&= ours.digest === reference.digest && ours.rows > 0;
    return {
      query,
      events_per_core_second: Math.round(1e9 / ours.ns),
      ns_per_event: Math.round(ours.ns * 10) / 10,
      reference_ns_per_event: Math.round(reference.ns * 10) / 10,
      result_rows: ours.rows,
    };
  });
  const rates = cases.flatMap(({ query, ns_per_event: ns, reference_ns_per_event: referenceNs }) => [
    [`${query}_events_per_core_second`, Math.round(1e9 / ns)],
    [`reference_${query}_events_per_core_second`, Math.round(1e9 / referenceNs)],
  ]);
  return Promise.resolve({
    name: "nexmark",
    events,
    span_seconds: events / EVENTS_PER_SECOND,
    ...(Object.fromEntries(rates) as Rates),
    exact,
    cases,
  });
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.stdout.write(`${JSON.stringify(await run(), null, 2)}\n`);
}
