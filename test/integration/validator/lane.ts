/** A lane's raw events as Lambda would deliver them, and the blocks that come out. */
import { encodeEvent, encodeRecord } from "#local/lambda-twin/invocation-event.ts";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { FetchedRecord, Kafka, RecordHeader } from "#shared/clients/kafka/types.ts";
import { topicName } from "#shared/events/names.ts";
import { uniqueLane } from "#test/support/stack.ts";
import { NOW_MS } from "#test/support/validated-event.ts";

const SOURCE = { arn: "arn:aws:kafka:local:0:cluster/weir/0", bootstrapServers: "127.0.0.1:1", timestampType: "CREATE_TIME" } as const;

export class Lane {
  readonly name: string;
  readonly kafka: Kafka;

  private constructor(name: string, kafka: Kafka) {
    this.name = name;
    this.kafka = kafka;
  }

  static async create(broker: string, partitions = 2): Promise<Lane> {
    const name = uniqueLane();
    await createTopics([broker], [{ topic: topicName(name, "valid"), partitions, replicationFactor: 1, config: {} }]);
    return new Lane(name, await openKafka({ brokers: [broker], clientId: "weir-validator-test" }));
  }

  event(partition: number, firstOffset: number, values: readonly string[], headers: readonly RecordHeader[] = [], key = "42"): string {
    const at = { topic: topicName(this.name, "raw"), partition };
    const encoded = values.map((value, i) =>
      encodeRecord(at, { offset: firstOffset + i, timestampMs: NOW_MS, key: Buffer.from(key), value: Buffer.from(value), headers }, SOURCE),
    );
    return encodeEvent([{ ...at, encoded }], SOURCE);
  }

  async blocks(partition: number): Promise<readonly FetchedRecord[]> {
    const [answer] = await this.kafka.fetch([{ topic: topicName(this.name, "valid"), partition, offset: 0 }], {
      isolation: "read_committed",
      maxWaitMs: 200,
    });
    return answer!.records;
  }

  /** How many blocks a partition has. */
  end(partition: number): Promise<number> {
    return this.kafka.listOffset({ topic: topicName(this.name, "valid"), partition }, "latest", "read_committed");
  }

  close(): Promise<void> {
    return this.kafka.close();
  }
}

export function headersOf(record: FetchedRecord): Record<string, string> {
  return Object.fromEntries(record.headers.map(([name, value]) => [name, Buffer.from(value).toString()]));
}
