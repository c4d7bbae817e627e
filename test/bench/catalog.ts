/** The benches by name: how to run each, which of its numbers to show beside which reference, and what it does not tell. */

export type BenchName = "validator" | "block" | "fold" | "processor" | "pipeline";

/** Flat numbers under stable keys; `cases` holds rows of a second table. */
export type BenchResult = Readonly<Record<string, unknown>> & { readonly name: string };

export interface Row {
  readonly label: string;
  readonly unit: "ns" | "events/s" | "ms" | "MiB" | "bytes" | "events" | "s" | "";
  readonly key: string;
  /** Of the reference case, the same unit. */
  readonly reference?: string;
}

export interface Bench {
  readonly title: string;
  /** Null: there is none. */
  readonly reference: string | null;
  readonly notMeasured: string;
  /** It can be told how many with --events. */
  readonly takesEvents: boolean;
  readonly rows: readonly Row[];
  readonly run: (options: { readonly events?: number }) => Promise<object>;
}

export const BENCHES: Readonly<Record<BenchName, Bench>> = {
  validator: {
    title: "scan, checks and columns of the validator, from bytes in memory, one core",
    reference: "JSON.parse, checks by hand, one object per event, over the same bytes; both accept the same events",
    notMeasured: "the Lambda runtime's own JSON.parse of the payload, Kafka; only `handler` holds base64 and the block's encoding",
    takesEvents: false,
    rows: [
      { label: "scan and columns, best round", unit: "ns", key: "ns_per_event", reference: "reference_ns_per_event" },
      { label: "scan and columns, median round", unit: "ns", key: "median_ns_per_event" },
      { label: "base64, scan, columns, block", unit: "ns", key: "handler_ns_per_event" },
      { label: "JSON.parse alone", unit: "ns", key: "json_parse_ns_per_event" },
      { label: "events per core", unit: "events/s", key: "events_per_core_second" },
      { label: "one event", unit: "bytes", key: "event_bytes" },
    ],
    run: async () => (await import("./validator.ts")).run(),
  },
  block: {
    title: "blocks of columns to Arrow bytes and back, 1,000 rows, one core",
    reference: "JSON text, one object per event, over the same events",
    notMeasured: "Kafka, compression, filling the columns; apache-arrow is timed on a table whose vectors exist already",
    takesEvents: false,
    rows: [
      { label: "encode and decode", unit: "ns", key: "ns_per_event", reference: "reference_ns_per_event" },
      { label: "encode", unit: "ns", key: "encode_ns_per_event", reference: "reference_encode_ns_per_event" },
      { label: "decode", unit: "ns", key: "decode_ns_per_event", reference: "reference_decode_ns_per_event" },
      { label: "encode, beside apache-arrow", unit: "ns", key: "encode_ns_per_event", reference: "arrow_encode_ns_per_event" },
      { label: "decode, beside apache-arrow", unit: "ns", key: "decode_ns_per_event", reference: "arrow_decode_ns_per_event" },
      { label: "size of an event", unit: "bytes", key: "bytes_per_event", reference: "reference_bytes_per_event" },
    ],
    run: async () => (await import("./block.ts")).run(),
  },
  fold: {
    title: "duplicates, windows and sessions from memory, 1 M users, one core",
    reference: "JSON.parse, Map, one object per event, over the same events; both close the same windows",
    notMeasured: "Kafka, the commit, snapshots; duplicates' expiry falls into the measured part, the tables' growth does not",
    takesEvents: true,
    rows: [
      { label: "fold", unit: "ns", key: "ns_per_event", reference: "reference_ns_per_event" },
      { label: "decode, fold, encode", unit: "ns", key: "with_arrow_ns_per_event", reference: "reference_ns_per_event" },
      { label: "fold, 10,000 users", unit: "ns", key: "ns_per_event_10k_users" },
      { label: "events per core, fold", unit: "events/s", key: "events_per_core_second" },
    ],
    run: async (options) => (await import("./fold.ts")).run(options),
  },
  processor: {
    title: "the processor catches up on a real broker, exactly-once commits, one partition, CPU of its whole process",
    reference: "kafkajs, JSON.parse, Map, one object per event, no output and no commit; both close the same windows",
    notMeasured:
      "the broker's CPU, validator, sinks, more than one partition, the snapshot each minute, expiry: no event grows ten minutes old in log time",
    takesEvents: true,
    rows: [
      { label: "CPU per event, second half", unit: "ns", key: "ns_per_event", reference: "reference_ns_per_event" },
      { label: "CPU per event, all, cold", unit: "ns", key: "cold_ns_per_event" },
      { label: "events per core", unit: "events/s", key: "events_per_core_second" },
      { label: "by the clock, all, cold", unit: "events/s", key: "events_per_second" },
      { label: "peak memory", unit: "MiB", key: "rss_mb", reference: "reference_rss_mb" },
      { label: "counts, topics and windows exact", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./processor.ts")).run(options),
  },
  pipeline: {
    title: "the whole pipeline on this machine: all servers, services, load and reader on the same cores",
    reference: null,
    notMeasured: "a network, replication, more machines; the time of an event starts at its hand-over to the producer, linger included",
    takesEvents: true,
    rows: [
      { label: "first send to last clean event in ClickHouse", unit: "events/s", key: "events_per_second" },
      { label: "first send to last commit", unit: "events/s", key: "committed_events_per_second" },
      { label: "paced run", unit: "events/s", key: "paced_events_per_second" },
      { label: "send to committed clean event, p50", unit: "ms", key: "latency_ms_p50" },
      { label: "send to committed clean event, p99", unit: "ms", key: "latency_ms_p99" },
      { label: "send to committed clean event, max", unit: "ms", key: "latency_ms_max" },
      { label: "ledger exact in both runs", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./pipeline.ts")).run(options),
  },
};

export const BENCH_NAMES = Object.keys(BENCHES) as BenchName[];
