/** kafkajs as we use it: admin work, and the reader that checks our own. It never produces. */
import kafkajs, { type Kafka as KafkaJs, type KafkaConfig } from "kafkajs";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";
import { CODEC_IDS, compress, decompress } from "./compression.ts";
import type { KafkaOptions } from "./types.ts";

/** Addresses alone, where the cluster wants neither TLS nor credentials. */
export type ClusterAddress = readonly string[] | Pick<KafkaOptions, "brokers" | "tls" | "sasl">;

// kafkajs brings gzip only.
for (const codec of ["snappy", "lz4", "zstd"] as const) {
  const codecs: Record<number, unknown> = kafkajs.CompressionCodecs;
  codecs[CODEC_IDS[codec]] = () => ({
    compress: (encoder: { buffer: Buffer }) => Promise.resolve(compress(codec, encoder.buffer)),
    decompress: (bytes: Buffer) => Promise.resolve(decompress(CODEC_IDS[codec], bytes)),
  });
}

// "Not throttled" is -1 in there, so the time left is hugely negative: harmless, but Node 24 prints a warning into the user's terminal.
const scheduleCheck: (this: RequestQueue) => void = Reflect.get(RequestQueue.prototype, "scheduleCheckPendingRequests");
RequestQueue.prototype.scheduleCheckPendingRequests = function scheduleOnlyWhenDue(this: RequestQueue): void {
  if (this.pending.length > 0 || this.throttledUntil > Date.now()) scheduleCheck.call(this);
};

export function brokersOf(address: ClusterAddress): readonly string[] {
  return "brokers" in address ? address.brokers : address;
}

/** It prints to the console unless told otherwise; what matters is thrown. */
export function kafkaJs(address: ClusterAddress, clientId: string): KafkaJs {
  return new kafkajs.Kafka({
    clientId,
    brokers: [...brokersOf(address)],
    logLevel: kafkajs.logLevel.NOTHING,
    retry: { retries: 8, initialRetryTime: 100 },
    ...("brokers" in address ? security(address) : {}),
  });
}

function security({ tls, sasl }: Pick<KafkaOptions, "tls" | "sasl">): Pick<KafkaConfig, "ssl" | "sasl"> {
  return {
    ...(tls === undefined || tls === false ? {} : { ssl: tls === true ? true : { ...tls } }),
    ...(sasl === undefined ? {} : { sasl: credentials(sasl) }),
  };
}

function credentials(sasl: NonNullable<KafkaOptions["sasl"]>): NonNullable<KafkaConfig["sasl"]> {
  switch (sasl.mechanism) {
    case "OAUTHBEARER":
      return { mechanism: "oauthbearer", oauthBearerProvider: async () => ({ value: await sasl.token() }) };
    case "PLAIN":
      return { mechanism: "plain", username: sasl.username, password: sasl.password };
    case "SCRAM-SHA-256":
      return { mechanism: "scram-sha-256", username: sasl.username, password: sasl.password };
    case "SCRAM-SHA-512":
      return { mechanism: "scram-sha-512", username: sasl.username, password: sasl.password };
  }
}
