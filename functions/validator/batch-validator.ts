/**
 * One invocation: each partition's records become blocks on the same partition number of events.valid. Partitions run in parallel; within one,
 * a block is acknowledged before the next is sent, since the fold trims redeliveries by position and so needs them in order.
 *
 * The validator and its buffers are shared by the partitions: filling and encoding a block happens without a pause in between.
 */
import type { EventColumns } from "#shared/events/columns.ts";
import type { Plan } from "#shared/rules/plan.ts";
import type { InvocationRecord, PartitionBatch } from "./invocation-event.ts";
import { RecordDecoder } from "./record-decoder.ts";
import type { Limits } from "./scanner/limits.ts";
import { createValidator, type Validator } from "./scanner/validator.ts";

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
}

export interface BatchCounts {
  events: number;
  rejects: number;
  blocks: number;
  blockBytes: number;
}

export class BatchValidator {
  readonly #limits: Limits;
  readonly #ports: BatchPorts;
  readonly #decoder = new RecordDecoder();
  #validator: Validator | undefined;

  constructor(limits: Limits, ports: BatchPorts) {
    this.#limits = limits;
    this.#ports = ports;
  }

  /** Resolves when everything is acknowledged; rejects with the first error, but only when nothing is in flight any more. */
  async run(batches: readonly PartitionBatch[], plan: Plan): Promise<BatchCounts> {
    if (this.#validator?.plan !== plan) this.#validator = createValidator(plan, this.#limits);
    const validator = this.#validator;
    const counts: BatchCounts = { events: 0, rejects: 0, blocks: 0, blockBytes: 0 };
    const outcomes = await Promise.allSettled(batches.map((batch) => this.#writePartition(batch, validator, counts)));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
    return counts;
  }

  async #writePartition({ partition, records }: PartitionBatch, validator: Validator, counts: BatchCounts): Promise<void> {
    for (let next = 0; next < records.length;) {
      const first = next;
      validator.begin();
      do {
        this.#decoder.add(validator, records[next]!);
        next++;
      } while (next < records.length && validator.sizeBytes() + rowBytesMax(records[next]!) <= BLOCK_BYTES);
      const place: BlockPlace = {
        partition,
        firstSourceOffset: records[first]!.offset,
        lastSourceOffset: records[next - 1]!.offset,
        count: validator.rows,
        rulesVersion: validator.plan.version,
      };
      counts.events += validator.rows;
      counts.rejects += validator.rejects;
      const value = this.#ports.encode(validator.finish(), place);
      counts.blocks++;
      counts.blockBytes += value.length;
      await this.#ports.send(value, place);
    }
  }
}

/** A reject keeps all of it, an accepted row less. */
function rowBytesMax({ value, key }: InvocationRecord): number {
  return 512 + (typeof value === "string" ? value.length : 0) + (typeof key === "string" ? key.length : 0);
}
