/**
 * Connections to the brokers, and who leads what.
 *
 * Owns: a pool of connections per broker, as many as requests run at a time; what is known of leaders and coordinators, until an error says
 * that it may be wrong.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { OperatingError, toError, UnavailableError } from "../../kernel/errors.ts";
import type { Api } from "./api.ts";
import { type AnswerReader, BrokerConnection } from "./broker-connection.ts";
import { BrokerError, CODE, ConnectionLostError, brokerError } from "./broker-error.ts";
import { BufferPool } from "./buffer-pool.ts";
import { readMetadata, readTransactionVersion, type TopicLeaders } from "./metadata.ts";
import type { KafkaOptions } from "./types.ts";
import { type Body, WireWriter } from "./wire.ts";

const METADATA: Api = { name: "Metadata", key: 3, version: 9 };
const FIND_COORDINATOR: Api = { name: "FindCoordinator", key: 10, version: 4 };
const API_VERSIONS: Api = { name: "ApiVersions", key: 18, version: 3, plainResponseHeader: true };

const RETRY_FROM_MS = 10;
const RETRY_UP_TO_MS = 500;
/** A topic just created is not known to every broker at once. */
const UNKNOWN_TOPIC_MS = 1_500;

export class Cluster {
  readonly pool = new BufferPool();
  readonly #options: KafkaOptions;
  readonly #requestTimeoutMs: number;
  readonly #unavailableAfterMs: number;
  readonly #idle = new Map<string, BrokerConnection[]>();
  /** Idle and busy ones. */
  readonly #open = new Set<BrokerConnection>();
  readonly #topics = new Map<string, TopicLeaders>();
  readonly #coordinators = new Map<string, string>();
  #closed = false;

  constructor(options: KafkaOptions) {
    this.#options = options;
    this.#requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
    this.#unavailableAfterMs = options.unavailableAfterMs ?? 30_000;
  }

