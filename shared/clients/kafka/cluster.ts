/**
 * Connections to the brokers, and who leads what.
 *
 * Owns: a pool of connections per broker. One request at a time uses a connection: a broker answers the requests of one connection in order, so
 * a long poll would hold up everything behind it. A connection that failed in any way is thrown away.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Connection, type ConnectionOptions, type Reader, Writer } from "@platformatic/kafka";
import { OperatingError, toError, UnavailableError } from "../../kernel/errors.ts";
import { BrokerError, CODE, ConnectionLostError, brokerError } from "./broker-error.ts";
import type { KafkaOptions } from "./types.ts";
import { WireReader, WireWriter } from "./wire.ts";

/** A request of fixed version; all versions used here are flexible (KIP-482). */
export interface Api {
  readonly name: string;
  readonly key: number;
  readonly version: number;
  /** ApiVersions answers without tagged fields in the header, so that any client can read it. */
  readonly plainResponseHeader?: boolean;
}

const METADATA: Api = { name: "Metadata", key: 3, version: 9 };
const FIND_COORDINATOR: Api = { name: "FindCoordinator", key: 10, version: 4 };
const API_VERSIONS: Api = { name: "ApiVersions", key: 18, version: 3, plainResponseHeader: true };

const RETRY_FROM_MS = 10;
const RETRY_UP_TO_MS = 500;
const CONNECT_TIMEOUT_MS = 5_000;

interface TopicLeaders {
  /** host:port by partition; undefined while there is no leader. */
  readonly leaders: readonly (string | undefined)[];
}

export class Cluster {
  readonly #options: KafkaOptions;
  readonly #requestTimeoutMs: number;
  readonly #unavailableAfterMs: number;
  readonly #idle = new Map<string, Connection[]>();
  readonly #busy = new Set<Connection>();
  readonly #topics = new Map<string, TopicLeaders>();
  readonly #coordinators = new Map<string, string>();
  #transactionVersion: number | undefined;
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
    const deadline = performance.now() + this.#unavailableAfterMs;
    let pauseMs = RETRY_FROM_MS;
    for (;;) {
      try {
        return await attempt();
      } catch (thrown) {
        const again =
          thrown instanceof BrokerError
            ? thrown.retriable
            : thrown instanceof UnavailableError || (thrown instanceof ConnectionLostError && options.repeatable);
        if (!again || this.#closed) throw thrown;
        if (performance.now() > deadline) throw this.#unavailable(what, toError(thrown));
        this.#topics.clear();
        this.#coordinators.clear();
        await sleep(pauseMs * (0.5 + Math.random()));
        pauseMs = Math.min(pauseMs * 2, RETRY_UP_TO_MS);
      }
    }
  }

  #unavailable(what: string, cause: Error): UnavailableError {
    const seconds = Math.round(this.#unavailableAfterMs / 1_000);
    return new UnavailableError(`Kafka at ${this.#options.brokers.join(",")} did not serve ${what} within ${seconds} s: ${cause.message}`, {
      code: "KAFKA_UNAVAILABLE",
      hint: "see whether the brokers run and the address is right (WEIR_KAFKA)",
      cause,
    });
  }

