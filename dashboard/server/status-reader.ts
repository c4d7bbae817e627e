/** Reads what the page shows: from Kafka, ClickHouse and the starter's status file. A source that is down is named, the rest is shown. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";
import type { Kafka } from "#shared/clients/kafka/types.ts";
import type { Config } from "#shared/config/config.ts";
import { groupId, topicName } from "#shared/events/names.ts";
import type { LedgerCounts, Progress } from "#shared/events/progress.ts";
import { type CostRow, costBy, qualityBy, type QualityRow } from "#shared/read/minutes-source.ts";
import { QUALITY_DIMENSIONS } from "#shared/read/quality-targets.ts";
import { toError } from "#shared/kernel/errors.ts";
import { reasonText } from "./reason-texts.ts";

const MINUTES_MS = 3_600_000;

export interface PartitionView {
  readonly partition: number;
  readonly rawEnd: number;
  readonly accounted: number;
  readonly inFlight: number;
  readonly watermarkMs: number | null;
  readonly logTimeMs: number | null;
  readonly counts: LedgerCounts | null;
}

export interface TableView {
  readonly rows: number;
  readonly recent: readonly Record<string, unknown>[];
  readonly windows: readonly Record<string, unknown>[];
  readonly reasons: readonly Record<string, unknown>[];
  /** Of the minutes closed in the last {@link MINUTES_MS}, by source; percentages in the order of the targets. */
  readonly quality: { readonly targets: typeof QUALITY_DIMENSIONS; readonly rows: readonly QualityRow[] };
  /** Likewise, by source and destination. */
  readonly cost: readonly CostRow[];
}

export interface StatusView {
  readonly atMs: number;
  readonly lane: string;
  readonly generation: number;
  /** As the starter wrote it; null in a cloud environment. */
  readonly pipeline: unknown;
  /** What `weir verify` found last; null = it has not run. */
  readonly verified: unknown;
  readonly partitions: readonly PartitionView[] | null;
  readonly tables: TableView | null;
  /** Source -> what is wrong with it. */
  readonly problems: Readonly<Record<string, string>>;
}

export class StatusReader {
  readonly #config: Config;
  readonly #kafka: () => Promise<Kafka>;
  readonly #clickhouse: Clickhouse;

  constructor(config: Config, kafka: () => Promise<Kafka>, clickhouse: Clickhouse) {
    this.#config = config;
    this.#kafka = kafka;
    this.#clickhouse = clickhouse;
  }

  async read(nowMs: number): Promise<StatusView> {
    const problems: Record<string, string> = {};
    const orNull = <T>(source: string, work: Promise<T>): Promise<T | null> =>
      work.catch((thrown: unknown) => {
        problems[source] = toError(thrown).message;
        return null;
      });
    const [partitions, tables] = await Promise.all([orNull("Kafka", this.#partitions()), orNull("ClickHouse", this.#tables())]);
    // Last: a source that is down takes seconds to fail, and the starter may have noticed meanwhile.
    const [pipeline, verified] = await Promise.all([this.#file("status.json"), this.#file("verify.json")]);
    const { lane, generation } = this.#config;
    return { atMs: nowMs, lane, generation, pipeline, verified, partitions, tables, problems };
  }

  async #file(name: string): Promise<unknown> {
    try {
      return JSON.parse(await readFile(join(this.#config.dataDir, name), "utf8"));
    } catch {
      return null;
    }
  }

  async #partitions(): Promise<PartitionView[]> {
    const { lane, partitions } = this.#config;
    const kafka = await this.#kafka();
    const numbers = Array.from({ length: partitions }, (_, partition) => partition);
    const topic = topicName(lane, "valid");
    const committed = await kafka.committedOffsets(
      groupId(this.#config, "processor"),
      numbers.map((partition) => ({ topic, partition })),
      { requireStable: false },
    );
    return Promise.all(
      numbers.map(async (partition) => {
        const rawEnd = await kafka.listOffset({ topic: topicName(lane, "raw"), partition }, "latest", "read_committed");
        const metadata = committed[partition]?.metadata ?? "";
        const progress = metadata === "" ? null : (JSON.parse(metadata) as Progress);
        const accounted = (progress?.hw ?? -1) + 1;
        const { watermarkMs = null, logTimeMs = null, counts = null } = progress ?? {};
        return { partition, rawEnd, accounted, inFlight: Math.max(0, rawEnd - accounted), watermarkMs, logTimeMs, counts };
      }),
    );
  }

  async #tables(): Promise<TableView> {
    const { lane, generation, clickhouseDatabase: database } = this.#config;
    const where = "WHERE lane = {lane:String} AND gen = {generation:UInt16}";
    const query = (sql: string): Promise<Record<string, unknown>[]> => this.#clickhouse.query(sql, { lane, generation });
    const period = { database, lane, generation, fromMs: Date.now() - MINUTES_MS };
    const [count, recent, windows, reasons, quality, cost] = await Promise.all([
      query(`SELECT toUInt32(count()) AS rows FROM ${database}.events ${where}`),
      query(
        `SELECT toString(event_id) AS event_id, toString(event_time) AS event_time, toString(user_id) AS user_id, event_type, source, value, p, toString(source_offset) AS source_offset
         FROM ${database}.events ${where} AND timestamp > now() - INTERVAL 1 MINUTE ORDER BY timestamp DESC LIMIT 20`,
      ),
      query(
        `SELECT kind, toString(user_id) AS user_id, toString(window_start) AS window_start, events, value_sum
         FROM ${database}.windows ${where} ORDER BY window_end DESC LIMIT 12`,
      ),
      query(
        `SELECT reason, toUInt32(count()) AS events, toString(max(at)) AS last FROM ${database}.dead_letters FINAL ${where} GROUP BY reason ORDER BY events DESC LIMIT 20`,
      ),
      qualityBy(this.#clickhouse, "source", period),
      costBy(this.#clickhouse, "both", period),
    ]);
    return {
      rows: Number(count[0]?.["rows"] ?? 0),
      recent,
      windows,
      reasons: reasons.map((row) => Object.assign(row, reasonText(row["reason"]))),
      quality: { targets: QUALITY_DIMENSIONS, rows: quality },
      cost,
    };
  }
}
