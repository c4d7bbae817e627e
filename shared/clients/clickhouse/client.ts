/**
 * ClickHouse over HTTP, by the unmodified @clickhouse/client. It has no retries of its own, which is what exactly-once needs: whoever inserts
 * decides whether the very same bytes go again.
 */
import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { type ClickHouseClient, ClickHouseError, ClickHouseLogLevel, createClient } from "@clickhouse/client";
import { OperatingError, toError, TransientError, UnavailableError, UnknownOutcomeError } from "../../kernel/errors.ts";

export interface ClickhouseOptions {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** Sent with each request; need not exist yet. */
  readonly database?: string;
  /** Default 30,000; longer than the server's own limit for an insert (25 s), so that the server decides first. */
  readonly requestTimeoutMs?: number;
}

export interface ArrowInsert {
  readonly table: string;
  /** An Arrow IPC stream with one record batch: one insert, one block. */
  readonly bytes: Uint8Array;
  /** Identity of the block: the same token with the same bytes is inserted once. */
  readonly token: string;
  readonly queryId: string;
}

/**
 * ClickHouse's ErrorCodes.cpp: nothing is wrong with the rows, so the same bytes may go again, under the same token. 75 disk full or failing,
 * 159 time-out, 173 and 241 memory, 201 quota, 202 too many queries, 203 no free connection, 209 and 210 network, 225 Keeper, 236 aborted (the server
 * stops), 242 read only, 243 disk space, 252 too many parts, 285, 286 and 289 replicas and quorum, 319 unknown status, 394 cancelled, 499 object
 * storage, 999 Keeper.
 */
const TRANSIENT_CODES: ReadonlySet<string> = new Set(
  "75 159 173 201 202 203 209 210 225 236 241 242 243 252 285 286 289 319 394 499 999".split(" "),
);

/** What makes a retry of the same token a no-op in the table and in each view's target (docs/decisions/0004). */
const INSERT_SETTINGS = {
  async_insert: 0,
  insert_deduplicate: 1,
  deduplicate_blocks_in_dependent_materialized_views: 1,
  max_insert_threads: "1",
  max_insert_block_size: "1048576",
  min_insert_block_size_rows: "0",
  min_insert_block_size_bytes: "0",
  materialized_views_ignore_errors: 0,
  parallel_view_processing: 0,
  // 0 = any: a sparse history closes windows of more months at once than the default allows (100; refused with the code of "too many parts").
  max_partitions_per_insert_block: "0",
  wait_end_of_query: 1,
  max_execution_time: 25,
} as const;

const POLL_MS = 100;
const POLLS_BEFORE_KILL = 50;

export class Clickhouse {
  readonly #client: ClickHouseClient;
  readonly #url: string;

  constructor(options: ClickhouseOptions) {
    this.#url = options.url;
    this.#client = createClient({
      url: options.url,
      username: options.user,
      password: options.password,
      ...(options.database === undefined ? {} : { database: options.database }),
      request_timeout: options.requestTimeoutMs ?? 30_000,
      keep_alive: { enabled: true, idle_socket_ttl: 2_000 },
      clickhouse_settings: { output_format_arrow_compression_method: "none" },
      // What matters is thrown, and classified below.
      log: { level: ClickHouseLogLevel.OFF },
    });
  }

  async command(sql: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<void> {
    await this.#call(() => this.#client.command({ query: sql, query_params: { ...parameters } }));
  }

  /** Small results only. Counts of 64 bits come as strings unless cast. */
  async query<T>(sql: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<T[]> {
    return this.#call(async () => {
      const result = await this.#client.query({ query: sql, query_params: { ...parameters }, format: "JSONEachRow" });
      return result.json<T>();
    });
  }

  /** Rows as they come, for large results: each chunk is a list of parsed rows. */
  async *stream<T>(sql: string, parameters: Readonly<Record<string, unknown>> = {}): AsyncGenerator<T[]> {
    const result = await this.#call(() =>
      this.#client.query({ query: sql, query_params: { ...parameters }, format: "JSONCompactEachRow" }),
    );
    try {
      for await (const rows of result.stream<T>()) yield rows.map((row) => row.json<T>());
    } catch (thrown) {
      throw this.#classify(toError(thrown));
    }
  }

  /**
   * One synchronous insert of one block. Throws TransientError when nothing of it is running any more and the same bytes may go again,
   * UnknownOutcomeError when it may still be running ({@link waitUntilGone} first), OperatingError when the server refuses the content.
   */
  async insertArrow(insert: ArrowInsert): Promise<void> {
    await this.#call(async () => {
      const { stream } = await this.#client.exec({
        query: `INSERT INTO ${insert.table} FORMAT ArrowStream`,
        values: Readable.from([insert.bytes], { objectMode: false }),
        query_id: insert.queryId,
        clickhouse_settings: { ...INSERT_SETTINGS, insert_deduplication_token: insert.token },
      });
      // A failure behind the 200 of the head comes as text in the body.
      let body = "";
      for await (const chunk of stream) body += String(chunk);
      if (body !== "") throw new Error(`unexpected answer to an insert: ${body.slice(0, 200)}`);
    });
  }

  /**
   * Returns when no query of this id runs any more. It is left to end by itself first; killing it between a table and its view is safe under
   * a token, but makes work.
   */
  async waitUntilGone(queryId: string): Promise<void> {
    for (let polls = 0; polls < POLLS_BEFORE_KILL; polls++) {
      const running = await this.query("SELECT 1 FROM system.processes WHERE query_id = {queryId:String}", { queryId });
      if (running.length === 0) return;
      await sleep(POLL_MS);
    }
    await this.#call(() => this.#client.command({ query: "KILL QUERY WHERE query_id = {queryId:String} SYNC", query_params: { queryId } }));
  }

  async close(): Promise<void> {
    await this.#client.close();
  }

  async #call<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (thrown) {
      throw this.#classify(toError(thrown));
    }
  }

  #classify(error: Error): Error {
    if (error instanceof OperatingError) return error;
    if (error instanceof ClickHouseError) {
      const text = `ClickHouse refused: ${error.message.slice(0, 500)} (code ${error.code}, ${error.type ?? "?"})`;
      if (TRANSIENT_CODES.has(error.code)) return new TransientError(text, { code: "CLICKHOUSE_BUSY", cause: error });
      return new OperatingError(text, { code: "CLICKHOUSE_REFUSED", cause: error });
    }
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") {
      return new UnavailableError(`no ClickHouse at ${this.#url}`, {
        code: "CLICKHOUSE_UNAVAILABLE",
        hint: "see whether the server runs and the address is right (WEIR_CLICKHOUSE)",
        cause: error,
      });
    }
    return new UnknownOutcomeError(`ClickHouse at ${this.#url} gave no clear answer: ${error.message}`, {
      code: "CLICKHOUSE_UNCLEAR",
      cause: error,
    });
  }
}
