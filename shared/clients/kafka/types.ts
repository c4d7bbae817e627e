/** What the rest of the code sees of Kafka (DESIGN 8). Offsets are doubles: exact below 2^53. */

export type Isolation = "read_committed" | "read_uncommitted";
export type Compression = "none" | "gzip" | "snappy" | "lz4" | "zstd";

export interface TopicPartition {
  readonly topic: string;
  readonly partition: number;
}

export type RecordHeader = readonly [key: string, value: Uint8Array];

export interface OutgoingRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly RecordHeader[];
  /** Epoch milliseconds, default now; the broker overrides it on topics with LogAppendTime (all of ours). */
  readonly timestampMs?: number;
}

export interface NumberedFrom {
  readonly producerId: bigint;
  /** Of the first record. */
  readonly sequence: number;
}

/** A record as fetched. `key`, `value` and header values are views of the response buffer: valid as long as referenced, never written to. */
export interface FetchedRecord {
  readonly offset: number;
  /** The broker's append time on topics with LogAppendTime. */
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers: readonly RecordHeader[];
}

export interface FetchRequest extends TopicPartition {
  readonly offset: number;
}

export interface FetchedPartition extends TopicPartition {
  readonly highWatermarkOffset: number;
  readonly lastStableOffset: number;
  readonly logStartOffset: number;
  /** Data records in offset order; aborted ones (read_committed) and control records are left out. */
  readonly records: readonly FetchedRecord[];
  /** Where to go on: behind everything that this answer covered, control batches included. */
  readonly nextOffset: number;
  /**
   * Hands the receive buffer back for a later answer, which more than halves the cost of fetching; no record of this answer may be touched
   * afterwards. Optional: without it the garbage collector frees the buffer.
   */
  readonly release?: () => void;
}

export interface FetchOptions {
  readonly isolation: Isolation;
  /** The broker answers when this much time has passed or a byte is there. Default 100. */
  readonly maxWaitMs?: number;
  /** Default 1. */
  readonly minBytes?: number;
  /** Default 16 MiB per answer, 4 MiB per partition. */
  readonly maxBytes?: number;
  readonly partitionMaxBytes?: number;
}

/** A number: the first record of that log time (epoch milliseconds) or later, -1 where there is none. */
export type OffsetPlace = "earliest" | "latest" | number;

export interface CommittedOffset extends TopicPartition {
  /** The next offset to read; -1 = the group has none. */
  readonly offset: number;
  readonly metadata: string;
}

export interface KafkaOptions {
  /** host:port, at least one. */
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly tls?: boolean | { readonly ca?: string };
  readonly sasl?:
    | { readonly mechanism: "PLAIN" | "SCRAM-SHA-256" | "SCRAM-SHA-512"; readonly username: string; readonly password: string }
    | { readonly mechanism: "OAUTHBEARER"; readonly token: () => Promise<string> };
  /** Per request. Default 30,000. Never used as the transaction time-out. */
  readonly requestTimeoutMs?: number;
  /** Connecting and finding leaders is retried this long before UnavailableError. Default 30,000. */
  readonly unavailableAfterMs?: number;
}

/**
 * One connection set to a cluster. Every method may be called concurrently.
 *
 * Errors: {@link UnavailableError} no broker answers in time · {@link TransientError} after bounded retries · {@link CorruptStateError} a batch's
 * CRC is wrong · {@link OperatingError} code KAFKA_OFFSET_OUT_OF_RANGE (never reset silently), KAFKA_UNKNOWN_TOPIC, KAFKA_RECORD_TOO_LARGE, KAFKA_AUTH.
 */
export interface Kafka {
  /** Number of partitions of a topic. */
  partitionCount(topic: string): Promise<number>;
  /** Follows leaders by itself. One answer per requested partition. */
  fetch(requests: readonly FetchRequest[], options: FetchOptions): Promise<FetchedPartition[]>;
  /** `latest` under read_committed is the last stable offset. */
  listOffset(at: TopicPartition, where: OffsetPlace, isolation: Isolation): Promise<number>;
  /**
   * Appends one batch, acks=all, and returns the offset of its first record. Not idempotent: after an error the records may or may not be in
   * the log. The caller keeps one produce in flight per partition where order matters (DESIGN 3.2).
   */
  produce(to: TopicPartition, records: readonly OutgoingRecord[], options?: { readonly compression?: Compression }): Promise<number>;
  /** `requireStable` waits until pending transactions of these offsets are decided. */
  committedOffsets(group: string, of: readonly TopicPartition[], options: { readonly requireStable: boolean }): Promise<CommittedOffset[]>;
  /** Commit without membership (generation -1), for readers whose partitions are fixed by configuration. */
  commitOffsets(group: string, offsets: readonly CommittedOffset[]): Promise<void>;
  /**
   * FindCoordinator, then InitProducerId(-1, -1): fences every older holder of the id, aborts its open transaction and returns when that is
   * done. Retries until the coordinator is there.
   */
  initProducer(transactionalId: string, options: { readonly transactionTimeoutMs: number }): Promise<TransactionalProducer>;
  close(): Promise<void>;
}

/** What a producer needs whose numbering outlives its process. */
export interface NumberedKafka extends Kafka {
  /** A producer id that no transaction has, for {@link produceNumbered}; `near` names a partition whose leader is asked. */
  newProducerId(near: TopicPartition): Promise<bigint>;
  /**
   * Appends one batch under the caller's own numbering (KIP-98 without transactions): record i of a producer id has sequence i in its partition,
   * from 0, whichever process sends it. The broker appends a sequence once; repeated, the last batch counts as appended. One in flight per
   * partition. OperatingError KAFKA_SEQUENCE: the log is further than the caller thinks, who has to read it again.
   */
  produceNumbered(to: TopicPartition, records: readonly OutgoingRecord[], from: NumberedFrom): Promise<number>;
}

/**
 * One transaction after another of one transactional id. Crash-only: after any error the producer is dead (every call throws) and only
 * {@link Kafka.initProducer}, {@link Kafka.committedOffsets} and replay may go on. Throws {@link FencedError} when a newer owner exists and
 * {@link UnknownOutcomeError} when `commit` may or may not have happened.
 */
export interface TransactionalProducer {
  readonly producerId: bigint;
  /** Rises with each initProducer, and under transactions V2 (KIP-890) with each commit. */
  readonly epoch: number;
  readonly protocol: "V1" | "V2";
  /** Appends one batch inside the open transaction (opening it if none is). Sends to different partitions may run concurrently; to one they queue. */
  send(to: TopicPartition, records: readonly OutgoingRecord[], options?: { readonly compression?: Compression }): Promise<number>;
  /** TxnOffsetCommit with generation -1 and member '': call after all sends are acknowledged. */
  commitOffsets(group: string, offsets: readonly CommittedOffset[]): Promise<void>;
  /** EndTxn(commit). Resolves when the coordinator has decided. */
  commit(): Promise<void>;
}
