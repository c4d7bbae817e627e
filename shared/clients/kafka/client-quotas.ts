/** What a user may take from each broker (KIP-13, KIP-546): a request that kafkajs does not know. Above it the broker delays answers, and loses nothing. */
import { OperatingError } from "../../kernel/errors.ts";
import type { Api } from "./api.ts";
import { brokerError, CODE } from "./broker-error.ts";
import { type AnswerReader, BrokerConnection } from "./broker-connection.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { KafkaOptions } from "./types.ts";
import { type Body, type WireReader, WireWriter } from "./wire.ts";

const DESCRIBE: Api = { name: "DescribeClientQuotas", key: 48, version: 1 };
const ALTER: Api = { name: "AlterClientQuotas", key: 49, version: 1 };
const REQUEST_TIMEOUT_MS = 10_000;
const EXACTLY = 0;

const QUOTA_NAMES = ["producer_byte_rate", "consumer_byte_rate", "request_percentage"] as const;
/** Bytes per second and broker; percent of one network and I/O thread. */
export type QuotaName = (typeof QUOTA_NAMES)[number];
export type Quotas = Readonly<Partial<Record<QuotaName, number>>>;

type Access = Pick<KafkaOptions, "brokers" | "tls" | "sasl">;

/** Those of this very user; what is set for all users does not show. */
export async function readQuotas(access: Access, user: string): Promise<Quotas> {
  const body = new WireWriter();
  body.array([user], (name) => void body.string("user").int8(EXACTLY).string(name).tags());
  body.boolean(true).tags();
  return requestAny(access, DESCRIBE, body.finish(), (reader) => {
    reader.int32();
    check(`quotas of ${user}`, reader);
    const entries = reader.array(() => {
      skipEntity(reader);
      const values = reader.array(() => {
        const name = reader.string();
        const value = readFloat(reader);
        reader.tags();
        return [name, value] as const;
      });
      reader.tags();
      return values;
    });
    return Object.fromEntries(entries.flat().filter(([name]) => (QUOTA_NAMES as readonly string[]).includes(name)));
  });
}

/** null = none any more. What is not named stays as it is. Harmless when repeated. */
export async function setQuotas(access: Access, user: string, quotas: Readonly<Partial<Record<QuotaName, number | null>>>): Promise<void> {
  const changes = Object.entries(quotas);
  if (changes.length === 0) return;
  const body = new WireWriter();
  body.array([user], () => {
    body.array([user], (name) => void body.string("user").string(name).tags());
    body.array(changes, ([name, value]) => {
      body.string(name);
      writeFloat(body, value ?? 0);
      body.boolean(value === null).tags();
    });
    body.tags();
  });
  body.boolean(false).tags();
  await requestAny(access, ALTER, body.finish(), (reader) => {
    reader.int32();
    reader.array(() => {
      check(`quotas of ${user}`, reader);
      skipEntity(reader);
      reader.tags();
    });
  });
}

function skipEntity(reader: WireReader): void {
  reader.array(() => {
    reader.string();
    reader.nullableString();
    reader.tags();
  });
}

function check(what: string, reader: WireReader): void {
  const code = reader.int16();
  const message = reader.nullableString();
  if (code !== CODE.none) throw brokerError(message === null ? what : `${what}: ${message}`, code);
}

function readFloat(reader: WireReader): number {
  const bits = Buffer.alloc(8);
  bits.writeBigInt64BE(reader.bigint64());
  return bits.readDoubleBE();
}

function writeFloat(writer: WireWriter, value: number): void {
  const bits = Buffer.alloc(8);
  bits.writeDoubleBE(value);
  writer.bigint64(bits.readBigInt64BE());
}

/** Any broker hands it on to the controller. A rare call: it has a connection of its own. */
async function requestAny<T>(access: Access, api: Api, body: Body, read: AnswerReader<T>): Promise<T> {
  let failure: unknown;
  for (const broker of access.brokers) {
    try {
      const connection = await BrokerConnection.open(broker, { ...access, clientId: "weir-admin" }, new BufferPool());
      try {
        return await connection.request(api, body, read, REQUEST_TIMEOUT_MS);
      } finally {
        connection.close();
      }
    } catch (thrown) {
      // An answer that refuses is an answer.
      if (thrown instanceof OperatingError && /^KAFKA_(AUTH|REFUSED|TLS)$/.test(thrown.code)) throw thrown;
      failure = thrown;
    }
  }
  throw failure;
}