  /**
   * Repeats `attempt` while it fails in a way that says nothing happened, or, where repeating is harmless (`repeatable`), also on lost
   * connections; with jittered back-off, until the cluster counts as unavailable. Leaders and coordinators are forgotten in between.
   */
  async retry<T>(what: string, options: { readonly repeatable: boolean }, attempt: () => Promise<T>): Promise<T> {
    const began = performance.now();
    let pauseMs = RETRY_FROM_MS;
    for (;;) {
      try {
        return await attempt();
      } catch (thrown) {
        if (this.#closed) throw closedError();
        const isUnknownTopic = thrown instanceof BrokerError && thrown.brokerCode === CODE.unknownTopicOrPartition;
        if (isUnknownTopic ? performance.now() - began > UNKNOWN_TOPIC_MS : !isPassing(thrown, options.repeatable)) throw thrown;
        if (performance.now() - began > this.#unavailableAfterMs) throw this.#unavailable(what, toError(thrown));
        this.forget();
        await sleep(pauseMs * (0.5 + Math.random()));
        pauseMs = Math.min(pauseMs * 2, RETRY_UP_TO_MS);
      }
    }
  }

  /** Leaders and coordinators: for whoever got an answer that they may have moved, and does not go through {@link retry}. */
  forget(): void {
    this.#topics.clear();
    this.#coordinators.clear();
  }

  #unavailable(what: string, cause: Error): UnavailableError {
    const seconds = Math.round(this.#unavailableAfterMs / 1_000);
    const code = cause instanceof BrokerError ? cause.brokerCode : undefined;
    let hint = "see whether the brokers run and the address is right (WEIR_KAFKA)";
    if (code === CODE.unstableOffsetCommit) hint = "a transaction is open or lost its markers: kafka-transactions.sh find-hanging names it";
    else if (code !== undefined)
      hint =
        "a broker answers but not this: see whether every partition has a leader (kafka-topics.sh --describe --unavailable-partitions)";
    return new UnavailableError(`Kafka at ${this.#options.brokers.join(",")} did not serve ${what} within ${seconds} s: ${cause.message}`, {
      code: "KAFKA_UNAVAILABLE",
      hint,
      cause,
    });
  }

  /** One request to one broker. Throws ConnectionLostError when the answer does not come, UnavailableError when there is no connection. */
  async request<T>(address: string, api: Api, body: Body, read: AnswerReader<T>, timeoutMs = this.#requestTimeoutMs): Promise<T> {
    const connection = await this.#acquire(address);
    this.#open.add(connection);
    try {
      return await connection.request(api, body, read, timeoutMs);
    } catch (thrown) {
      if (thrown instanceof ConnectionLostError) {
        throw new ConnectionLostError(`Kafka at ${address} gave no answer: ${thrown.message}`, { code: thrown.code, cause: thrown.cause });
      }
      throw thrown;
    } finally {
      this.#release(address, connection);
    }
  }

  async #acquire(address: string): Promise<BrokerConnection> {
    if (this.#closed) throw closedError();
    const idle = this.#idle.get(address);
    for (let connection = idle?.pop(); connection !== undefined; connection = idle?.pop()) {
      if (connection.isUsable) return connection;
      this.#discard(connection);
    }
    const connection = await BrokerConnection.open(address, this.#options, this.pool);
    if (!this.#closed) return connection;
    connection.close();
    throw closedError();
  }

  #release(address: string, connection: BrokerConnection): void {
    if (this.#closed || !connection.isUsable) {
      this.#discard(connection);
      return;
    }
    const idle = this.#idle.get(address);
    if (idle === undefined) this.#idle.set(address, [connection]);
    else idle.push(connection);
  }

  #discard(connection: BrokerConnection): void {
    this.#open.delete(connection);
    connection.close();
  }

  /** The first of the configured brokers that answers. */
  async #anyBroker<T>(api: Api, body: Body, read: AnswerReader<T>): Promise<T> {
    let failure: unknown;
    for (const address of this.#options.brokers) {
      try {
        return await this.request(address, api, body, read);
      } catch (thrown) {
        if (!(thrown instanceof UnavailableError) && !(thrown instanceof ConnectionLostError)) throw thrown;
        failure = thrown;
      }
    }
    throw failure;
  }

  async partitionCount(topic: string): Promise<number> {
    return this.retry(`metadata of ${topic}`, { repeatable: true }, async () => (await this.#leadersOf(topic)).leaders.length);
  }

  /** host:port. For use inside {@link retry}, which forgets leaders that turned out wrong. */
  async leaderOf(topic: string, partition: number): Promise<string> {
    const { leaders } = await this.#leadersOf(topic);
    if (partition >= leaders.length) throw brokerError(`${topic}/${partition}`, CODE.unknownTopicOrPartition);
    const leader = leaders[partition];
    if (leader === undefined) {
      this.#topics.delete(topic);
      throw brokerError(`${topic}/${partition}`, CODE.leaderNotAvailable);
    }
    return leader;
  }

  async #leadersOf(topic: string): Promise<TopicLeaders> {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    const body = new WireWriter();
    body.array([topic], (name) => void body.string(name).tags());
    body.boolean(false).boolean(false).boolean(false).tags();
    const found = await this.#anyBroker(METADATA, body.finish(), readMetadata);
    const answer = found.get(topic);
    if (answer === undefined) throw brokerError(topic, CODE.unknownTopicOrPartition);
    if (answer.code !== CODE.none) throw brokerError(topic, answer.code);
    this.#topics.set(topic, answer);
    return answer;
  }

  /** Also makes the broker load the coordinator's state: without it, a new transactional id stays NOT_COORDINATOR for ever. */
  async coordinatorOf(kind: "group" | "transaction", id: string): Promise<string> {
    const key = `${kind}:${id}`;
    const known = this.#coordinators.get(key);
    if (known !== undefined) return known;
    const body = new WireWriter().int8(kind === "group" ? 0 : 1);
    body.array([id], (one) => void body.string(one)).tags();
    const [found] = await this.#anyBroker(FIND_COORDINATOR, body.finish(), (reader) => {
      reader.int32();
      return reader.array(() => {
        reader.string();
        reader.int32();
        const address = `${reader.string()}:${reader.int32()}`;
        const code = reader.int16();
        reader.nullableString();
        reader.tags();
        return { address, code };
      });
    });
    if (found === undefined || found.code !== CODE.none)
      throw brokerError(`coordinator of ${kind} ${id}`, found?.code ?? CODE.coordinatorNotAvailable);
    this.#coordinators.set(key, found.address);
    return found.address;
  }

  /** Level of the cluster's feature `transaction.version`; 2 = transactions V2 (KIP-890 part 2). */
  async transactionVersion(): Promise<number> {
    const body = new WireWriter().string("weir").string("1").tags();
    return this.#anyBroker(API_VERSIONS, body.finish(), readTransactionVersion);
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const connection of this.#open) this.#discard(connection);
    this.#idle.clear();
  }
}

function closedError(): OperatingError {
  return new OperatingError("the Kafka client is closed", { code: "KAFKA_CLOSED" });
}

function isPassing(thrown: unknown, repeatable: boolean): boolean {
  if (thrown instanceof BrokerError) return thrown.retriable || (repeatable && thrown.brokerCode === CODE.requestTimedOut);
  return thrown instanceof UnavailableError || (thrown instanceof ConnectionLostError && repeatable);
}
