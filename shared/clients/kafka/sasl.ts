/** Authentication (KIP-43, KIP-152): SaslHandshake, then SaslAuthenticate until the mechanism is content. The mechanisms are @platformatic/kafka's. */
import { callbackify } from "node:util";
import { saslOAuthBearer, saslPlain, saslScramSha } from "@platformatic/kafka";
import { OperatingError, toError } from "../../kernel/errors.ts";
import type { Api } from "./api.ts";
import { CODE, nameOfCode } from "./broker-error.ts";
import type { KafkaOptions } from "./types.ts";
import { type Body, type WireReader, WireWriter } from "./wire.ts";

const HANDSHAKE: Api = { name: "SaslHandshake", key: 17, version: 1, flexible: false };
const AUTHENTICATE: Api = { name: "SaslAuthenticate", key: 36, version: 2 };

type Sasl = NonNullable<KafkaOptions["sasl"]>;
type Send = <T>(api: Api, body: Body, read: (reader: WireReader) => T) => Promise<T>;

interface Answer {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly authBytes: Buffer;
  readonly sessionLifetimeMs: bigint;
}

function refused(message: string, cause?: unknown): OperatingError {
  return new OperatingError(`Kafka refused the credentials: ${message}`, {
    code: "KAFKA_AUTH",
    hint: "see whether user, password and mechanism are those of the cluster",
    cause,
  });
}

/** @returns how long the broker grants the session, milliseconds; 0 = for ever. @throws OperatingError KAFKA_AUTH */
export async function authenticate(sasl: Sasl, send: Send): Promise<number> {
  const offered = await send(HANDSHAKE, new WireWriter().classicString(sasl.mechanism).finish(), (reader) => ({ code: reader.int16() }));
  if (offered.code !== CODE.none) throw refused(`mechanism ${sasl.mechanism}: ${nameOfCode(offered.code)}`);
  const exchange = async (bytes: Buffer): Promise<Answer> => {
    const answer = await send(AUTHENTICATE, new WireWriter().bytes(bytes).tags().finish(), readAnswer);
    if (answer.errorCode !== CODE.none) throw refused(answer.errorMessage ?? nameOfCode(answer.errorCode));
    return answer;
  };
  try {
    const answer = await converse(sasl, exchange);
    // RFC 7628: a refusal comes as data, the failure itself only after one more message.
    if (sasl.mechanism === "OAUTHBEARER" && answer.authBytes.length > 0) await exchange(Buffer.of(1));
    return Number(answer.sessionLifetimeMs);
  } catch (thrown) {
    for (let error: unknown = thrown; error instanceof Error; error = error.cause) {
      if (error instanceof OperatingError) throw error;
    }
    throw refused(toError(thrown).message, thrown);
  }
}

type Answered = Pick<Answer, "authBytes" | "sessionLifetimeMs">;

function converse(sasl: Sasl, exchange: (bytes: Buffer) => Promise<Answer>): Promise<Answered> {
  const send = callbackify(exchange);
  const callback = (_connection: unknown, bytes: Buffer, done: (error: Error | null, answer?: Answer) => void): void => send(bytes, done);
  // The mechanisms hand the connection on to the function that sends, and do nothing else with either.
  const api = callback as unknown as Parameters<typeof saslPlain.authenticate>[0];
  const none = undefined as unknown as Parameters<typeof saslPlain.authenticate>[1];
  switch (sasl.mechanism) {
    case "OAUTHBEARER":
      return saslOAuthBearer.authenticate(api, none, sasl.token, {});
    case "PLAIN":
      return saslPlain.authenticate(api, none, sasl.username, sasl.password);
    case "SCRAM-SHA-256":
    case "SCRAM-SHA-512":
      return saslScramSha.authenticate(api, none, sasl.mechanism === "SCRAM-SHA-256" ? "SHA-256" : "SHA-512", sasl.username, sasl.password);
  }
}

function readAnswer(reader: WireReader): Answer {
  const errorCode = reader.int16();
  const errorMessage = reader.nullableString();
  const authBytes = reader.nullableBytes() ?? Buffer.alloc(0);
  return { errorCode, errorMessage, authBytes, sessionLifetimeMs: reader.bigint64() };
}
