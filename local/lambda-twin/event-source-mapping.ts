/**
 * A Lambda event source mapping on this machine, in the mode that the pipeline needs (docs/ARCHITECTURE.md): provisioned, batching window 0,
 * endless retries, no bisect, no partial response, no on-failure destination, TRIM_HORIZON.
 *
 * I1 One invocation in flight per partition; its records are consecutive and in offset order.
 * I2 The group's offset passes a record only after an invocation with it has succeeded.
 * I3 A failed invocation is repeated with the very same event, after a growing pause, without end; other partitions go on.
 */
import { setTimeout } from "node:timers/promises";
import type { Logger } from "#shared/telemetry/logger.ts";
import type { FetchedRecord, Kafka } from "#shared/clients/kafka/types.ts";
import { assert } from "#shared/kernel/assert.ts";
import { describeError, toError, TransientError, UnavailableError } from "#shared/kernel/errors.ts";
import type { Fault, InvocationOrder, Invoke } from "./invocation.ts";
import { encodeEvent, encodeRecord, envelopeBytes, type EventSource, PAYLOAD_BYTES_MAX } from "./invocation-event.ts";
import { PartitionFeed } from "./partition-feed.ts";
import { Wakeup } from "./wakeup.ts";

export interface EventSourceMappingOptions {
  readonly kafka: Kafka;
  readonly topic: string;
  readonly partitions: number;
  readonly group: string;
  readonly source: EventSource;
  /** Records per invocation, 1 to 10,000. */
  readonly batchSize: number;
  /** Size of the event. Default and maximum 6 MiB. */
  readonly payloadBytesMax?: number;
  readonly invoke: Invoke;
  /** Invocations in flight. */
  readonly concurrency: number;
  /** Pause after a failed invocation: doubles from the first to the last. Default 100 to 10,000. */
  readonly backoffMs?: { readonly first: number; readonly last: number };
  readonly log: Logger;
  /** Whether {@link EventSourceMapping.order} may be used: keeps delivered records in memory. Default false. */
  readonly faults?: boolean;
}

export interface DeliveryCounts {
  readonly invocations: number;
  readonly failures: number;
  /** Records of successful invocations, repeated ones included. */
  readonly records: number;
}

interface Delivery {
  readonly slices: readonly { readonly feed: PartitionFeed; readonly records: readonly FetchedRecord[] }[];
  readonly event: string;
}

/** Read-ahead per partition. */
const READ_AHEAD_BATCHES = 2;
const READ_AHEAD_BYTES = 8 * 1024 * 1024;
const FETCH_WAIT_MS = 200;
const TRIES_AFTER_STOP = 5;
const FAULT_MEMORY_RECORDS = 20_000;

export class EventSourceMapping {
  readonly #options: Required<Omit<EventSourceMappingOptions, "faults">>;
  readonly #keepDelivered: number;
  #feeds: PartitionFeed[] = [];
  readonly #faults: { readonly fault: Fault; readonly partition: number | undefined }[] = [];
  /** By partition: how many records the next batch must hold, set by an overlap. */
  readonly #wanted = new Map<number, number>();
  readonly #inFlight = new Set<Promise<void>>();
  #turn = 0;
  readonly #counts = { invocations: 0, failures: 0, records: 0 };
  readonly #stopped = new AbortController();
  #failed: Error | undefined;
  readonly #wakeup = new Wakeup();
  readonly #committed = new Map<number, number>();

  constructor(options: EventSourceMappingOptions) {
    assert(options.batchSize >= 1 && options.batchSize <= 10_000, "batchSize must lie in [1, 10000]");
    assert(options.concurrency >= 1, "concurrency must be at least 1");
    this.#options = { payloadBytesMax: PAYLOAD_BYTES_MAX, backoffMs: { first: 100, last: 10_000 }, ...options };
    this.#keepDelivered = options.faults === true ? FAULT_MEMORY_RECORDS : 0;
  }

