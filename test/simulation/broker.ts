/**
 * A simulated Kafka cluster: logs, transactions with markers that are written one partition after another, fencing by epoch, group offsets
 * that stay pending until their transaction is decided, log-append time, time-outs of open transactions. As strict as the real one: what it
 * refuses, the tests must not do.
 */
import type {
  CommittedOffset,
  FetchedPartition,
  FetchedRecord,
  Isolation,
  Kafka,
  OutgoingRecord,
  TopicPartition,
  TransactionalProducer,
} from "#shared/clients/kafka/types.ts";
import { FencedError, OperatingError, UnknownOutcomeError } from "#shared/kernel/errors.ts";
import type { SimulatedProcess, World } from "./world.ts";

interface Transaction {
  readonly producer: ProducerState;
  /** Which initProducer the writer came from: an owner's incarnation. */
  readonly owner: number;
  state: "open" | "committed" | "aborted";
  readonly unmarked: Set<SimulatedLog>;
  readonly offsets: Map<string, CommittedOffset>;
}

interface ProducerState {
  epoch: number;
  owner: number;
  open: Transaction | null;
  /** Decided, with markers still to write. */
  completing: Transaction | null;
  waiting: (() => void)[];
}

interface Entry {
  readonly record: FetchedRecord;
  readonly transaction: Transaction | null;
  readonly isMarker: boolean;
}

export interface CommittedRecord {
  readonly record: FetchedRecord;
  readonly owner: number;
}

class SimulatedLog {
  readonly entries: Entry[] = [];
  start = 0;
  readonly fetches: { offset: number; isolation: Isolation; answer: () => void }[] = [];

  get end(): number {
    return this.entries.length;
  }

  /** Offset behind the last that a reader of this isolation may see. */
  visibleEnd(isolation: Isolation): number {
    if (isolation === "read_uncommitted") return this.end;
    const undecided = this.entries.findIndex(({ transaction }) => transaction !== null && transaction.unmarked.has(this));
    return undecided === -1 ? this.end : undecided;
  }

  read(offset: number, isolation: Isolation, limit: number): { records: FetchedRecord[]; nextOffset: number } {
    const end = Math.min(this.visibleEnd(isolation), offset + limit);
    const visible = this.entries
      .slice(offset, end)
      .filter(({ isMarker, transaction }) => !isMarker && (isolation === "read_uncommitted" || transaction?.state !== "aborted"));
    return { records: visible.map(({ record }) => record), nextOffset: Math.max(offset, end) };
  }

  committed(): CommittedRecord[] {
    return this.entries
      .slice(0, this.visibleEnd("read_committed"))
      .filter(({ isMarker, transaction }) => !isMarker && transaction?.state !== "aborted")
      .map(({ record, transaction }) => ({ record, owner: transaction?.owner ?? 0 }));
  }

  wake(): void {
    const ready = this.fetches.filter(({ offset, isolation }) => offset < this.visibleEnd(isolation));
    for (const fetch of ready) {
      this.fetches.splice(this.fetches.indexOf(fetch), 1);
      fetch.answer();
    }
  }
}

export interface BrokerOptions {
  readonly protocol: "V1" | "V2";
  /** Negative control: initProducer leaves older owners alone. */
  readonly fences: boolean;
}

export class SimulatedBroker {
  readonly #world: World;
  readonly #options: BrokerOptions;
  readonly #logs = new Map<string, SimulatedLog>();
  readonly #producers = new Map<string, ProducerState>();
  readonly #offsets = new Map<string, CommittedOffset>();
  readonly #pendingOffsets = new Map<string, number>();
  #owners = 0;
  /** Every offset that a transaction committed, in order. */
  readonly commits: CommittedOffset[] = [];
  /** Transactions whose commit is decided, whether or not their markers are written. */
  decided = 0;

  constructor(world: World, options: BrokerOptions) {
    this.#world = world;
    this.#options = options;
  }

  log({ topic, partition }: TopicPartition): SimulatedLog {
    const key = `${topic}/${partition}`;
    const log = this.#logs.get(key) ?? new SimulatedLog();
    this.#logs.set(key, log);
    return log;
  }

  committedOffset(group: string, { topic, partition }: TopicPartition): CommittedOffset | undefined {
    return this.#offsets.get(`${group}/${topic}/${partition}`);
  }

