/** What a fold counts per minute of log time, with numbers by hand (docs/QUALITY.md). */
import { describe, expect, test } from "vitest";
import { createFold } from "#processor/fold/partition-fold.ts";
import { failedDimension, rejectedCounter } from "#processor/operators/reason-counters.ts";
import { HEADERS } from "#shared/events/names.ts";
import { COUNTER, COUNTERS } from "#shared/events/partials.ts";
import { REASONS } from "#shared/events/reasons.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, headerText, inputRecord, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

/** A full hour. */
const T0 = 1_700_002_800_000;
const MINUTE_MS = 60_000;

function block(logTimeMs: number, ...rows: EventRow[]): LogEntry {
  return { kind: "block", logTimeMs, rows };
}

function event(sourceOffset: number, more: Partial<EventRow> = {}): EventRow {
  return { sourceOffset, eventId: 1 + sourceOffset, eventTimeMs: T0, userId: 7, source: "web", ...more };
}

function tick(logTimeMs: number): LogEntry {
  return { kind: "tick", logTimeMs, now: T0 };
}

describe("a minute of log time", () => {
  test("is one record when it is over: counts, bytes, latencies and values by source and type", () => {
    const reject: EventRow = {
      sourceOffset: 4,
      source: "web",
      eventType: null,
      verdict: "reject",
      reason: "schema.range",
      raw: "{}",
      rawKey: "7",
    };
    const rows = [
      event(0, { value: 2.5, properties: '{"a":1}', sessionId: "s-1" }),
      event(1, { value: -1, verdict: "warning", reason: "rule.flag" }),
      event(2, { source: null, eventType: "view" }),
      event(3, { eventId: 1, value: 2.5, properties: '{"a":1}', sessionId: "s-1" }),
      reject,
    ];
    const { output, records } = runFold([block(T0 + 1_500, ...rows), tick(T0 + MINUTE_MS)]);
    const zero = Object.fromEntries(COUNTERS.map((name) => [name, 0]));
    expect(output.partials).toEqual([
      {
        ...zero,
        minuteMs: T0,
        source: "",
        type: "view",
        total: 1,
        clean: 1,
        clean_bytes: 50,
        latency_sum_ms: 1_500,
        valueMin: null,
        valueMax: null,
        latencies: { 20: 1 },
      },
      {
        ...zero,
        minuteMs: T0,
        source: "web",
        type: "",
        total: 1,
        rejected_schema: 1,
        inaccurate: 1,
        dead_letter_bytes: 3,
        valueMin: null,
        valueMax: null,
        latencies: {},
      },
      {
        ...zero,
        minuteMs: T0,
        source: "web",
        type: "click",
        total: 3,
        clean: 2,
        duplicate: 1,
        inconsistent: 1,
        clean_bytes: 58 + 50,
        latency_sum_ms: 3_000,
        value_count: 2,
        value_sum: 1.5,
        valueMin: -1,
        valueMax: 2.5,
        latencies: { 20: 2 },
      },
    ]);
    expect(output.marks).toEqual([T0 + MINUTE_MS]);
    const partials = records.filter(({ role }) => role === "partials");
    expect(partials.map((record) => [HEADERS.mark, HEADERS.oseq, HEADERS.count].map((key) => headerText(record, key)))).toEqual([
      [String(T0 + MINUTE_MS), "1", "3"],
    ]);
  });

  test("counts a late event as late and untimely, in the minute in which it came", () => {
    const { output } = runFold([
      block(T0, event(0, { eventTimeMs: T0 + 305_000 })),
      block(T0 + MINUTE_MS, event(1)),
      tick(T0 + 2 * MINUTE_MS),
    ]);
    expect(output.partials.map(({ minuteMs, clean, late, untimely, late_bytes }) => [minuteMs, clean, late, untimely, late_bytes])).toEqual(
      [
        [T0, 1, 0, 0, 0],
        [T0 + MINUTE_MS, 0, 1, 1, 50],
      ],
    );
  });

  test("without events is a record without a value, so that nobody waits for it", () => {
    const { records, output } = runFold([tick(T0), tick(T0 + 3 * MINUTE_MS), tick(T0 + 3 * MINUTE_MS + 1)]);
    expect(output.marks).toEqual([T0 + 3 * MINUTE_MS]);
    expect(records.filter(({ role }) => role === "partials")).toEqual([expect.objectContaining({ value: null })]);
  });

  test("never comes back, even when the broker's clock does", () => {
    const log = [block(T0 + MINUTE_MS, event(0)), block(T0 + 1, event(1)), tick(T0 + 2 * MINUTE_MS)];
    expect(runFold(log).output.partials.map(({ minuteMs, total }) => [minuteMs, total])).toEqual([[T0 + MINUTE_MS, 2]]);
  });

  test("is due at its end, for as long as there has been a record; before the first one nothing is", () => {
    const fold = createFold(FOLD_OPTIONS);
    expect(fold.nextDueMs).toBe(Infinity);
    fold.apply(inputRecord(tick(T0 + 5), 0));
    expect(fold.nextDueMs).toBe(T0 + MINUTE_MS);
    expect(fold.hasOpenWork).toBe(false);
  });

  test("is not counted in a historical lane", () => {
    const historical = { ...FOLD_OPTIONS, historical: true };
    const { records, fold } = runFold([block(T0, event(0)), tick(T0 + MINUTE_MS)], historical);
    expect(records.map(({ role }) => role)).not.toContain("partials");
    expect(fold.nextDueMs).toBe(Infinity);
  });

  test("with more cells than fit into a record comes in several, of which only the last says that it is over", () => {
    const rows = Array.from({ length: 40 }, (_, i) => event(i, { eventType: `type-${String(i).padStart(2, "0")}` }));
    const { records, output } = runFold([block(T0, ...rows), tick(T0 + MINUTE_MS)], { ...FOLD_OPTIONS, maxRecordBytes: 15_000 });
    const partials = records.filter(({ role }) => role === "partials");
    const marks = partials.map((record) => Number(headerText(record, HEADERS.mark)));
    expect(marks.length).toBeGreaterThan(1);
    expect(marks).toEqual([...marks.slice(1).map(() => T0), T0 + MINUTE_MS]);
    expect(partials.every(({ value }) => value!.length <= 15_000)).toBe(true);
    expect(output.partials.map(({ type }) => type)).toEqual(rows.map(({ eventType }) => eventType));
  });
});

test("each error and warning fails one dimension, and each error has a stage to be counted under", () => {
  const dimensions = new Set([COUNTER.incomplete, COUNTER.inconsistent, COUNTER.untimely, COUNTER.inaccurate]);
  for (const [reason, { severity }] of Object.entries(REASONS)) {
    if (severity === "info") continue;
    expect(dimensions.has(failedDimension(reason)), reason).toBe(true);
    if (severity === "error") expect(COUNTERS[rejectedCounter(reason)], reason).toMatch(/^rejected_/);
  }
  expect(COUNTERS[rejectedCounter("time.future")]).toBe("rejected_time");
  expect(COUNTERS[rejectedCounter("key.mismatch")]).toBe("rejected_identity");
  expect(COUNTERS[rejectedCounter("of.a.newer.validator")]).toBe("rejected_form");
});
