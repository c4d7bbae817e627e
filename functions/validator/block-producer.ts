/**
 * Blocks to events.valid over one connection, kept warm between invocations. Repeating a produce whose answer was lost is safe here and only
 * here: each partition waits for its acknowledgement before the next block, and the fold trims what comes twice by position.
 */
import type { Kafka, OutgoingRecord } from "#shared/clients/kafka/types.ts";
import { OperatingError, toError, TransientError } from "#shared/kernel/errors.ts";
import type { BlockPlace } from "./batch-validator.ts";

const TRIES = 3;

export interface BlockProducerOptions {
  readonly topic: string;
  /** Credentials are read anew by each call. */
  readonly open: () => Promise<Kafka>;
  readonly headersOf: (place: BlockPlace) => NonNullable<OutgoingRecord["headers"]>;
  readonly onRetry: (problem: string, place: BlockPlace) => void;
}

export class BlockProducer {
  readonly #options: BlockProducerOptions;
  #connection: Promise<Kafka> | undefined;
  /** Grows with {@link close}: what was sent before is not repeated behind it. */
  #era = 0;
  #closedBy: Error | undefined;

  constructor(options: BlockProducerOptions) {
    this.#options = options;
  }

  /** Connects and learns who leads the partitions, so that the first batch does not wait for it. */
  async warm(): Promise<void> {
    await (await this.#connect()).partitionCount(this.#options.topic);
  }

  /** @throws OperatingError that names topic, partition, offsets and what is wrong. */
  async send(value: Uint8Array, place: BlockPlace): Promise<void> {
    const { topic, headersOf, onRetry } = this.#options;
    const era = this.#era;
    try {
      for (let attempt = 1; ; attempt++) {
        const connection = this.#connect();
        try {
          await (await connection).produce({ topic, partition: place.partition }, [{ key: null, value, headers: headersOf(place) }]);
          return;
        } catch (thrown) {
          const refused = thrown instanceof OperatingError && thrown.code === "KAFKA_AUTH";
          const closedByAnother = this.#connection !== connection && thrown instanceof OperatingError && thrown.code === "KAFKA_CLOSED";
          // A login is refused for good or was changed since: that is known when it was read once more.
          const repeatable = thrown instanceof TransientError || closedByAnother || (refused && attempt === 1);
          if (this.#era !== era) throw this.#closedBy ?? thrown;
          if (!repeatable || attempt === TRIES) throw thrown;
          if (refused) await this.#drop(connection);
          onRetry(toError(thrown).message, place);
        }
      }
    } catch (thrown) {
      throw failed(topic, place, thrown);
    }
  }

  /** Whatever is in flight fails at once, by `why`, and is not repeated. The next send connects anew. */
  async close(why?: Error): Promise<void> {
    const connection = this.#connection;
    this.#connection = undefined;
    this.#era++;
    this.#closedBy = why;
    if (connection !== undefined) await closeQuietly(connection);
  }

  #connect(): Promise<Kafka> {
    const { open } = this.#options;
    const connection = (this.#connection ??= open());
    connection.catch(() => {
      if (this.#connection === connection) this.#connection = undefined;
    });
    return connection;
  }

  /** Unless another partition has done so already. */
  async #drop(connection: Promise<Kafka>): Promise<void> {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    await closeQuietly(connection);
  }
}

async function closeQuietly(connection: Promise<Kafka>): Promise<void> {
  await connection.then((kafka) => kafka.close()).catch(() => undefined);
}

function failed(topic: string, { partition, firstSourceOffset, lastSourceOffset }: BlockPlace, thrown: unknown): OperatingError {
  const error = toError(thrown);
  const what = `cannot produce the block of offsets ${firstSourceOffset} to ${lastSourceOffset} to ${topic}-${partition}: ${error.message}`;
  if (!(error instanceof OperatingError)) return new OperatingError(what, { code: "VALIDATOR_PRODUCE", cause: thrown });
  return new OperatingError(what, { code: error.code, hint: error.hint, cause: thrown });
}
