/**
 * An independent recomputation: DuckDB over the very JSON lines that were sent, sharing no code with the pipeline. Assumes that no event is
 * late (the lines are in event-time order) and keeps the first of each event_id.
 */
import { DuckDBInstance } from "@duckdb/node-api";

export interface WindowRow {
  readonly kind: string;
  readonly userId: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly events: number;
  readonly valueSum: number;
}

export interface TypeTotal {
  readonly eventType: string;
  readonly events: number;
  readonly users: number;
  readonly valueSum: number;
}

export interface Oracle {
  readonly events: number;
  readonly windows: readonly WindowRow[];
  readonly types: readonly TypeTotal[];
}

const TUMBLING = (kind: string, sizeMs: number): string => `
  SELECT '${kind}' AS kind, user_id, t - t % ${sizeMs} AS start_ms, t - t % ${sizeMs} + ${sizeMs} AS end_ms, count(*) AS events, coalesce(sum(v), 0) AS value_sum
  FROM events GROUP BY ALL`;

/** An event exactly one gap after the last one starts a new session. */
const SESSIONS = (kind: string, gapMs: number): string => `
  SELECT '${kind}' AS kind, user_id, min(t) AS start_ms, max(t) + ${gapMs} AS end_ms, count(*) AS events, coalesce(sum(v), 0) AS value_sum
  FROM (SELECT *, sum(CASE WHEN t - previous < ${gapMs} THEN 0 ELSE 1 END) OVER (PARTITION BY user_id ORDER BY t ROWS UNBOUNDED PRECEDING) AS session
        FROM (SELECT *, lag(t) OVER (PARTITION BY user_id ORDER BY t) AS previous FROM events))
  GROUP BY user_id, session`;

/** `measure` is the field of `properties` that the event type's rule names as its value. */
export async function recompute(jsonLines: string, measure: string): Promise<Oracle> {
  const instance = await DuckDBInstance.create(":memory:");
  const connection = await instance.connect();
  try {
    await connection.run(`
      CREATE TABLE events AS
      SELECT event_id, any_value(user_id)::VARCHAR AS user_id, any_value(event_type) AS event_type,
             any_value(epoch_ms(event_time::TIMESTAMPTZ)) AS t, any_value((properties->>'${measure}')::DOUBLE) AS v
      FROM read_json('${jsonLines}', format = 'newline_delimited',
                     columns = {event_id: 'VARCHAR', user_id: 'VARCHAR', event_type: 'VARCHAR', event_time: 'VARCHAR', properties: 'JSON'})
      GROUP BY event_id`);
    const rows = async (sql: string): Promise<Record<string, unknown>[]> => (await connection.runAndReadAll(sql)).getRowObjects();
    const windows = await rows(
      `${TUMBLING("tumbling_5m", 300_000)} UNION ALL ${TUMBLING("tumbling_1h", 3_600_000)} UNION ALL ${SESSIONS("session_30s", 30_000)}`,
    );
    const types = await rows(
      "SELECT event_type, count(*) AS events, count(DISTINCT user_id) AS users, coalesce(sum(v), 0) AS value_sum FROM events GROUP BY 1",
    );
    const [total] = await rows("SELECT count(*) AS events FROM events");
    return {
      events: Number(total?.["events"]),
      windows: windows.map((row) => ({
        kind: String(row["kind"]),
        userId: String(row["user_id"]),
        startMs: Number(row["start_ms"]),
        endMs: Number(row["end_ms"]),
        events: Number(row["events"]),
        valueSum: Number(row["value_sum"]),
      })),
      types: types.map((row) => ({
        eventType: String(row["event_type"]),
        events: Number(row["events"]),
        users: Number(row["users"]),
        valueSum: Number(row["value_sum"]),
      })),
    };
  } finally {
    connection.closeSync();
  }
}
