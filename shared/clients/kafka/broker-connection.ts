/**
 * One socket to one broker, with receive buffers of its own: the kernel writes a large answer straight into the buffer that its records are later
 * views of. The `data` events of a socket cost about three times as much (a fresh 64 KB buffer and a copy per chunk).
 *
 * I1 One request at a time: a broker answers the requests of a connection in order, so a long poll would hold up everything behind it.
 * I2 A connection that failed in any way is never used again; whether its last request was carried out is unknown.
 */
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { assert } from "../../kernel/assert.ts";
import { OperatingError, toError, UnavailableError } from "../../kernel/errors.ts";
import { ConnectionLostError } from "./broker-error.ts";
import type { Api } from "./api.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { authenticate } from "./sasl.ts";
import type { KafkaOptions } from "./types.ts";
import { type Body, WireReader, WireWriter } from "./wire.ts";

const CONNECT_TIMEOUT_MS = 5_000;
const KEEP_ALIVE_MS = 30_000;
/** Brokers close after 10 minutes (connections.max.idle.ms): stay clear of a close that crosses a request. */
const IDLE_LIMIT_MS = 300_000;
const SCRATCH_BYTES = 4_096;
/** Larger than any fetch that is asked for; the first bytes of a TLS alert or of HTTP, taken as a length, are more. */
const ANSWER_BYTES_MAX = 256 << 20;
/** Of the session that the broker grants (KIP-368): leaves time for a request under way. */
const SESSION_SHARE = 0.8;

export type AnswerReader<T> = (reader: WireReader, frame: Buffer) => T;

interface Waiting {
  readonly correlationId: number;
  resolve(frame: Buffer): void;
  reject(error: Error): void;
}

export class BrokerConnection {
  readonly #clientId: string;
  readonly #pool: BufferPool;
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  #socket: Socket | undefined;
  #scratchAt = 0;
  /** The answer that is being received, without its length. */
  #frame: Buffer | undefined;
  #frameAt = 0;
  #correlationId = 0;
  #waiting: Waiting | undefined;
  #failure: Error | undefined;
  #usedAtMs = performance.now();
  #sessionEndsAtMs = Number.POSITIVE_INFINITY;

  private constructor(clientId: string, pool: BufferPool) {
    this.#clientId = clientId;
    this.#pool = pool;
  }

  /** Connected and authenticated. @throws UnavailableError, or OperatingError KAFKA_AUTH or KAFKA_TLS, which trying again does not mend. */
  static async open(address: string, options: KafkaOptions, pool: BufferPool): Promise<BrokerConnection> {
    const connection = new BrokerConnection(options.clientId, pool);
    try {
      await connection.#connect(address, options.tls ?? false);
      if (options.sasl !== undefined) {
        const sessionMs = await authenticate(options.sasl, (api, body, read) => connection.request(api, body, read, CONNECT_TIMEOUT_MS));
        if (sessionMs > 0) connection.#sessionEndsAtMs = performance.now() + sessionMs * SESSION_SHARE;
      }
      return connection;
    } catch (thrown) {
      connection.close();
      const error = toError(thrown);
      if (error instanceof OperatingError && !(error instanceof ConnectionLostError)) throw error;
      const code = (error as NodeJS.ErrnoException).code ?? "";
      if (options.tls !== undefined && options.tls !== false && /CERT|SELF_SIGNED|ERR_TLS|ERR_SSL|UNABLE_TO/.test(code)) {
        throw new OperatingError(`no TLS with Kafka at ${address}: ${error.message}`, {
          code: "KAFKA_TLS",
          hint: "see whether this port speaks TLS and whether its certificate is signed by a known authority (option ca)",
          cause: error,
        });
      }
      throw new UnavailableError(`no connection to Kafka at ${address}: ${error.message}`, {
        code: "KAFKA_UNAVAILABLE",
        hint: "see whether the broker runs and the address is right (WEIR_KAFKA)",
        cause: error,
      });
    }
  }

  /** False once anything went wrong, the broker closed, or it is about to. */
  get isUsable(): boolean {
    const now = performance.now();
    return this.#failure === undefined && now < this.#sessionEndsAtMs && now - this.#usedAtMs < IDLE_LIMIT_MS;
  }

