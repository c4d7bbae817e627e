/** Records of closed minutes, as the second stage writes them. */
import { encodeCostRows, encodeMetricRows, encodeQualityRows, type MinuteKind } from "#shared/events/minutes.ts";

/** By the names of the columns; null is an absent text or number. */
export type MinuteRow = Readonly<Record<string, string | number | null>>;

export const MINUTE_MS = Date.UTC(2026, 10, 24, 10, 5);

export function minuteBlock(kind: MinuteKind, rows: readonly MinuteRow[]): Uint8Array {
  const named = rows.map(({ minute, event_type: eventType = null, source, value = null, ...rest }) => {
    const base = { minuteMs: minute as number, source: source ?? "", eventType: eventType ?? "", value: value ?? Number.NaN };
    return { ...rest, ...base };
  });
  if (kind === "metrics") return encodeMetricRows(named as unknown as Parameters<typeof encodeMetricRows>[0]);
  if (kind === "quality") return encodeQualityRows(named as unknown as Parameters<typeof encodeQualityRows>[0]);
  return encodeCostRows(named as unknown as Parameters<typeof encodeCostRows>[0]);
}

/** All is well but what is given. */
export function qualityRow(given: MinuteRow & { readonly total: number }): MinuteRow {
  const { total } = given;
  const good = { complete: total, consistent: total, timely: total, unique: total, accurate: total };
  return { minute: MINUTE_MS, source: "web", event_type: "click", ...good, ...given };
}

export function costRow(given: MinuteRow): MinuteRow {
  return { minute: MINUTE_MS, source: "web", destination: "clickhouse", events: 10, bytes: 4_000, usd: 0.25, ...given };
}

export function metricRow(given: MinuteRow): MinuteRow {
  return { minute: MINUTE_MS, metric: "events", source: "web", event_type: "click", value: 10, count: 10, ...given };
}
