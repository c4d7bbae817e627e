/** Stands in for the processor: records of the output topics of one partition, numbered and cut as it does it, and what they hold, for comparison. */
import { inject } from "vitest";
import { createTopics } from "#shared/clients/kafka/admin.ts";
import { openKafka } from "#shared/clients/kafka/client.ts";
import type { CommittedOffset, Kafka, OutgoingRecord, TopicPartition } from "#shared/clients/kafka/types.ts";
import { encodeClean, encodeWindows } from "#shared/events/block.ts";
import { WINDOW_KINDS, type WindowColumns } from "#shared/events/columns.ts";
import { groupId, type GroupRole, HEADERS, type OutputRole, topicName } from "#shared/events/names.ts";
import { topicSpecs } from "#shared/events/topic-specs.ts";
import { createLogger } from "#shared/telemetry/logger.ts";
import { runPartitionSink, type SinkStore } from "#sinks/runtime/partition-sink.ts";
import { settles } from "#test/support/process.ts";
import { BASE_MS, cleanColumns, rowOf, USERS } from "#test/support/sink-rows.ts";
import { uniqueLane } from "#test/support/stack.ts";

const encoder = new TextEncoder();

function windowColumns(first: number, rows: number, spacingMs: number): WindowColumns {
  const numbers = Array.from({ length: rows }, (_, i) => first + i);
  return {
    rows,
    kind: Uint8Array.from(numbers, () => WINDOW_KINDS.indexOf("tumbling_5m")),
    userId: Uint32Array.from(numbers.flatMap((oseq) => [oseq % USERS, 0])),
    windowStartMs: Float64Array.from(numbers, (oseq) => BASE_MS + oseq * spacingMs),
    windowEndMs: Float64Array.from(numbers, (oseq) => BASE_MS + oseq * spacingMs + 300_000),
    events: Uint32Array.from(numbers),
    valueCount: Uint32Array.from(numbers, (oseq) => oseq % 2),
    valueSum: Float64Array.from(numbers, (oseq) => oseq / 2),
    valueMin: Float64Array.from(numbers, (oseq) => (oseq % 2 === 0 ? Number.NaN : 1)),
    valueMax: Float64Array.from(numbers, (oseq) => (oseq % 2 === 0 ? Number.NaN : 2)),
    firstEventMs: Float64Array.from(numbers, (oseq) => BASE_MS + oseq * spacingMs),
    lastEventMs: Float64Array.from(numbers, (oseq) => BASE_MS + oseq * spacingMs + 1),
  };
}

export interface PlacedRecord {
  readonly value: Uint8Array | null;
  readonly oseq: number;
  readonly count: number;
  readonly generation?: number;
  readonly cut?: number;
  readonly isEnd?: boolean;
  readonly more?: Readonly<Record<string, string>>;
}

export function outgoing({ value, oseq, count, generation = 1, cut, isEnd = false, more = {} }: PlacedRecord): OutgoingRecord {
  const headers: Record<string, string | number> = { ...more, [HEADERS.generation]: generation, [HEADERS.partition]: 0 };
  Object.assign(headers, { [HEADERS.oseq]: oseq, [HEADERS.count]: count });
  if (cut !== undefined) headers[HEADERS.cut] = cut;
  if (isEnd) headers[HEADERS.cutEnd] = 1;
  return { key: null, value, headers: Object.entries(headers).map(([key, text]) => [key, encoder.encode(String(text))] as const) };
}

/** One partition of a lane of its own. Numbers are given by the log itself, as the processor's are. */
export class OutputLog {
  readonly lane = uniqueLane();
  readonly kafka: Kafka;
  readonly #oseq = new Map<OutputRole, number>();
  #cut = 1;

  private constructor(kafka: Kafka) {
    this.kafka = kafka;
  }

  static async open(): Promise<OutputLog> {
    const broker = inject("stack").kafka;
    const log = new OutputLog(await openKafka({ brokers: [broker], clientId: "sink-test" }));
    await createTopics([broker], topicSpecs(log.lane, 1, { replicationFactor: 1 }));
    return log;
  }

