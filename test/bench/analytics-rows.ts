/** Rows as the pipeline leaves them, made by ClickHouse itself from their number: the load generator's types, shares and properties, in order of log time. */
import type { Clickhouse } from "#shared/clients/clickhouse/client.ts";

export interface RowsOptions {
  readonly client: Clickhouse;
  readonly database: string;
  readonly events: number;
  readonly users: number;
  /** Epoch milliseconds of the first event. */
  readonly fromMs: number;
  readonly spanMs: number;
  /** Of one insert. */
  readonly blockRows: number;
}

/** SQL that joins the text and the expressions in angle brackets. */
function textOf(template: string): string {
  return `concat(${template
    .split(/<([^>]+)>/)
    .map((piece, i) => (i % 2 === 0 ? `'${piece}'` : `toString(${piece})`))
    .join(", ")})`;
}

const PROPERTIES = `multiIf(
  type = 'page_view', ${textOf('{"page":"<page>","referrer":"https://example.com<page2>","load_ms":<20 + h4 % 900>}')},
  type = 'click', ${textOf('{"page":"<page>","element":"button-<h4 % 50>","x":<h5 % 1920>,"y":<h4 % 1080>}')},
  type = 'view_item', ${textOf('{"item":"sku-<item>","price":<price>,"category":"<word>"}')},
  type = 'search', ${textOf('{"query":"<word> <word2>","results":<h4 % 500>,"page":1}')},
  type = 'add_to_cart', ${textOf('{"item":"sku-<item>","price":<price>,"quantity":<1 + h5 % 5>}')},
  type = 'purchase', ${textOf('{"order":"o-<item>","amount":<price>,"currency":"EUR","items":<1 + h5 % 5>}')},
  ${textOf('{"method":"password","attempt":<1 + h4 % 3>}')})`;

/** Users are log-uniform: a few are in a great part of all rows, most in one or two. Reruns give the same rows. */
export function eventsSelect({ users, fromMs, spanMs, events }: Omit<RowsOptions, "client" | "database" | "blockRows">): string {
  return `
  WITH cityHash64(number, 1) AS h1, cityHash64(number, 2) AS h2, cityHash64(number, 3) AS h3, cityHash64(number, 4) AS h4, cityHash64(number, 5) AS h5,
       toUInt64(pow(${users}, (h1 % 1000000007) / 1000000007)) AS user, h2 % 100 AS roll,
       ${fromMs} + intDiv(toInt64(number) * ${spanMs}, ${events}) AS log_ms,
       multiIf(h3 % 1000 < 5, 5001 + h4 % 20000, h3 % 100 < 5, h4 % 2000, h4 % 60) AS delay_ms,
       multiIf(roll < 45, 'page_view', roll < 65, 'click', roll < 78, 'view_item', roll < 86, 'search', roll < 92, 'add_to_cart', roll < 97, 'purchase', 'login') AS type,
       ['/', '/search', '/category/shoes', '/category/books', '/cart', '/account/orders', '/help/shipping'] AS pages,
       pages[1 + h4 % 7] AS page, pages[1 + h5 % 7] AS page2, ['river', 'lantern', 'notebook', 'kettle', 'bicycle', 'raincoat'] AS words,
       words[1 + h4 % 6] AS word, words[1 + h5 % 6] AS word2, 100000 + h5 % 900000 AS item, (100 + h3 % 20000) / 100 AS price,
       type IN ('purchase', 'add_to_cart', 'view_item') AS measured, measured AND h5 % 2000 = 0 AS odd
  SELECT toUUID(concat(lower(leftPad(hex(log_ms), 12, '0')), '7', substring(lower(leftPad(hex(h1), 16, '0')), 1, 3), '8', substring(lower(leftPad(hex(h2), 16, '0')), 1, 15))) AS event_id,
         fromUnixTimestamp64Milli(log_ms - delay_ms) AS event_time, user AS user_id, type AS event_type,
         multiIf(roll % 10 < 6, 'web', roll % 10 < 9, 'mobile', 'api') AS source,
         concat(lower(hex(user)), '-', toString(intDiv(log_ms, 1800000))) AS session_id,
         if(measured, price * if(odd, 40, 1), NULL) AS value,
         ['ios 26.1 iPhone17,2', 'android 16 Pixel 10', 'windows 11 Chrome 142', 'macos 26 Safari 26', 'linux Firefox 145'][1 + user % 5] AS device_info,
         ['DE-BE Berlin', 'FR-IDF Paris', 'JP-13 Tokyo', 'US-CA San Francisco', 'BR-SP Sao Paulo', 'IN-KA Bengaluru', 'ZA-WC Cape Town'][1 + user % 7] AS geo_location,
         ${PROPERTIES} AS properties, if(odd, 'anomaly.score', '') AS reason, fromUnixTimestamp64Milli(log_ms) AS timestamp,
         toUInt32(1 + h2 % 20) AS window_events, fromUnixTimestamp64Milli(log_ms - h3 % 30000) AS session_start, toUInt32(1 + h3 % 8) AS session_events,
         'live' AS lane, toUInt16(1) AS gen, toUInt16(user % 4) AS p, number + 1 AS oseq, intDiv(number, 65536) + 1 AS cut, number AS source_offset,
         if(measured, if(odd, 6 + h4 % 10, (toInt64(h4 % 400) - 200) / 100), NULL) AS score`;
}

