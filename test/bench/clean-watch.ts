/** Sees each clean event when a read_committed fetch of events.clean returns it, and how long after its sending that was. */
import { openKafka } from "#shared/clients/kafka/client.ts";
import { kafkaOptions } from "#shared/clients/kafka/kafka-options.ts";
import type { FetchedPartition, Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { decodeClean } from "#shared/events/block.ts";
import { topicName } from "#shared/events/names.ts";

/** An event begins `{"event_id":"<36 characters>"`. */
const ID_START = 13;
const ID_LENGTH = 36;

export class CleanWatch {
  readonly #kafka: Kafka;
  readonly #offsets: Map<number, number>;
  readonly #topic: string;
  /** By event_id in hex. */
  readonly #sentMs = new Map<string, number>();
  readonly #latenciesMs: number[] = [];
  readonly #reading: Promise<void>;
  #closing = false;

  private constructor(kafka: Kafka, topic: string, offsets: Map<number, number>) {
    this.#kafka = kafka;
    this.#topic = topic;
    this.#offsets = offsets;
    this.#reading = this.#read();
    this.#reading.catch(() => undefined);
  }

  /** From now on, with a connection of its own: the sender's must not wait behind a fetch. */
  static async open(config: Config): Promise<CleanWatch> {
    const kafka = await openKafka({ ...(await kafkaOptions(config)), clientId: "weir-bench-watch" });
    const topic = topicName(config.lane, "clean");
    const offsets = new Map<number, number>();
    for (let partition = 0; partition < config.partitions; partition++)
      offsets.set(partition, await kafka.listOffset({ topic, partition }, "latest", "read_committed"));
    return new CleanWatch(kafka, topic, offsets);
  }

  sent(value: Uint8Array, nowMs: number): void {
    const id = Buffer.from(value.buffer, value.byteOffset + ID_START, ID_LENGTH).toString("latin1");
    this.#sentMs.set(id.replaceAll("-", ""), nowMs);
  }

  /** Sorted, once every event told of has been seen. @throws when one has not been in time. */
  async close(limitMs: number): Promise<readonly number[]> {
    const overdue = setTimeout(() => (this.#closing = true), limitMs);
    try {
      while (this.#sentMs.size > 0 && !this.#closing) await Promise.race([this.#reading, nextTurn()]);
      this.#closing = true;
      await this.#reading;
      if (this.#sentMs.size > 0) throw new Error(`${this.#sentMs.size} events have not come to events.clean in time`);
      return this.#latenciesMs.sort((a, b) => a - b);
    } finally {
      clearTimeout(overdue);
      await this.#kafka.close();
    }
  }

  async #read(): Promise<void> {
    while (!this.#closing) {
      const requests = [...this.#offsets].map(([partition, offset]) => ({ topic: this.#topic, partition, offset }));
      const answers = await this.#kafka.fetch(requests, { isolation: "read_committed", maxWaitMs: 100 });
      const nowMs = performance.now();
      for (const answer of answers) this.#see(answer, nowMs);
    }
  }

  #see({ partition, records, nextOffset }: FetchedPartition, nowMs: number): void {
    this.#offsets.set(partition, nextOffset);
    for (const { value } of records) {
      if (value === null) continue;
      const { rows, eventId } = decodeClean(value);
      const hex = Buffer.from(eventId.buffer, eventId.byteOffset, rows * 16).toString("hex");
      for (let row = 0; row < rows; row++) {
        const id = hex.slice(row * 32, row * 32 + 32);
        const sentMs = this.#sentMs.get(id);
        if (sentMs === undefined) continue;
        this.#latenciesMs.push(nowMs - sentMs);
        this.#sentMs.delete(id);
      }
    }
  }
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 20));
}
