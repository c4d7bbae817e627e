import { Kafka, logLevel, Partitioners } from "kafkajs";

interface Connection {
  /** /weir/ENV/kafka/bootstrap-scram in SSM */
  readonly bootstrap: string;
  readonly username: string;
  readonly password: string;
  /** Only where a private authority signs the brokers' certificates; MSK's are Amazon's. */
  readonly ca?: string;
}

interface Event {
  readonly event_id: string;
  readonly event_time: string;
  readonly user_id: number | string;
  readonly event_type: string;
  readonly properties?: Readonly<Record<string, unknown>>;
}

/** Resolves when two of three brokers have them. What is sent twice, by a retry of yours or of kafkajs, is removed by event_id. */
export async function sendEvents({ bootstrap, username, password, ca }: Connection, events: readonly Event[]): Promise<void> {
  const kafka = new Kafka({
    clientId: "my-service",
    brokers: bootstrap.split(","),
    ssl: ca === undefined ? true : { ca },
    sasl: { mechanism: "scram-sha-512", username, password },
    logLevel: logLevel.WARN,
  });
  // Not `idempotent: true`: kafkajs' idempotent producer can lose an acknowledged event after a retried error.
  const producer = kafka.producer({ allowAutoTopicCreation: false, createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  try {
    // acks = -1 and a key: events of one user stay in order.
    const messages = events.map((event) => ({ key: String(event.user_id), value: JSON.stringify(event) }));
    await producer.send({ topic: "events.raw", acks: -1, messages });
  } finally {
    await producer.disconnect();
  }
}
