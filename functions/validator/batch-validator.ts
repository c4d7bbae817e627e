/**
 * One invocation: each partition's records become blocks on the same partition number of events.valid. Partitions run in parallel; within one,
 * a block is acknowledged before the next is sent, since the fold trims redeliveries by position and so needs them in order.
 *
 * The validator and its buffers are shared by the partitions: filling and encoding a block happens without a pause in between.
 */
import { type EventColumns, VERDICT } from "#shared/events/columns.ts";
import type { Plan } from "#shared/rules/plan.ts";
import type { InvocationRecord, PartitionBatch } from "./invocation-event.ts";
import { RecordDecoder } from "./record-decoder.ts";
import type { Limits } from "./scanner/limits.ts";
import { createValidator, type Validator } from "./scanner/validator.ts";
import { TraceLinks } from "./trace-links.ts";

/** A block is cut before it grows beyond this, so that it stays below the broker's limit for a record (1,048,588 bytes). */
export const BLOCK_BYTES = 900_000;

export interface BatchPorts {
  /** Called synchronously; must not keep the columns, which are overwritten by the next block. */
  readonly encode: (columns: EventColumns, block: BlockPlace) => Uint8Array;
  /** Resolves when the brokers have acknowledged. */
  readonly send: (value: Uint8Array, block: BlockPlace) => Promise<void>;
}

export interface BlockPlace {
  readonly partition: number;
  readonly firstSourceOffset: number;
  readonly lastSourceOffset: number;
  readonly count: number;
  readonly rulesVersion: number;
  /** Sampled traces of its events, see {@link TraceLinks}. */
  readonly traces: string | null;
  /** Kafka's time of its oldest record; null = no record has one. */
  readonly oldestMs: number | null;
}

export interface BatchCounts {
  events: number;
  rejects: number;
  flags: number;
  /** Rejects and flags by reason code. */
  readonly reasons: Map<string, number>;
  /** Accepted events of a schema version that is not its type's newest, by `type@version`. */
  readonly olderSchemas: Map<string, number>;
  valueBytes: number;
  /** Acknowledged ones. */
  blocks: number;
  blockBytes: number;
  /** Kafka's time of the oldest record; Infinity = no record has one. */
  oldestMs: number;
}

export function noCounts(): BatchCounts {
  return {
    events: 0,
    rejects: 0,
    flags: 0,
    reasons: new Map(),
    olderSchemas: new Map(),
    valueBytes: 0,
    blocks: 0,
    blockBytes: 0,
    oldestMs: Infinity,
  };
}

export class BatchValidator {
  readonly #limits: Limits;
  readonly #ports: BatchPorts;
  readonly #decoder = new RecordDecoder();
  readonly #traces = new TraceLinks();
  #validator: Validator | undefined;
  /** Of the block that was filled last; Infinity = no record has a time. */
  #oldestMs = Infinity;

  constructor(limits: Limits, ports: BatchPorts) {
    this.#limits = limits;
    this.#ports = ports;
  }

  /** Resolves when everything is acknowledged; rejects with the first error, but only when nothing is in flight any more. Adds to `counts`. */
  async run(batches: readonly PartitionBatch[], plan: Plan, counts: BatchCounts = noCounts()): Promise<BatchCounts> {
    if (this.#validator?.plan !== plan) this.#validator = createValidator(plan, this.#limits);
    const validator = this.#validator;
    const outcomes = await Promise.allSettled(batches.map((batch) => this.#writePartition(batch, validator, counts)));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    return counts;
  }

  async #writePartition({ partition, records }: PartitionBatch, validator: Validator, counts: BatchCounts): Promise<void> {
    for (let next = 0; next < records.length;) {
      const first = next;
      next = this.#fillBlock(records, first, validator);
      const oldestMs = this.#oldestMs;
      const place: BlockPlace = {
        partition,
        firstSourceOffset: records[first]!.offset,
        lastSourceOffset: records[next - 1]!.offset,
        count: validator.rows,
        rulesVersion: validator.plan.version,
        traces: this.#traces.finish(),
        oldestMs: oldestMs === Infinity ? null : oldestMs,
      };
      counts.oldestMs = Math.min(counts.oldestMs, oldestMs);
      const columns = validator.finish();
      countRows(columns, counts);
      countVersions(validator, counts);
      counts.valueBytes += this.#decoder.takeValueBytes();
      const value = this.#ports.encode(columns, place);
      await this.#ports.send(value, place);
      counts.blocks++;
      counts.blockBytes += value.length;
    }
  }

  /** Validates records from `first` on, one at least, and returns the first that does not fit into the block any more. */
  #fillBlock(records: readonly InvocationRecord[], first: number, validator: Validator): number {
    validator.begin();
    this.#traces.begin();
    let oldestMs = Infinity;
    let next = first;
    // Not less than the block's size; what it really is, is looked up only when this says that it may be full.
    let boundBytes = 0;
    let rowBytes = rowBytesMax(records[first]!);
    do {
      const record = records[next]!;
      const { timestamp, headers } = record;
      this.#decoder.add(validator, record);
      if (headers !== undefined && headers.length > 0) this.#traces.add(headers);
      if (typeof timestamp === "number" && timestamp < oldestMs && timestamp >= 0) oldestMs = timestamp;
      next++;
      if (next === records.length) break;
      boundBytes += rowBytes;
      rowBytes = rowBytesMax(records[next]!);
      if (boundBytes + rowBytes > BLOCK_BYTES) boundBytes = validator.sizeBytes();
    } while (boundBytes + rowBytes <= BLOCK_BYTES);
    this.#oldestMs = oldestMs;
    return next;
  }
}

function countRows({ rows, verdict, reason }: EventColumns, counts: BatchCounts): void {
  counts.events += rows;
  for (let row = 0; row < rows; row++) {
    const found = verdict[row]!;
    if (found === VERDICT.ok) continue;
    if (found === VERDICT.reject) counts.rejects++;
    else counts.flags++;
    const code = reason.values[reason.codes[row]!] ?? "";
    counts.reasons.set(code, (counts.reasons.get(code) ?? 0) + 1);
  }
}

function countVersions({ plan, versionRows }: Validator, counts: BatchCounts): void {
  const { versions } = plan;
  // The versions of a type stand together, the newest last.
  for (let place = 0; place + 1 < versions.length; place++) {
    const rows = versionRows[place]!;
    if (rows === 0) continue;
    const { name, schemaVersion } = versions[place]!;
    if (versions[place + 1]!.name !== name) continue;
    const key = `${name}@${schemaVersion}`;
    counts.olderSchemas.set(key, (counts.olderSchemas.get(key) ?? 0) + rows);
  }
}

/** A reject keeps all of it, an accepted row less. */
function rowBytesMax({ value, key }: InvocationRecord): number {
  return 512 + (typeof value === "string" ? value.length : 0) + (typeof key === "string" ? key.length : 0);
}