  #connect(address: string, tls: boolean | { readonly ca?: string }): Promise<void> {
    const separator = address.lastIndexOf(":");
    const host = address.slice(0, separator).replace(/^\[(.*)\]$/, "$1");
    const onread = { buffer: () => this.#receiveInto(), callback: (size: number) => this.#received(size) };
    const where = { host, port: Number(address.slice(separator + 1)), onread };
    const secured = { ...where, ...(isIP(host) === 0 ? { servername: host } : {}), ...(typeof tls === "object" ? tls : {}) };
    const socket = tls === false ? connectTcp(where) : connectTls(secured);
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => socket.destroy(new Error(`not connected within ${CONNECT_TIMEOUT_MS} ms`)), CONNECT_TIMEOUT_MS);
      socket.once(tls === false ? "connect" : "secureConnect", () => {
        clearTimeout(timer);
        resolve();
      });
      socket.on("error", (error) => this.#fail(error));
      socket.on("close", () => {
        clearTimeout(timer);
        this.#fail(new Error("the broker closed the connection"));
        reject(this.#failure!);
      });
    });
  }

  /**
   * `read` may keep views of the answer, or give `frame` back to the pool when it kept none.
   * @throws ConnectionLostError when the answer does not come: the request may or may not have been carried out.
   */
  async request<T>(api: Api, body: Body, read: AnswerReader<T>, timeoutMs: number): Promise<T> {
    assert(this.#waiting === undefined, "a connection serves one request at a time");
    const flexible = api.flexible !== false;
    const timer = setTimeout(() => this.#fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    let frame: Buffer;
    try {
      frame = await new Promise<Buffer>((resolve, reject) => {
        if (this.#failure !== undefined) throw this.#failure;
        const correlationId = (this.#correlationId = (this.#correlationId + 1) & 0x7fffffff);
        this.#waiting = { correlationId, resolve, reject };
        this.#write(api, correlationId, flexible, body);
      });
    } catch (thrown) {
      throw new ConnectionLostError(`${api.name}: ${toError(thrown).message}`, { code: "KAFKA_CONNECTION_LOST", cause: thrown });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
      this.#usedAtMs = performance.now();
    }
    const reader = new WireReader(frame);
    reader.int32();
    if (flexible && api.plainResponseHeader !== true) reader.tags();
    return read(reader, frame);
  }

  #write(api: Api, correlationId: number, flexible: boolean, body: Body): void {
    const header = new WireWriter().int16(api.key).int16(api.version).int32(correlationId).classicString(this.#clientId);
    if (flexible) header.tags();
    const parts = [...header.finish(), ...body];
    const size = Buffer.allocUnsafe(4);
    size.writeInt32BE(
      parts.reduce((sum, part) => sum + part.length, 0),
      0,
    );
    // One vectored write: a batch goes to the kernel from where it was encoded.
    const socket = this.#socket!;
    socket.cork();
    socket.write(size);
    for (const part of parts) socket.write(part);
    socket.uncork();
  }

  #receiveInto(): Buffer {
    return this.#frame === undefined ? this.#scratch.subarray(this.#scratchAt) : this.#frame.subarray(this.#frameAt);
  }

  #received(size: number): boolean {
    if (this.#frame === undefined) this.#startFrame(size);
    else this.#frameAt += size;
    if (this.#frame !== undefined && this.#frameAt === this.#frame.length) this.#endFrame(this.#frame);
    return true;
  }

  #startFrame(size: number): void {
    this.#scratchAt += size;
    if (this.#scratchAt < 4) return;
    const length = this.#scratch.readInt32BE(0);
    const first = this.#scratchAt - 4;
    this.#scratchAt = 0;
    if (length < 4 || length > ANSWER_BYTES_MAX) {
      this.#fail(new Error("it does not answer in Kafka's protocol; perhaps this port wants TLS"));
      return;
    }
    if (first > length) {
      this.#fail(new Error("it answered more than was asked"));
      return;
    }
    this.#frame = this.#pool.take(length);
    this.#scratch.copy(this.#frame, 0, 4, 4 + first);
    this.#frameAt = first;
  }

  #endFrame(frame: Buffer): void {
    this.#frame = undefined;
    const waiting = this.#waiting;
    if (waiting === undefined || frame.readInt32BE(0) !== waiting.correlationId)
      this.#fail(new Error("it answered another request than the one sent"));
    else waiting.resolve(frame);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#socket?.destroy();
  }

  close(): void {
    this.#fail(new Error("the client was closed"));
  }
}
