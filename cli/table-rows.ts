/**
 * What the ledger needs of ClickHouse, over plain HTTP: the recount must not depend on the client that the sink writes with. Rows come as
 * RowBinary, 36 bytes each, and are read as a stream.
 */
import type { Config } from "#shared/config/config.ts";
import { toError, UnavailableError } from "#shared/kernel/errors.ts";

type ClickhouseConfig = Pick<Config, "lane" | "generation" | "clickhouse" | "clickhouseDatabase" | "clickhouseUser" | "clickhousePassword">;

/** `at` counts bytes in `ids`; both are valid during the call only. */
export type VisitRow = (partition: number, sourceOffset: number, ids: Uint8Array, at: number, logTimeMs: number) => void;

const ROW_BYTES = 36;

export async function readTableRows(config: ClickhouseConfig, visit: VisitRow): Promise<void> {
  const answer = await query(
    config,
    `SELECT toUInt32(p), toFloat64(source_offset), toFixedString(unhex(replaceAll(toString(event_id), '-', '')), 16), toFloat64(toUnixTimestamp64Milli(timestamp))
     FROM events WHERE lane = {lane:String} AND gen = {generation:UInt32} FORMAT RowBinary`,
  );
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of answer.body ?? []) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const whole = bytes.length - (bytes.length % ROW_BYTES);
    for (let at = 0; at < whole; at += ROW_BYTES) {
      visit(view.getUint32(at, true), view.getFloat64(at + 4, true), bytes, at + 12, view.getFloat64(at + 28, true));
    }
    rest = bytes.subarray(whole);
  }
  if (rest.length > 0)
    throw new UnavailableError("ClickHouse ended its answer in the middle of a row", { code: "CLICKHOUSE_ANSWER", hint: "weir verify" });
}

/** One row of JSON. */
export async function queryOne<T>(config: ClickhouseConfig, sql: string): Promise<T> {
  const answer = await query(config, `${sql} FORMAT JSONEachRow`);
  return JSON.parse(await answer.text()) as T;
}

async function query(config: ClickhouseConfig, sql: string): Promise<Response> {
  const url = new URL(config.clickhouse);
  url.searchParams.set("database", config.clickhouseDatabase);
  url.searchParams.set("param_lane", config.lane);
  url.searchParams.set("param_generation", String(config.generation));
  // 64-bit counts as JSON numbers: all of ours are exact in a double.
  url.searchParams.set("output_format_json_quote_64bit_integers", "0");
  const headers = { "X-ClickHouse-User": config.clickhouseUser, "X-ClickHouse-Key": config.clickhousePassword };
  const fail = (cause: string): never => {
    throw new UnavailableError(`ClickHouse at ${url.host} did not answer: ${cause}`, {
      code: "CLICKHOUSE_UNAVAILABLE",
      hint: "weir status",
    });
  };
  let answer: Response;
  try {
    answer = await fetch(url, { method: "POST", body: sql, headers });
  } catch (thrown) {
    const { cause } = toError(thrown);
    return fail(cause === undefined ? toError(thrown).message : toError(cause).message);
  }
  if (!answer.ok) return fail((await answer.text()).split("\n")[0] ?? answer.statusText);
  return answer;
}
