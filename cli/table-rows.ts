/**
 * What the ledger needs of ClickHouse, over plain HTTP: the recount must not depend on the client that the sink writes with. Rows come as
 * RowBinary of fixed length, and are read as a stream.
 */
import type { Config } from "#shared/config/config.ts";
import { toError, UnavailableError } from "#shared/kernel/errors.ts";
import type { RowFacts } from "#shared/ledger/range-rows.ts";

type ClickhouseConfig = Pick<Config, "lane" | "generation" | "clickhouse" | "clickhouseDatabase" | "clickhouseUser" | "clickhousePassword">;
type Parameters = Readonly<Record<string, string | number>>;

/** `at` counts bytes in `ids`; all is valid during the call only. */
export type VisitRow = (sourceOffset: number, ids: Uint8Array, at: number, facts: RowFacts) => void;

export interface OffsetRange {
  readonly partition: number;
  readonly first: number;
  /** Exclusive. */
  readonly end: number;
}

const ROW_BYTES = 72;

/** Rows of `events` whose source offset lies in the range, in no order. */
export async function readTableRows(config: ClickhouseConfig, range: OffsetRange, visit: VisitRow): Promise<void> {
  const facts: RowFacts = { logTimeMs: 0, eventTimeMs: 0, userLow: 0, userHigh: 0, value: 0, oseq: 0 };
  await readRows(
    config,
    `SELECT toFloat64(source_offset), toFixedString(unhex(replaceAll(toString(event_id), '-', '')), 16), toFloat64(toUnixTimestamp64Milli(timestamp)),
            toFloat64(toUnixTimestamp64Milli(event_time)), user_id, ifNull(value, nan), toFloat64(oseq), toFloat64(cut)
     FROM events WHERE lane = {lane:String} AND gen = {generation:UInt32} AND p = {partition:UInt16}
       AND source_offset >= {first:UInt64} AND source_offset < {end:UInt64}`,
    { ...range },
    ROW_BYTES,
    (view, bytes, at) => {
      facts.logTimeMs = view.getFloat64(at + 24, true);
      facts.eventTimeMs = view.getFloat64(at + 32, true);
      facts.userLow = view.getUint32(at + 40, true);
      facts.userHigh = view.getUint32(at + 44, true);
      facts.value = view.getFloat64(at + 48, true);
      facts.oseq = view.getFloat64(at + 56, true);
      visit(view.getFloat64(at, true), bytes, at + 8, facts);
    },
  );
}

/** Rows of doubles, in no order. `columns` must be Float64 each. `facts` is valid during the call only. */
export async function readNumbers(
  config: ClickhouseConfig,
  select: { readonly columns: readonly string[]; readonly from: string; readonly parameters: Parameters },
  visit: (facts: Float64Array) => void,
): Promise<void> {
  const { columns, from, parameters } = select;
  const facts = new Float64Array(columns.length);
  await readRows(config, `SELECT ${columns.join(", ")} FROM ${from}`, parameters, 8 * columns.length, (view, _bytes, at) => {
    for (let i = 0; i < facts.length; i++) facts[i] = view.getFloat64(at + 8 * i, true);
    visit(facts);
  });
}

/** Small results. 64-bit numbers come as JSON numbers: all of ours are exact in a double. */
export async function queryRows<T>(config: ClickhouseConfig, sql: string, parameters: Parameters = {}): Promise<T[]> {
  const answer = await query(config, `${sql} FORMAT JSONEachRow`, parameters);
  const text = await answer.text();
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as T);
}

async function readRows(
  config: ClickhouseConfig,
  sql: string,
  parameters: Parameters,
  rowBytes: number,
  visit: (view: DataView, bytes: Uint8Array, at: number) => void,
): Promise<void> {
  const answer = await query(config, `${sql} FORMAT RowBinary`, parameters);
  let rest: Uint8Array = new Uint8Array(0);
  for await (const chunk of answer.body ?? []) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const whole = bytes.length - (bytes.length % rowBytes);
    for (let at = 0; at < whole; at += rowBytes) visit(view, bytes, at);
    rest = bytes.subarray(whole);
  }
  if (rest.length > 0)
    throw new UnavailableError("ClickHouse ended its answer in the middle of a row", { code: "CLICKHOUSE_ANSWER", hint: "weir verify" });
}

async function query(config: ClickhouseConfig, sql: string, parameters: Parameters): Promise<Response> {
  const url = new URL(config.clickhouse);
  url.searchParams.set("database", config.clickhouseDatabase);
  url.searchParams.set("param_lane", config.lane);
  url.searchParams.set("param_generation", String(config.generation));
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(`param_${name}`, String(value));
  url.searchParams.set("output_format_json_quote_64bit_integers", "0");
  // As SQL has it: WHERE means the column, not what SELECT calls by its name.
  url.searchParams.set("prefer_column_name_to_alias", "1");
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