  /** One request to one broker. Throws ConnectionLostError when the answer does not come, UnavailableError when there is no connection. */
  async request<T>(
    address: string,
    api: Api,
    body: Buffer,
    read: (reader: WireReader) => T,
    timeoutMs = this.#requestTimeoutMs,
  ): Promise<T> {
    const connection = await this.#acquire(address);
    this.#busy.add(connection);
    let closed = (): void => undefined;
    try {
      const answer = await new Promise<Buffer>((resolve, reject) => {
        const timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
        closed = () => {
          clearTimeout(timer);
          reject(new Error("the connection was closed"));
        };
        connection.once("close", closed);
        connection.send<Buffer>(
          api.key,
          api.version,
          () => Writer.create().append(body),
          wholeBody,
          true,
          api.plainResponseHeader !== true,
          (error, bytes) => {
            clearTimeout(timer);
            if (error !== null && error !== undefined) reject(error);
            else resolve(bytes ?? EMPTY);
          },
        );
      });
      connection.off("close", closed);
      this.#busy.delete(connection);
      this.#release(address, connection);
      return read(new WireReader(answer));
    } catch (thrown) {
      if (!this.#busy.delete(connection)) throw thrown;
      discard(connection);
      if (thrown instanceof OperatingError) throw thrown;
      throw new ConnectionLostError(`${api.name} to ${address}: ${toError(thrown).message}`, {
        code: "KAFKA_CONNECTION_LOST",
        cause: thrown,
      });
    }
  }

  async #acquire(address: string): Promise<Connection> {
    if (this.#closed) throw new OperatingError("the Kafka client is closed", { code: "KAFKA_CLOSED" });
    const idle = this.#idle.get(address);
    for (let connection = idle?.pop(); connection !== undefined; connection = idle?.pop()) {
      if (connection.isConnected()) return connection;
      discard(connection);
    }
    const separator = address.lastIndexOf(":");
    const connection = new Connection(this.#options.clientId, connectionOptions(this.#options, this.#requestTimeoutMs));
    // Without a listener a late socket error would end the process; whoever waits for an answer is told by `close`.
    connection.on("error", () => undefined);
    try {
      await connection.connect(address.slice(0, separator), Number(address.slice(separator + 1)));
    } catch (thrown) {
      discard(connection);
      const error = toError(thrown);
      if (error.constructor.name === "AuthenticationError") {
        throw new OperatingError(`Kafka at ${address} refused the credentials: ${error.message}`, { code: "KAFKA_AUTH", cause: error });
      }
      throw new UnavailableError(`no connection to Kafka at ${address}: ${error.message}`, {
        code: "KAFKA_UNAVAILABLE",
        hint: "see whether the broker runs and the address is right (WEIR_KAFKA)",
        cause: error,
      });
    }
    return connection;
  }

  #release(address: string, connection: Connection): void {
    if (this.#closed) {
      discard(connection);
      return;
    }
    const idle = this.#idle.get(address);
    if (idle === undefined) this.#idle.set(address, [connection]);
    else idle.push(connection);
  }

  /** The first of the configured brokers that answers. */
  async #anyBroker<T>(api: Api, body: Buffer, read: (reader: WireReader) => T): Promise<T> {
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
    if (this.#transactionVersion !== undefined) return this.#transactionVersion;
    const body = new WireWriter().string("weir").string("1").tags();
    const level = await this.#anyBroker(API_VERSIONS, body.finish(), readTransactionVersion);
    this.#transactionVersion = level;
    return level;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const connection of [...this.#busy, ...[...this.#idle.values()].flat()]) discard(connection);
    this.#idle.clear();
  }
}

const EMPTY = Buffer.alloc(0);

function wholeBody(_correlationId: number, _key: number, _version: number, reader: Reader): Buffer {
  return reader.buffer.slice(reader.position, reader.length);
}

function discard(connection: Connection): void {
  connection.close(() => undefined);
}

function connectionOptions(options: KafkaOptions, requestTimeoutMs: number): ConnectionOptions {
  const { tls, sasl } = options;
  return {
    connectTimeout: CONNECT_TIMEOUT_MS,
    // Ours is the shorter one: a request that timed out leaves a connection that must not be used again.
    requestTimeout: requestTimeoutMs * 2,
    ...(tls === undefined || tls === false ? {} : { tls: tls === true ? {} : tls }),
    ...(sasl === undefined
      ? {}
      : { sasl: sasl.mechanism === "OAUTHBEARER" ? { mechanism: sasl.mechanism, token: sasl.token } : { ...sasl } }),
  };
}

function readMetadata(reader: WireReader): Map<string, TopicLeaders & { readonly code: number }> {
  reader.int32();
  const brokers = new Map<number, string>();
  reader.array(() => {
    const node = reader.int32();
    brokers.set(node, `${reader.string()}:${reader.int32()}`);
    reader.nullableString();
    reader.tags();
  });
  reader.nullableString();
  reader.int32();
  const topics = new Map<string, TopicLeaders & { readonly code: number }>();
  reader.array(() => {
    const code = reader.int16();
    const name = reader.string();
    reader.boolean();
    const leaders: (string | undefined)[] = [];
    reader.array(() => {
      const partitionCode = reader.int16();
      const partition = reader.int32();
      const leader = brokers.get(reader.int32());
      reader.int32();
      for (let list = 0; list < 3; list++) reader.array(() => reader.int32());
      reader.tags();
      leaders[partition] = partitionCode === CODE.none ? leader : undefined;
    });
    reader.int32();
    reader.tags();
    topics.set(name, { code, leaders });
  });
  return topics;
}

function readTransactionVersion(reader: WireReader): number {
  reader.int16();
  reader.array(() => {
    reader.int16();
    reader.int16();
    reader.int16();
    reader.tags();
  });
  reader.int32();
  let level = 0;
  reader.tags((tag, field) => {
    if (tag !== 2) return;
    field.array(() => {
      const name = field.string();
      const max = field.int16();
      field.int16();
      field.tags();
      if (name === "transaction.version") level = max;
    });
  });
  return level;
}
