/** The benches by name: how to run each, which of its numbers to show beside which reference, and what it does not tell. */

export type BenchName =
  | "validator"
  | "cold-start"
  | "block"
  | "fold"
  | "processor"
  | "recovery"
  | "latency"
  | "nexmark"
  | "analytics"
  | "redis"
  | "pipeline";

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
  /** And of how many users with --users. */
  readonly takesUsers?: boolean;
  readonly rows: readonly Row[];
  readonly run: (options: { readonly events?: number; readonly users?: number }) => Promise<object>;
}

export const BENCHES: Readonly<Record<BenchName, Bench>> = {
  validator: {
    title: "the validator: scan, checks and columns from bytes in memory; and the whole function on a real broker, CPU of its process",
    reference:
      "scan: JSON.parse, checks by hand, one object per event. Function: base64, JSON.parse, ajv, one record per event by kafkajs. The same events, all accepted by both",
    notMeasured: "the Lambda runtime's own JSON.parse of the payload, the broker's CPU",
    takesEvents: true,
    rows: [
      { label: "scan and columns, best round", unit: "ns", key: "ns_per_event", reference: "reference_scan_ns_per_event" },
      { label: "scan and columns, median round", unit: "ns", key: "median_ns_per_event" },
      {
        label: "function: Lambda's event to acknowledged block, CPU",
        unit: "ns",
        key: "handler_ns_per_event",
        reference: "reference_ns_per_event",
      },
      {
        label: "the same, its ten cheapest batches in a row",
        unit: "ns",
        key: "best_handler_ns_per_event",
        reference: "best_reference_ns_per_event",
      },
      { label: "of it in the kernel (socket)", unit: "ns", key: "handler_kernel_ns_per_event" },
      { label: "function's memory after a tenth of its events", unit: "MiB", key: "handler_rss_mb_tenth" },
      { label: "function's memory at the end", unit: "MiB", key: "handler_rss_mb_end" },
      { label: "events through the function", unit: "events", key: "handler_events" },
      { label: "JSON.parse alone", unit: "ns", key: "json_parse_ns_per_event" },
      { label: "scans per core", unit: "events/s", key: "events_per_core_second" },
      { label: "one event", unit: "bytes", key: "event_bytes" },
      { label: "every event in an acknowledged block, none twice", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./validator.ts")).run(options),
  },
  "cold-start": {
    title: "a fresh process of the bundled validator function, without node_modules, until its first block is acknowledged",
    reference: null,
    notMeasured: "Lambda's own work before the process starts (download, sandbox), TLS and SASL, a network, rules in S3",
    takesEvents: false,
    rows: [
      { label: "an empty function loaded", unit: "ms", key: "empty_process_ms" },
      { label: "loaded: modules, rules, connection", unit: "ms", key: "load_ms" },
      { label: "first block acknowledged, median", unit: "ms", key: "first_ack_ms" },
      { label: "first block acknowledged, slowest", unit: "ms", key: "first_ack_ms_max" },
      { label: "read at the start", unit: "bytes", key: "start_bytes" },
      { label: "the bundle", unit: "bytes", key: "bundle_bytes" },
    ],
    run: async () => (await import("./cold-start.ts")).run(),
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
    title: "duplicates, windows, sessions and scores from memory, 1 M users, one core",
    reference: "JSON.parse, Map, one object per event, over the same events; both close the same windows",
    notMeasured: "Kafka, the commit, snapshots; duplicates' expiry falls into the measured part, the tables' growth does not",
    takesEvents: true,
    takesUsers: true,
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
  recovery: {
    title:
      "kill -9 of a processor with a million users, a minute of log at 100,000 events/s behind its snapshot, until its first new commit",
    reference: null,
    notMeasured:
      "who notices the death: the new process is started at once, under the old one's name; a snapshot in S3; the ten minutes of event ids that a live partition would hold",
    takesEvents: true,
    rows: [
      { label: "kill to first new commit", unit: "s", key: "recovery_seconds" },
      { label: "of it replay, snapshot unpacked", unit: "s", key: "replay_seconds" },
      { label: "CPU time of the new process until then", unit: "s", key: "recovery_cpu_seconds" },
      { label: "replay", unit: "events/s", key: "replay_events_per_second" },
      { label: "events replayed", unit: "events", key: "events" },
      { label: "snapshot packed and written", unit: "s", key: "snapshot_seconds" },
      { label: "every event counted once, hash reproduced", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./recovery.ts")).run(options),
  },
  latency: {
    title:
      "the processor at 100,000 events/s, a block every 10 ms: due time of its append to its rows with a read_committed reader, one partition",
    reference: null,
    notMeasured: "validator, sinks, a network, replication; broker, processor, sender and reader share the machine's cores",
    takesEvents: true,
    rows: [
      { label: "paced", unit: "events/s", key: "paced_events_per_second" },
      { label: "p50", unit: "ms", key: "latency_ms_p50" },
      { label: "p90", unit: "ms", key: "latency_ms_p90" },
      { label: "p99", unit: "ms", key: "latency_ms_p99" },
      { label: "max", unit: "ms", key: "latency_ms_max" },
      { label: "from the append's acknowledgement, p50", unit: "ms", key: "after_append_ms_p50" },
      { label: "from the append's acknowledgement, p99", unit: "ms", key: "after_append_ms_p99" },
      { label: "every block came out, once", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./latency.ts")).run(options),
  },
  nexmark: {
    title: "NEXMark q5, q7, q8, q11, q12 on the fold's own tables and windows, events from a generator to its specification, one core",
    reference: "Map and one object per event, events in order only; each query gives the same rows",
    notMeasured: "the generator, Kafka, encoding of results, recovery; no events out of order, as NEXMark's default has none",
    takesEvents: true,
    rows: [
      { label: "q5, hot auctions", unit: "events/s", key: "q5_events_per_core_second", reference: "reference_q5_events_per_core_second" },
      { label: "q7, highest bid", unit: "events/s", key: "q7_events_per_core_second", reference: "reference_q7_events_per_core_second" },
      { label: "q8, new sellers", unit: "events/s", key: "q8_events_per_core_second", reference: "reference_q8_events_per_core_second" },
      {
        label: "q11, bids per session",
        unit: "events/s",
        key: "q11_events_per_core_second",
        reference: "reference_q11_events_per_core_second",
      },
      {
        label: "q12, bids per 10 s",
        unit: "events/s",
        key: "q12_events_per_core_second",
        reference: "reference_q12_events_per_core_second",
      },
      { label: "results equal the reference's", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./nexmark.ts")).run(options),
  },
  analytics: {
    title: "the ten questions of docs/ANALYSTS.md over rows in the production schema, one day, on one ClickHouse; each 20 times, warm",
    reference: null,
    notMeasured: "the pipeline's own inserts at the same time, queries beside each other, a cold disk, replicas",
    takesEvents: true,
    rows: [
      { label: "rows", unit: "events", key: "events" },
      { label: "put in, with view, projection and indexes", unit: "events/s", key: "events_per_second_filled" },
      { label: "an event on disk", unit: "bytes", key: "bytes_per_event" },
      { label: "the same as JSON", unit: "bytes", key: "json_bytes_per_event" },
      { label: "times smaller", unit: "", key: "times_smaller" },
      { label: "slowest question by key, projection or view, p99", unit: "ms", key: "slowest_keyed_ms_p99" },
      { label: "slowest full scan (funnel, anomalies) per 100 M events, p50", unit: "s", key: "slowest_scan_seconds_per_100m" },
      { label: "table, view and projection count the same, every question answered", unit: "", key: "exact" },
    ],
    run: async (options) => (await import("./analytics.ts")).run(options),
  },
  redis: {
    title: "hot values in Redis at 20,000 events/s, paced, and read again after FLUSHALL",
    reference: "HSET and EXPIRE of user and session for each event, pipelined by ioredis",
    notMeasured: "Kafka, a network, a replica; the reference neither notices a replay nor a zombie",
    takesEvents: false,
    rows: [
      {
        label: "writes an event, 10,000 users as npm start has them",
        unit: "",
        key: "writes_per_event",
        reference: "reference_writes_per_event",
      },
      { label: "CPU of Redis an event", unit: "ns", key: "redis_ns_per_event", reference: "reference_redis_ns_per_event" },
      { label: "CPU of the sink an event", unit: "ns", key: "sink_ns_per_event", reference: "reference_sink_ns_per_event" },
      {
        label: "CPU of Redis an event, 100,000 users, hardly any twice in 250 ms",
        unit: "ns",
        key: "worst_redis_ns_per_event",
        reference: "reference_worst_redis_ns_per_event",
      },
      { label: "read again after FLUSHALL, 100,000 users", unit: "events/s", key: "worst_rebuilt_events_per_second" },
      { label: "every value that of the newest event", unit: "", key: "exact" },
    ],
    run: async () => (await import("./redis.ts")).run(),
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