  get provenance(): { lane: string; generation: number; partition: number } {
    return { lane: this.lane, generation: 1, partition: 0 };
  }

  partition(role: OutputRole): TopicPartition {
    return { topic: topicName(this.lane, role), partition: 0 };
  }

  group(role: GroupRole): string {
    return groupId({ lane: this.lane, generation: 1 }, role);
  }

  /** Rows of this role so far. */
  rows(role: OutputRole): number {
    return this.#oseq.get(role) ?? 0;
  }

  /** One record a number; the last one ends the cut, with rows (`end: "row"`) or as a mark of its own. */
  async clean(records: readonly number[], { end, spacingMs }: { end?: "row" | "mark"; spacingMs?: number } = {}): Promise<void> {
    for (const [i, count] of records.entries()) {
      const first = this.#take("clean", count);
      const rows = Array.from({ length: count }, (_, row) => rowOf(first + row, spacingMs));
      const isEnd = end === "row" && i === records.length - 1;
      await this.append("clean", { value: encodeClean(cleanColumns(rows)), oseq: first, count, cut: this.#cut, isEnd });
    }
    if (end === "mark") await this.append("clean", { value: null, oseq: this.rows("clean") + 1, count: 0, cut: this.#cut, isEnd: true });
    if (end !== undefined) this.#cut += 1;
  }

  async windows(count: number, spacingMs = 300_000): Promise<void> {
    const first = this.#take("windows", count);
    await this.append("windows", { value: encodeWindows(windowColumns(first, count, spacingMs)), oseq: first, count });
  }

  async deadLetter(value: Uint8Array | null): Promise<void> {
    const oseq = this.#take("dlq", 1);
    const more = { [HEADERS.reason]: "json.syntax", [HEADERS.pointer]: "/x", [HEADERS.source]: `${this.lane}.events.raw/0/${oseq * 10}` };
    await this.append("dlq", { value, oseq, count: 1, more });
  }

  /** A record placed by hand, also wrongly. */
  async append(role: OutputRole, record: PlacedRecord): Promise<void> {
    await this.kafka.produce(this.partition(role), [outgoing(record)]);
  }

  #take(role: OutputRole, count: number): number {
    const first = this.rows(role) + 1;
    this.#oseq.set(role, first + count - 1);
    return first;
  }

  async committed(role: OutputRole, group: string): Promise<CommittedOffset> {
    return (await this.kafka.committedOffsets(group, [this.partition(role)], { requireStable: false }))[0]!;
  }

  /** Every record of the topic is committed as durable by the group. */
  async isCaughtUp(role: OutputRole, group: string): Promise<boolean> {
    const end = await this.kafka.listOffset(this.partition(role), "latest", "read_committed");
    return (await this.committed(role, group)).offset === end;
  }

  /** Starts a sink in this process. `ended` rejects with what ends it. */
  run(role: OutputRole, group: string, store: SinkStore): { readonly ended: Promise<void>; stop(): Promise<void> } {
    const stopping = new AbortController();
    const log = createLogger({}, () => undefined);
    const ended = runPartitionSink({
      kafka: this.kafka,
      group,
      generation: 1,
      from: this.partition(role),
      store,
      log,
      stop: stopping.signal,
    });
    ended.catch(() => undefined);
    return {
      ended,
      stop: async () => {
        stopping.abort();
        await ended;
      },
    };
  }

  /** Runs a sink until it has everything, then stops it. */
  async drain(role: OutputRole, group: string, store: SinkStore): Promise<void> {
    const sink = this.run(role, group, store);
    await Promise.race([
      sink.ended.then(() => Promise.reject(new Error("the sink ended by itself"))),
      settles(
        async () => {
          if (!(await this.isCaughtUp(role, group))) throw new Error(`the sink is at ${(await this.committed(role, group)).offset}`);
        },
        { limitMs: 30_000 },
      ),
    ]);
    await sink.stop();
  }
}
