/** What one partition holds between the fetch and the invocation: records in offset order, read ahead but bounded. */
import type { FetchedRecord } from "#shared/clients/kafka/types.ts";
import { assert } from "#shared/kernel/assert.ts";

export class PartitionFeed {
  readonly partition: number;
  /** An invocation with records of this partition is in flight: no other may start. */
  busy = false;
  /** Of the next fetch. */
  fetchOffset: number;
  /** First offset that is not delivered for good; what the group has to know. */
  doneOffset: number;
  #waiting: FetchedRecord[] = [];
  #head = 0;
  #waitingBytes = 0;
  /** The last delivered records, kept only for fault orders. */
  #delivered: FetchedRecord[] = [];
  readonly #keepDelivered: number;

  constructor(partition: number, startOffset: number, options: { readonly keepDelivered: number }) {
    this.partition = partition;
    this.fetchOffset = startOffset;
    this.doneOffset = startOffset;
    this.#keepDelivered = options.keepDelivered;
  }

  get waitingRecords(): number {
    return this.#waiting.length - this.#head;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  add(records: readonly FetchedRecord[], nextOffset: number): void {
    for (const record of records) {
      assert(record.offset >= this.fetchOffset, "a fetch must not answer below the offset asked for");
      this.#waiting.push(record);
      this.#waitingBytes += sizeOf(record);
    }
    this.fetchOffset = nextOffset;
  }

  peek(index: number): FetchedRecord | undefined {
    return this.#waiting[this.#head + index];
  }

  take(count: number): FetchedRecord[] {
    const taken = this.#waiting.slice(this.#head, this.#head + count);
    this.#head += taken.length;
    for (const record of taken) this.#waitingBytes -= sizeOf(record);
    if (this.#head > 4_096 || this.#head === this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    return taken;
  }

  /** The invocation succeeded. */
  settle(records: readonly FetchedRecord[]): void {
    const last = records.at(-1);
    if (last === undefined) return;
    // After an overlap the records below were settled before: never go back.
    this.doneOffset = Math.max(this.doneOffset, last.offset + 1);
    if (this.#keepDelivered === 0) return;
    const known = this.#delivered.at(-1)?.offset ?? -1;
    for (const record of records) if (record.offset > known) this.#delivered.push(record);
    if (this.#delivered.length > 2 * this.#keepDelivered) this.#delivered = this.#delivered.slice(-this.#keepDelivered);
  }

  /** Puts delivered records from `offset` on back in front. Returns how many. */
  rewind(offset: number): number {
    const firstWaiting = this.peek(0)?.offset ?? Number.POSITIVE_INFINITY;
    const again = this.#delivered.filter((record) => record.offset >= offset && record.offset < firstWaiting);
    this.#waiting = [...again, ...this.#waiting.slice(this.#head)];
    this.#head = 0;
    for (const record of again) this.#waitingBytes += sizeOf(record);
    return again.length;
  }
}

function sizeOf(record: FetchedRecord): number {
  return (record.key?.length ?? 0) + (record.value?.length ?? 0) + 64;
}
