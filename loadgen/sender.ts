/**
 * Sends records in the order given, batched per partition, one batch in flight per partition (so that order holds without an idempotent
 * producer), and again after every failure of the broker: a repeated batch may stand in the log twice, which the pipeline's de-duplication
 * by event_id removes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Compression, Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { assert } from "#shared/kernel/assert.ts";
import { toError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";

export interface SenderOptions {
  readonly kafka: Pick<Kafka, "produce">;
  readonly topic: string;
  readonly partitions: number;
  /** How long a lone record waits for company. Default 5. */
  readonly lingerMs?: number;
  /** Of keys and values, before compression. Default 256 KiB; a single larger record goes alone. */
  readonly batchBytes?: number;
  /** What may wait in all before {@link RecordSender.room} makes the caller wait. Default 32 MiB. */
  readonly waitingBytesMax?: number;
  readonly compression?: Compression;
  /** Ends the retries. */
  readonly stop?: AbortSignal;
  readonly onRetry?: (error: Error, attempt: number) => void;
}

interface Lane {
  waiting: OutgoingRecord[];
  bytes: number;
  sending: boolean;
  timer: NodeJS.Timeout | undefined;
}

export class RecordSender {
  readonly #options: Required<Omit<SenderOptions, "stop" | "onRetry">> & Pick<SenderOptions, "stop" | "onRetry">;
  readonly #lanes: Lane[];
  #waitingBytes = 0;
  #waitingRecords = 0;
  #acknowledged = 0;
  #acknowledgedBytes = 0;
  #retries = 0;
  #failed: Error | undefined;
  #watchers: (() => void)[] = [];

  constructor(options: SenderOptions) {
    this.#options = { lingerMs: 5, batchBytes: 262_144, waitingBytesMax: 33_554_432, compression: "none", ...options };
    this.#lanes = Array.from({ length: options.partitions }, () => ({ waiting: [], bytes: 0, sending: false, timer: undefined }));
  }

  get counts(): { readonly acknowledged: number; readonly acknowledgedBytes: number; readonly retries: number; readonly waiting: number } {
    return {
      acknowledged: this.#acknowledged,
      acknowledgedBytes: this.#acknowledgedBytes,
      retries: this.#retries,
      waiting: this.#waitingRecords,
    };
  }

  /** False: wait for {@link RecordSender.room} before the next. Throws what no retry can mend. */
  add(partition: number, record: OutgoingRecord): boolean {
    if (this.#failed !== undefined) throw this.#failed;
    const lane = this.#lanes[partition];
    assert(lane !== undefined, "the partition must exist");
    const size = sizeOf(record);
    lane.waiting.push(record);
    lane.bytes += size;
    this.#waitingBytes += size;
    this.#waitingRecords++;
    if (lane.bytes >= this.#options.batchBytes) this.#send(partition);
    else lane.timer ??= setTimeout(() => this.#send(partition), this.#options.lingerMs);
    return this.#waitingBytes < this.#options.waitingBytesMax;
  }

  async room(): Promise<void> {
    await this.#until(() => this.#waitingBytes < this.#options.waitingBytesMax);
  }

  /** Everything added is acknowledged, or the stop signal has ended the retries. */
  async flush(): Promise<void> {
    for (let partition = 0; partition < this.#lanes.length; partition++) this.#send(partition);
    await this.#until(() => this.#waitingRecords === 0);
  }

  #send(partition: number): void {
    const lane = this.#lanes[partition]!;
    clearTimeout(lane.timer);
    lane.timer = undefined;
    if (lane.sending || lane.waiting.length === 0) return;
    lane.sending = true;
    void this.#drain(partition, lane).finally(() => {
      lane.sending = false;
      this.#tell();
    });
  }

  async #drain(partition: number, lane: Lane): Promise<void> {
    const { kafka, topic, batchBytes, compression } = this.#options;
    // Once started, goes on with whatever came meanwhile: under load the produce itself is the linger.
    while (lane.waiting.length > 0 && this.#failed === undefined) {
      let count = 0;
      let bytes = 0;
      while (count < lane.waiting.length && (count === 0 || bytes + sizeOf(lane.waiting[count]!) <= batchBytes))
        bytes += sizeOf(lane.waiting[count++]!);
      const batch = lane.waiting.slice(0, count);
      lane.waiting = lane.waiting.slice(count);
      lane.bytes -= bytes;
      await this.#insist(() => kafka.produce({ topic, partition }, batch, { compression }));
      if (this.#failed !== undefined) return;
      this.#acknowledged += count;
      this.#acknowledgedBytes += bytes;
      this.#waitingBytes -= bytes;
      this.#waitingRecords -= count;
      this.#tell();
    }
  }

  async #insist(produce: () => Promise<unknown>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await produce();
        return;
      } catch (thrown) {
        const error = toError(thrown);
        const mendable = error instanceof TransientError || error instanceof UnavailableError;
        if (!mendable || this.#options.stop?.aborted === true) {
          this.#failed = error;
          return;
        }
        this.#retries++;
        this.#options.onRetry?.(error, attempt);
        await sleep(Math.min(2_000, 50 * 2 ** Math.min(attempt, 10)));
      }
    }
  }

  #tell(): void {
    const watchers = this.#watchers;
    this.#watchers = [];
    for (const watcher of watchers) watcher();
  }

  async #until(holds: () => boolean): Promise<void> {
    for (;;) {
      if (this.#failed !== undefined) throw this.#failed;
      if (holds()) return;
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }
}

function sizeOf(record: OutgoingRecord): number {
  return (record.key?.length ?? 0) + (record.value?.length ?? 0) + 16;
}