  get counts(): DeliveryCounts {
    return { ...this.#counts };
  }

  /** Offset up to which everything is delivered, by partition. */
  get doneOffsets(): readonly number[] {
    return this.#feeds.map((feed) => feed.doneOffset);
  }

  /** Tests only. Without a partition the next invocation of any takes it. */
  order(fault: Fault, partition?: number): void {
    assert(this.#keepDelivered > 0, "fault orders need the option faults");
    this.#faults.push({ fault, partition });
    this.#wakeup.wake();
  }

  /** Delivers until `stop` aborts, then waits for the invocations in flight and commits. Throws on what no retry can mend. */
  async run(stop: AbortSignal, onStarted: () => void = () => undefined): Promise<void> {
    const end = (): void => this.#stop();
    stop.addEventListener("abort", end, { once: true });
    if (stop.aborted) this.#stop();
    try {
      await this.#retry("reading the group's offsets", () => this.#loadPositions());
      onStarted();
      await Promise.all([this.#guard(this.#fetchLoop()), this.#guard(this.#dispatchLoop()), this.#guard(this.#commitLoop())]);
    } finally {
      stop.removeEventListener("abort", end);
      this.#stop();
      await Promise.allSettled(this.#inFlight);
    }
    if (this.#failed === undefined) await this.#commit();
    else throw this.#failed;
  }

  async #loadPositions(): Promise<void> {
    const { kafka, topic, partitions, group } = this.#options;
    const all = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }));
    const committed = new Map((await kafka.committedOffsets(group, all, { requireStable: false })).map((c) => [c.partition, c.offset]));
    this.#feeds = await Promise.all(
      all.map(async (at) => {
        const offset = committed.get(at.partition) ?? -1;
        if (offset >= 0) this.#committed.set(at.partition, offset);
        const start = offset >= 0 ? offset : await kafka.listOffset(at, "earliest", "read_committed");
        return new PartitionFeed(at.partition, start, { keepDelivered: this.#keepDelivered });
      }),
    );
  }

  async #fetchLoop(): Promise<void> {
    const { kafka, topic, batchSize } = this.#options;
    while (!this.#stopped.signal.aborted) {
      const { ticket } = this.#wakeup;
      const hungry = this.#feeds.filter((f) => f.waitingRecords < READ_AHEAD_BATCHES * batchSize && f.waitingBytes < READ_AHEAD_BYTES);
      if (hungry.length === 0) {
        await this.#wakeup.since(ticket);
        continue;
      }
      const answers = await this.#retry("fetching", () =>
        kafka.fetch(
          hungry.map(({ partition, fetchOffset }) => ({ topic, partition, offset: fetchOffset })),
          { isolation: "read_committed", maxWaitMs: FETCH_WAIT_MS, minBytes: 1, partitionMaxBytes: 1_048_576 },
        ),
      );
      let news = false;
      for (const answer of answers ?? []) {
        const feed = this.#feeds[answer.partition];
        assert(feed !== undefined, "a fetch must answer for the partitions asked for");
        feed.add(answer.records, answer.nextOffset);
        news ||= answer.records.length > 0;
      }
      if (news) this.#wakeup.wake();
    }
  }

  async #dispatchLoop(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const { ticket } = this.#wakeup;
      const delivery = this.#inFlight.size < this.#options.concurrency ? this.#nextDelivery() : undefined;
      if (delivery === undefined) {
        await this.#wakeup.since(ticket);
        continue;
      }
      for (const { feed } of delivery.slices) feed.busy = true;
      const invocation = this.#guard(this.#deliver(delivery)).finally(() => {
        for (const { feed } of delivery.slices) feed.busy = false;
        this.#inFlight.delete(invocation);
        this.#wakeup.wake();
      });
      this.#inFlight.add(invocation);
    }
  }

  /** Partitions take turns; those that are ready are shared out among the free runtimes. */
  #nextDelivery(): Delivery | undefined {
    const { topic, source, batchSize, payloadBytesMax, concurrency } = this.#options;
    const ready: PartitionFeed[] = [];
    for (let i = 0; i < this.#feeds.length; i++) {
      const feed = this.#feeds[(this.#turn + i) % this.#feeds.length]!;
      if (!feed.busy && feed.waitingRecords > 0) ready.push(feed);
    }
    if (ready.length === 0) return undefined;
    this.#turn = (ready[0]!.partition + 1) % this.#feeds.length;
    const mine = ready.slice(0, Math.ceil(ready.length / (concurrency - this.#inFlight.size)));

    let bytes = envelopeBytes(source, topic, mine.length);
    let room = batchSize;
    const slices = [];
    const encodedSlices = [];
    for (const feed of mine) {
      const wanted = this.#wanted.get(feed.partition) ?? room;
      const encoded: string[] = [];
      while (encoded.length < Math.min(room, wanted)) {
        const record = feed.peek(encoded.length);
        if (record === undefined) break;
        const text = encodeRecord({ topic, partition: feed.partition }, record, source);
        const first = slices.length === 0 && encoded.length === 0;
        if (!first && bytes + text.length + 1 > payloadBytesMax) {
          room = 0;
          break;
        }
        bytes += text.length + 1;
        encoded.push(text);
      }
      if (encoded.length === 0) continue;
      this.#wanted.delete(feed.partition);
      room -= encoded.length;
      slices.push({ feed, records: feed.take(encoded.length) });
      encodedSlices.push({ topic, partition: feed.partition, encoded });
    }
    return { slices, event: encodeEvent(encodedSlices, source) };
  }

  async #deliver(delivery: Delivery): Promise<void> {
    const { backoffMs } = this.#options;
    const fault = this.#takeFault(delivery);
    let order: InvocationOrder =
      fault?.kind === "throw" ? { throwAtOnce: true } : fault?.kind === "failpoint" ? { failpoint: fault.spec } : {};
    let times = fault?.kind === "redeliver" ? 2 : 1;
    for (let attempt = 0; times > 0;) {
      const copies = fault?.kind === "concurrent" && attempt === 0 ? 2 : 1;
      const outcomes = await Promise.allSettled(Array.from({ length: copies }, () => this.#invoke(delivery.event, order)));
      order = {};
      const failure = outcomes.find((outcome) => outcome.status === "rejected");
      if (failure === undefined) {
        attempt = 0;
        times--;
        continue;
      }
      this.#counts.failures++;
      // A mapping that is stopped leaves the batch to the next one: its offset is not committed.
      if (this.#stopped.signal.aborted) return;
      const pauseMs = Math.min(backoffMs.last, backoffMs.first * 2 ** Math.min(attempt, 20));
      this.#options.log.warn("invocation failed, delivering again", {
        error: describeError(failure.reason),
        attempt: ++attempt,
        pauseMs,
        partitions: delivery.slices.map(({ feed }) => feed.partition).join(","),
        firstOffset: delivery.slices[0]?.records[0]?.offset,
      });
      await this.#pause(pauseMs);
      if (this.#stopped.signal.aborted) return;
    }
    for (const { feed, records } of delivery.slices) {
      this.#counts.records += records.length;
      feed.settle(records);
      if (fault?.kind === "overlap") {
        const from = records[0]!.offset - fault.records;
        this.#wanted.set(feed.partition, feed.rewind(from) + fault.records);
      }
    }
  }

  async #invoke(event: string, order: InvocationOrder): Promise<void> {
    this.#counts.invocations++;
    await this.#options.invoke(event, order);
  }

  #takeFault({ slices }: Delivery): Fault | undefined {
    const i = this.#faults.findIndex(({ partition }) => partition === undefined || slices.some(({ feed }) => feed.partition === partition));
    return i < 0 ? undefined : this.#faults.splice(i, 1)[0]!.fault;
  }

  /** Newest offsets only, one commit after another: an older one can never land behind a newer one. */
  async #commitLoop(): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      const { ticket } = this.#wakeup;
      await this.#commit();
      await this.#wakeup.since(ticket);
    }
  }

  async #commit(): Promise<void> {
    const { kafka, topic, group } = this.#options;
    const news = this.#feeds
      .filter((feed) => feed.doneOffset !== this.#committed.get(feed.partition))
      .map((feed) => ({ topic, partition: feed.partition, offset: feed.doneOffset, metadata: "" }));
    if (news.length === 0) return;
    await this.#retry("committing offsets", () => kafka.commitOffsets(group, news));
    for (const { partition, offset } of news) this.#committed.set(partition, offset);
  }

  /** Endless while running; once stopped, gives up after a few tries and returns undefined: what is not committed is delivered again. */
  async #retry<T>(what: string, action: () => Promise<T>): Promise<T | undefined> {
    let triesAfterStop = 0;
    for (let attempt = 0; ; attempt++) {
      try {
        return await action();
      } catch (thrown) {
        if (!(thrown instanceof TransientError || thrown instanceof UnavailableError)) throw thrown;
        this.#options.log.warn("kafka failed, trying again", { what, error: describeError(thrown), attempt });
        if (!this.#stopped.signal.aborted) await this.#pause(Math.min(5_000, 100 * 2 ** Math.min(attempt, 10)));
        else if (++triesAfterStop < TRIES_AFTER_STOP) await setTimeout(50);
        else return undefined;
      }
    }
  }

  async #guard(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      this.#failed ??= toError(thrown);
      this.#stop();
    }
  }

  #stop(): void {
    this.#stopped.abort();
    this.#wakeup.wake();
  }

  async #pause(durationMs: number): Promise<void> {
    await setTimeout(durationMs, undefined, { signal: this.#stopped.signal }).catch(() => undefined);
  }
}
