/** The Redis protocol by ioredis: one connection, commands fail at once while it is down (the caller decides what to do meanwhile). */
import { Redis as IoRedis } from "ioredis";
import { OperatingError, toError, TransientError, UnavailableError } from "../../kernel/errors.ts";

/** Answers of a server that is starting, fail-over, short of memory or inside a long script: the same command may succeed later. */
const PASSING_REPLY = /^(LOADING|BUSY|MASTERDOWN|READONLY|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|MISCONF|OOM)\b/;

export interface RedisOptions {
  /** Default 10,000. */
  readonly commandTimeoutMs?: number;
}

export interface Subscriber {
  readonly onMessage: (message: string) => void;
  /** Messages may have been missed: the connection is new. */
  readonly onGap: () => void;
}

export class Redis {
  readonly #client: IoRedis;
  readonly #url: string;
  #connecting: Promise<void> | undefined;
  readonly #scripts = new Map<string, string>();
  readonly #subscribers: IoRedis[] = [];

  constructor(url: string, { commandTimeoutMs = 10_000 }: RedisOptions = {}) {
    this.#url = url.replace(/\/\/[^@]*@/, "//***@");
    this.#client = new IoRedis(url, {
      lazyConnect: true,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      commandTimeout: commandTimeoutMs,
      retryStrategy: (times) => Math.min(50 * 2 ** times, 2_000),
    });
    // Reported by the command that meets it.
    this.#client.on("error", () => undefined);
  }

  /**
   * Any number of callers wait for the one first connection. After that, failed or not, the client connects again by itself, and commands fail
   * until it has.
   */
  async connect(): Promise<void> {
    if (this.#client.status === "wait") {
      this.#connecting = this.#call(() => this.#client.connect()).finally(() => (this.#connecting = undefined));
    }
    await this.#connecting;
  }

  /** EVALSHA, with EVAL when the server does not know the script (restarted, flushed). */
  async script(lua: string, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    return this.#call(async () => {
      const known = this.#scripts.get(lua);
      if (known !== undefined) {
        try {
          return await this.#client.evalsha(known, keys.length, ...keys, ...args);
        } catch (thrown) {
          if (!toError(thrown).message.startsWith("NOSCRIPT")) throw thrown;
        }
      }
      this.#scripts.set(lua, (await this.#client.script("LOAD", lua)) as string);
      return this.#client.evalsha(this.#scripts.get(lua)!, keys.length, ...keys, ...args);
    });
  }

  async get(key: string): Promise<string | null> {
    return this.#call(() => this.#client.get(key));
  }

  async hash(key: string): Promise<Record<string, string>> {
    return this.#call(() => this.#client.hgetall(key));
  }

  /** Replaces the text and its time to live. */
  async setFor(key: string, text: string, ttlSeconds: number): Promise<void> {
    await this.#call(() => this.#client.set(key, text, "EX", ttlSeconds));
  }

  /** On a connection of its own that comes back by itself, until {@link close}; the server need not be there yet. */
  subscribe(channel: string, { onMessage, onGap }: Subscriber): void {
    // The queue lets the subscription wait for the first connection; ioredis repeats it after each new one.
    const subscriber = this.#client.duplicate({ enableOfflineQueue: true, maxRetriesPerRequest: null });
    this.#subscribers.push(subscriber);
    subscriber.on("error", () => undefined);
    subscriber.on("message", (_channel: string, message: string) => onMessage(message));
    for (const event of ["ready", "close"]) subscriber.on(event, onGap);
    subscriber.subscribe(channel).catch(() => undefined);
  }

  async ttlSeconds(key: string): Promise<number> {
    return this.#call(() => this.#client.ttl(key));
  }

  async keyCount(): Promise<number> {
    return this.#call(() => this.#client.dbsize());
  }

  /** Tests and `reset` only. */
  async flush(): Promise<void> {
    await this.#call(() => this.#client.flushall());
  }

  close(): void {
    this.#client.disconnect();
    for (const subscriber of this.#subscribers) subscriber.disconnect();
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      const error = toError(thrown);
      if (error.name === "ReplyError" && PASSING_REPLY.test(error.message)) {
        throw new TransientError(`Redis cannot serve now: ${error.message}`, { code: "REDIS_BUSY", cause: error });
      }
      if (error.name === "ReplyError") throw new OperatingError(`Redis refused: ${error.message}`, { code: "REDIS_REFUSED", cause: error });
      throw new UnavailableError(`Redis at ${this.#url} did not answer: ${error.message}`, {
        code: "REDIS_UNAVAILABLE",
        hint: "see whether the server runs and the address is right (WEIR_REDIS)",
        cause: error,
      });
    }
  }
}
