/**
 * The validator as it is usually written, which ours is measured against: base64 to text, JSON.parse, ajv (compiled once), one JSON record per event,
 * sent in one call per partition by kafkajs, acks of all replicas. It checks less than ours: no duplicate keys, no unsafe numbers, no limits.
 */
import ajv from "ajv";
import { Kafka, logLevel } from "kafkajs";
import type { Release } from "#shared/rules/release.ts";

interface LambdaRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string;
  readonly value: string;
}

export interface LambdaEvent {
  readonly records: Readonly<Record<string, readonly LambdaRecord[]>>;
}

export interface IdiomaticHandler {
  readonly handler: (event: LambdaEvent) => Promise<void>;
  readonly counts: { accepted: number; rejected: number };
  readonly close: () => Promise<void>;
}

const UUID = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$";
const RFC_3339 = "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d+)?(Z|[+-]\\d{2}:\\d{2})$";

/** As a team would write it down: the envelope, and the properties of each type. */
function schemaOf(type: Release["eventTypes"][number], sources: readonly string[]): object {
  const properties: Record<string, object> = {};
  for (const [pointer, rule] of Object.entries(type.fields)) {
    if (!pointer.startsWith("/properties/")) continue;
    properties[pointer.slice("/properties/".length)] = {
      type: rule.type,
      ...("min" in rule && rule.min !== undefined ? { minimum: rule.min } : {}),
      ...("max" in rule && rule.max !== undefined ? { maximum: rule.max } : {}),
    };
  }
  const required = type.required.flatMap((pointer) => (pointer.startsWith("/properties/") ? [pointer.slice("/properties/".length)] : []));
  return {
    type: "object",
    required: ["event_id", "event_time", "user_id", "event_type"],
    properties: {
      event_id: { type: "string", pattern: UUID },
      event_time: { type: "string", pattern: RFC_3339 },
      user_id: {
        anyOf: [
          { type: "integer", minimum: 0 },
          { type: "string", pattern: "^\\d{1,20}$" },
        ],
      },
      event_type: { const: type.name },
      source: { anyOf: [{ type: "null" }, { enum: sources }] },
      session_id: { type: ["string", "null"], maxLength: 4_096 },
      properties: { type: ["object", "null"], required, properties },
    },
  };
}

export async function createIdiomaticHandler(brokers: readonly string[], topic: string, release: Release): Promise<IdiomaticHandler> {
  const compiler = new ajv.Ajv({ allowUnionTypes: true });
  const sources = release.sources.map(({ name }) => name);
  const checks = new Map(release.eventTypes.map((type) => [type.name, compiler.compile(schemaOf(type, sources))]));
  const producer = new Kafka({ clientId: "idiomatic", brokers: [...brokers], logLevel: logLevel.NOTHING }).producer();
  await producer.connect();
  const counts = { accepted: 0, rejected: 0 };

  function validate(record: LambdaRecord): string {
    let event: Record<string, unknown> | undefined;
    try {
      event = JSON.parse(Buffer.from(record.value, "base64").toString()) as Record<string, unknown>;
    } catch {
      event = undefined;
    }
    const check = checks.get(event?.["event_type"] as string);
    const key = Buffer.from(record.key, "base64").toString();
    const ok = event !== undefined && check !== undefined && check(event) && key === String(event["user_id"]);
    const at = { partition: record.partition, offset: record.offset, ingested_at: record.timestamp };
    if (ok) {
      counts.accepted++;
      return JSON.stringify({ ...event, ...at });
    }
    counts.rejected++;
    return JSON.stringify({ error: event === undefined ? "json" : (check?.errors ?? "event_type"), raw: record.value, ...at });
  }

  return {
    counts,
    handler: async ({ records }) => {
      await Promise.all(
        Object.values(records).map((list) => {
          const messages = list.map((record) => ({
            key: Buffer.from(record.key, "base64"),
            value: validate(record),
            partition: record.partition,
          }));
          return producer.send({ topic, acks: -1, messages });
        }),
      );
    },
    close: () => producer.disconnect(),
  };
}