  append(to: TopicPartition, records: readonly OutgoingRecord[], transaction: Transaction | null = null): number {
    const log = this.log(to);
    const base = log.end;
    for (const { key, value, headers = [] } of records) {
      const record = { offset: log.end, timestampMs: Math.floor(this.#world.nowMs), key, value, headers };
      log.entries.push({ record, transaction, isMarker: false });
    }
    transaction?.unmarked.add(log);
    log.wake();
    return base;
  }

  client(process: SimulatedProcess): Kafka {
    const world = this.#world;
    return {
      partitionCount: () => world.request(process, (reply) => reply(1)),
      fetch: ([request], { isolation, maxWaitMs = 100 }) =>
        world.request<FetchedPartition[]>(process, (reply) => this.#fetch(request!, isolation, maxWaitMs, reply)),
      listOffset: (at, where, isolation) =>
        world.request<number>(process, (reply) => reply(where === "earliest" ? this.log(at).start : this.log(at).visibleEnd(isolation))),
      produce: (to, records) => world.request<number>(process, (reply) => reply(this.append(to, records))),
      committedOffsets: (group, of, { requireStable }) =>
        world.request<CommittedOffset[]>(process, (reply) => this.#readOffsets(group, of, requireStable, reply)),
      commitOffsets: (group, offsets) =>
        world.request<void>(process, (reply) => {
          for (const offset of offsets) this.#offsets.set(`${group}/${offset.topic}/${offset.partition}`, offset);
          reply(undefined);
        }),
      initProducer: (id, { transactionTimeoutMs }) =>
        world.request<TransactionalProducer>(process, (reply) => this.#init(id, transactionTimeoutMs, process, reply)),
      close: () => Promise.resolve(),
    };
  }

  #fetch(
    at: TopicPartition & { offset: number },
    isolation: Isolation,
    maxWaitMs: number,
    reply: (answer: FetchedPartition[] | Error) => void,
  ): void {
    const log = this.log(at);
    if (at.offset < log.start || at.offset > log.end) {
      reply(new OperatingError(`offset ${at.offset} is out of range`, { code: "KAFKA_OFFSET_OUT_OF_RANGE" }));
      return;
    }
    const answer = (): void => {
      const { records, nextOffset } = log.read(at.offset, isolation, this.#world.random.int(1, 8));
      const ends = { highWatermarkOffset: log.end, lastStableOffset: log.visibleEnd("read_committed"), logStartOffset: log.start };
      reply([{ topic: at.topic, partition: at.partition, records, nextOffset, ...ends }]);
    };
    if (at.offset < log.visibleEnd(isolation)) {
      answer();
      return;
    }
    const waiting = { offset: at.offset, isolation, answer };
    log.fetches.push(waiting);
    this.#world.at(maxWaitMs, null, () => {
      const index = log.fetches.indexOf(waiting);
      if (index === -1) return;
      log.fetches.splice(index, 1);
      answer();
    });
  }

  #readOffsets(
    group: string,
    of: readonly TopicPartition[],
    requireStable: boolean,
    reply: (answer: CommittedOffset[] | Error) => void,
  ): void {
    const keys = of.map(({ topic, partition }) => `${group}/${topic}/${partition}`);
    if (requireStable && keys.some((key) => (this.#pendingOffsets.get(key) ?? 0) > 0)) {
      this.#world.at(5, null, () => this.#readOffsets(group, of, requireStable, reply));
      return;
    }
    reply(of.map((at, i) => this.#offsets.get(keys[i]!) ?? { ...at, offset: -1, metadata: "" }));
  }

  #init(id: string, timeoutMs: number, process: SimulatedProcess, reply: (answer: TransactionalProducer | Error) => void): void {
    const producer = this.#producers.get(id) ?? { epoch: -1, owner: 0, open: null, completing: null, waiting: [] };
    this.#producers.set(id, producer);
    if (this.#options.fences) {
      if (producer.open !== null) {
        producer.epoch += 1;
        this.#decide(producer, "aborted");
      }
      if (producer.completing !== null) {
        producer.waiting.push(() => this.#init(id, timeoutMs, process, reply));
        return;
      }
      producer.epoch += 1;
    } else producer.epoch = Math.max(0, producer.epoch);
    producer.owner = ++this.#owners;
    reply(this.#producer(producer, { epoch: producer.epoch, owner: producer.owner, timeoutMs }, process));
  }

  /** The client side of one producer: crash-only, as types.ts promises. */
  #producer(
    state: ProducerState,
    identity: { epoch: number; owner: number; timeoutMs: number },
    process: SimulatedProcess,
  ): TransactionalProducer {
    const world = this.#world;
    let dead: Error | null = null;
    let { epoch } = identity;
    const guard = async <T>(call: () => Promise<T>): Promise<T> => {
      if (dead !== null) throw new OperatingError("the producer is dead", { code: "KAFKA_PRODUCER_DEAD", cause: dead });
      try {
        return await call();
      } catch (thrown) {
        dead = thrown as Error;
        throw thrown;
      }
    };
    /** In a transaction of this producer, once the markers of the one before are written. */
    const within = (sent: number, reply: (refusal: Error) => void, run: (transaction: Transaction) => void): void => {
      if (this.#options.fences && sent !== state.epoch) reply(new FencedError("a newer owner exists", { code: "KAFKA_FENCED" }));
      else if (state.completing !== null) state.waiting.push(() => within(sent, reply, run));
      else run((state.open ??= this.#begin(state, identity)));
    };
    return {
      producerId: 1n,
      get epoch() {
        return epoch;
      },
      protocol: this.#options.protocol,
      send: (to, records) =>
        guard(() =>
          world.request<number>(process, (reply) => within(epoch, reply, (transaction) => reply(this.append(to, records, transaction)))),
        ),
      commitOffsets: (group, offsets) =>
        guard(() =>
          world.request<void>(process, (reply) =>
            within(epoch, reply, (transaction) => {
              for (const offset of offsets) {
                const key = `${group}/${offset.topic}/${offset.partition}`;
                if (!transaction.offsets.has(key)) this.#pendingOffsets.set(key, (this.#pendingOffsets.get(key) ?? 0) + 1);
                transaction.offsets.set(key, offset);
              }
              reply(undefined);
            }),
          ),
        ),
      commit: () =>
        guard(async () => {
          const sent = epoch;
          const unknown = (): Error =>
            new UnknownOutcomeError("whether the transaction was committed is unknown", { code: "KAFKA_COMMIT_UNKNOWN" });
          const commit = (reply: (outcome: number | Error) => void): void => {
            if (this.#options.fences && sent !== state.epoch) reply(new FencedError("a newer owner exists", { code: "KAFKA_FENCED" }));
            else if (state.open === null) reply(new OperatingError("no transaction is open", { code: "KAFKA_INVALID_TXN_STATE" }));
            else {
              if (this.#options.protocol === "V2" && this.#options.fences) state.epoch += 1;
              this.#decide(state, "committed");
              reply(state.epoch);
            }
          };
          epoch = await world.request<number>(process, commit, unknown);
        }),
    };
  }

  #begin(producer: ProducerState, { owner, timeoutMs }: { owner: number; timeoutMs: number }): Transaction {
    const transaction: Transaction = { producer, owner, state: "open", unmarked: new Set(), offsets: new Map() };
    this.#world.at(timeoutMs, null, () => {
      if (producer.open !== transaction) return;
      producer.epoch += 1;
      this.#decide(producer, "aborted");
    });
    return transaction;
  }

  /** From here on the outcome is certain; readers learn it partition by partition. */
  #decide(producer: ProducerState, state: "committed" | "aborted"): void {
    const transaction = producer.open!;
    producer.open = null;
    producer.completing = transaction;
    transaction.state = state;
    if (state === "committed") this.decided += 1;
    let left = transaction.unmarked.size + 1;
    const marked = (): void => {
      left -= 1;
      if (left > 0) return;
      producer.completing = null;
      for (const resume of producer.waiting.splice(0)) resume();
    };
    for (const log of transaction.unmarked) {
      this.#world.at(this.#world.random.next() * 10, null, () => {
        const record = { offset: log.end, timestampMs: Math.floor(this.#world.nowMs), key: null, value: null, headers: [] };
        log.entries.push({ record, transaction, isMarker: true });
        transaction.unmarked.delete(log);
        log.wake();
        marked();
      });
    }
    this.#world.at(this.#world.random.next() * 10, null, () => {
      for (const [key, offset] of transaction.offsets) {
        this.#pendingOffsets.set(key, this.#pendingOffsets.get(key)! - 1);
        if (state === "aborted") continue;
        this.#offsets.set(key, offset);
        this.commits.push(offset);
      }
      marked();
    });
  }
}
