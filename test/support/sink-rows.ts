/** Made-up rows of events.clean, each a function of its number. */
import type { CleanColumns } from "#shared/events/columns.ts";
import { dictionaryColumn, type EventRow, eventColumns } from "./event-batch.ts";

/** 2026-11-30T23:59:00Z: a minute before the month ends. */
export const BASE_MS = Date.UTC(2026, 10, 30, 23, 59);
export const USERS = 7;
/** Beyond 2^53: must come out exactly. */
export const LARGE_USER = 18_446_744_073_709_551_610n;

export interface SinkRow extends EventRow {
  readonly oseq: number;
}

/** Row number `oseq` of the made-up output: a function of the number alone. */
export function rowOf(oseq: number, spacingMs = 100): SinkRow {
  const user = oseq % USERS;
  return {
    oseq,
    sourceOffset: oseq * 2,
    eventId: oseq,
    eventTimeMs: BASE_MS + oseq * spacingMs,
    userId: user === 0 ? LARGE_USER : user,
    eventType: oseq % 3 === 0 ? "purchase" : "click",
    source: oseq % 5 === 0 ? null : "web",
    sessionId: oseq % 2 === 0 ? null : `s${user}`,
    value: oseq % 3 === 0 ? oseq / 4 : null,
    deviceInfo: oseq % 4 === 0 ? `{"os":"ö${oseq}"}` : null,
    properties: `{"n":${oseq}}`,
    reason: oseq % 11 === 0 ? "range.max" : null,
  };
}

export function enrichmentOf(oseq: number): string | null {
  return oseq % 4 === 0 ? `{"region":"r${oseq % 3}"}` : null;
}

export function cleanColumns(rows: readonly SinkRow[]): CleanColumns {
  const { fingerprint: _f, verdict: _v, pointer: _p, rawKey: _k, raw: _r, headers: _h, ...shared } = eventColumns(rows);
  return {
    ...shared,
    logTimeMs: Float64Array.from(rows, ({ eventTimeMs }) => eventTimeMs! + 40),
    windowEvents: Uint32Array.from(rows, ({ oseq }) => oseq),
    sessionStartMs: Float64Array.from(rows, () => BASE_MS),
    sessionEvents: Uint32Array.from(rows, ({ oseq }) => oseq + 1),
    score: Float64Array.from(rows, ({ oseq }) => (oseq % 3 === 0 ? oseq / 8 : Number.NaN)),
    enrichment: dictionaryColumn(rows.map(({ oseq }) => enrichmentOf(oseq))),
  };
}