/** Events with their views and projections, then the windows that follow from them. Returns how long the events took, in ms. */
export async function fillRows(options: RowsOptions): Promise<number> {
  const { client, database, events, blockRows } = options;
  const startedMs = performance.now();
  for (let from = 0; from < events; from += blockRows) {
    const count = Math.min(blockRows, events - from);
    await client.command(
      `INSERT INTO ${database}.events (event_id, event_time, user_id, event_type, source, session_id, value, device_info, geo_location, properties, reason,
         timestamp, window_events, session_start, session_events, lane, gen, p, oseq, cut, source_offset, score)
       ${eventsSelect(options)} FROM numbers(${from}, ${count})
       SETTINGS async_insert = 0, insert_deduplication_token = 'rows-${from}', max_insert_block_size = ${blockRows}, max_block_size = 65536,
                min_insert_block_size_rows = ${blockRows}, min_insert_block_size_bytes = 0`,
    );
  }
  const tookMs = performance.now() - startedMs;
  for (const [kind, seconds] of [
    ["tumbling_5m", 300],
    ["tumbling_1h", 3_600],
    ["session_30s", 30],
  ] as const) {
    await client.command(
      `INSERT INTO ${database}.windows
       SELECT '${kind}', user_id, toDateTime64(toStartOfInterval(event_time, toIntervalSecond(${seconds})), 3, 'UTC') AS start, start + toIntervalSecond(${seconds}),
              count(), count(value), sum(value), min(value), max(value), min(event_time), max(event_time), 'live', 1, any(p), max(oseq)
       FROM ${database}.events GROUP BY user_id, start
       SETTINGS async_insert = 0, optimize_aggregation_in_order = 1, max_bytes_before_external_group_by = 400000000, max_partitions_per_insert_block = 0`,
    );
  }
  await client.command(
    `INSERT INTO ${database}.dead_letters
     SELECT timestamp, ['schema.type', 'time.future', 'json.syntax'][1 + oseq % 3], '/properties', toString(user_id),
            if(oseq % 3 = 2, '{', concat('{"source":"', source, '"}')), 1, lane, gen, p, oseq, source_offset
     FROM ${database}.events WHERE oseq % 500 = 0`,
  );
  const minutes = `toStartOfMinute(toDateTime(timestamp, 'UTC')) AS minute`;
  await client.command(
    `INSERT INTO ${database}.quality_1min
     SELECT ${minutes}, source, event_type, count() AS total, total - countIf(oseq % 9001 = 0), total, total - countIf(timestamp > event_time + toIntervalSecond(5)),
            total, total - countIf(reason != ''), 'live', 1, 0, max(oseq)
     FROM ${database}.events GROUP BY minute, source, event_type SETTINGS async_insert = 0, max_partitions_per_insert_block = 0`,
  );
  await client.command(
    `INSERT INTO ${database}.cost_1min
     SELECT ${minutes}, source, destination.1, count(), count() * destination.2, count() * destination.3, 'live', 1, 0, max(oseq)
     FROM ${database}.events
     ARRAY JOIN [('clickhouse', 40, 0.00000002), ('redis', 90, 0.00000005), ('clean', 110, 0.00000001)] AS destination
     GROUP BY minute, source, destination SETTINGS async_insert = 0, max_partitions_per_insert_block = 0`,
  );
  return tookMs;
}
