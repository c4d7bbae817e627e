import { describe, expect, test } from "vitest";
import { createFold } from "#processor/fold/partition-fold.ts";
import { HEADERS } from "#shared/events/names.ts";
import type { EventRow } from "#test/support/event-batch.ts";
import { FOLD_OPTIONS, headerText, inputRecord, runFold } from "#test/support/fold-run.ts";
import type { LogEntry } from "#test/support/naive-fold.ts";

/** A full hour. */
const T0 = 1_700_002_800_000;

function block(logTimeMs: number, ...rows: EventRow[]): LogEntry {
  return { kind: "block", logTimeMs, rows };
}

function event(sourceOffset: number, offsetMs: number, more: Partial<EventRow> = {}): EventRow {
  return { sourceOffset, eventId: 1_000 + sourceOffset, eventTimeMs: T0 + offsetMs, userId: 7, ...more };
}

describe("rows of events.clean", () => {
  test("tell rank in window and session as of each event", () => {
    const { output } = runFold([block(T0, event(0, 0), event(1, 10_000), event(2, 45_000), event(3, 11_000, { userId: 8 }))]);
    expect(output.clean.map((row) => [row.windowEvents, row.sessionStartMs - T0, row.sessionEvents])).toEqual([
      [1, 0, 1],
      [2, 0, 2],
      [3, 45_000, 1],
      [1, 11_000, 1],
    ]);
  });

  test("carry the event's fields and the log time of their block unchanged", () => {
    const fields = {
      sessionId: "s-1",
      deviceInfo: '{"os":"x"}',
      geoLocation: null,
      properties: '{"a":1}',
      value: 2.5,
      source: "web",
      eventType: "purchase",
    };
    const userId = 0xfedcba9876543210n;
    const { output } = runFold([block(T0 + 99, event(5, 0, { ...fields, userId, verdict: "warning", reason: "rule.flag" }))]);
    expect(output.clean).toEqual([
      expect.objectContaining({
        ...fields,
        userId,
        reason: "rule.flag",
        logTimeMs: T0 + 99,
        sourceOffset: 5,
        eventTimeMs: T0,
        eventId: "000000000000000000000000000003ed",
      }),
    ]);
  });
});

describe("windows", () => {
  test("close when the watermark reaches their end, once, with aggregates over the events that carry a value", () => {
    const rows = [event(0, 0, { value: 3 }), event(1, 1_000), event(2, 2_000, { value: -1.5 }), event(3, 304_999), event(4, 305_000)];
    const { output } = runFold([block(T0, ...rows)]);
    expect(output.windows).toEqual([
      {
        kind: "session_30s",
        userId: 7n,
        windowStartMs: T0,
        windowEndMs: T0 + 32_000,
        events: 3,
        valueCount: 2,
        valueSum: 1.5,
        valueMin: -1.5,
        valueMax: 3,
        firstEventMs: T0,
        lastEventMs: T0 + 2_000,
      },
      expect.objectContaining({
        kind: "tumbling_5m",
        windowStartMs: T0,
        windowEndMs: T0 + 300_000,
        events: 3,
        firstEventMs: T0,
        lastEventMs: T0 + 2_000,
      }),
    ]);
  });

  test("have no minimum and no maximum when no event carries a value", () => {
    const { output } = runFold([block(T0, event(0, 0)), { kind: "drain", logTimeMs: T0 }]);
    expect(output.windows.map((row) => [row.valueCount, row.valueSum, row.valueMin, row.valueMax])).toEqual(
      Array.from({ length: 3 }, () => [0, 0, null, null]),
    );
  });

  test("close in order of their ends, at one end five minutes, hour, session, and sessions by user id", () => {
    const at = 3_570_000;
    const rows = [event(0, at, { userId: 2n ** 63n }), event(1, at, { userId: 5 }), event(2, at, { userId: 1 })];
    const { output } = runFold([block(T0, ...rows), { kind: "drain", logTimeMs: T0 }]);
    expect(output.windows.map((row) => [row.kind, row.userId, row.windowEndMs - T0])).toEqual([
      ...["tumbling_5m", "tumbling_1h"].flatMap((kind) => [2n ** 63n, 5n, 1n].map((user) => [kind, user, 3_600_000])),
      ...[1n, 5n, 2n ** 63n].map((user) => ["session_30s", user, 3_600_000]),
    ]);
  });

  test("an hour sums its five-minute windows", () => {
    const rows = Array.from({ length: 12 }, (_, i) => event(i, i * 300_000 + 1_000, { value: i }));
    const { output } = runFold([block(T0, ...rows), { kind: "drain", logTimeMs: T0 }]);
    expect(output.windows.filter((row) => row.kind === "tumbling_1h")).toEqual([
      expect.objectContaining({
        windowStartMs: T0,
        events: 12,
        valueSum: 66,
        valueMin: 0,
        valueMax: 11,
        firstEventMs: T0 + 1_000,
        lastEventMs: T0 + 3_301_000,
      }),
    ]);
  });

  test("close behind an idle partition's tick, at now minus bound and idle margin", () => {
    const first = block(T0, event(0, 0));
    const early = runFold([first, { kind: "tick", logTimeMs: T0, now: T0 + 39_999 }]);
    expect(early.output.windows).toEqual([]);
    const due = runFold([first, { kind: "tick", logTimeMs: T0, now: T0 + 40_000 }]);
    expect(due.output.windows.map((row) => row.kind)).toEqual(["session_30s"]);
    expect(due.progress.watermarkMs).toBe(T0 + 30_000);
  });

  test("of a historical lane are not moved by ticks, only by events and drain", () => {
    const options = { ...FOLD_OPTIONS, historical: true };
    const ticked = runFold([block(T0, event(0, 0)), { kind: "tick", logTimeMs: T0 + 5_000, now: T0 + 9_000_000 }], options);
    expect(ticked.output.windows).toEqual([]);
    expect(ticked.output.endedCuts).toEqual([[1, 1]]);
    expect(ticked.fold.hasOpenWork).toBe(false);
    const drained = runFold([block(T0, event(0, 0)), { kind: "drain", logTimeMs: T0 }], options);
    expect(drained.output.windows.map((row) => row.kind)).toEqual(["session_30s", "tumbling_5m", "tumbling_1h"]);
    expect(drained.progress.watermarkMs).toBe(T0 + 3_600_000);
  });
});

describe("late events", () => {
  test("name the five-minute window that has closed, and go into no window", () => {
    const { output } = runFold([block(T0, event(0, 305_000), event(1, 299_999), event(2, 300_000))]);
    expect(output.late.map((row) => [row.sourceOffset, row.lateKind, row.lateWindowStartMs - T0])).toEqual([[1, "tumbling_5m", 0]]);
    expect(output.clean.map((row) => row.sourceOffset)).toEqual([0, 2]);
    expect(output.counts.late).toBe(1);
  });

  test("name their session when only that has closed", () => {
    const { output } = runFold([block(T0, event(0, 100_000), event(1, 65_001), event(2, 65_000, { userId: 8 }))]);
    expect(output.late.map((row) => [row.sourceOffset, row.lateKind, row.lateWindowStartMs - T0])).toEqual([[2, "session_30s", 65_000]]);
  });

  test("are none while an open session takes them", () => {
    const { output } = runFold([block(T0, event(0, 70_000), event(1, 100_000, { userId: 8 }), event(2, 60_000))]);
    expect(output.late).toEqual([]);
    expect(output.clean[2]).toMatchObject({ sessionStartMs: T0 + 60_000, sessionEvents: 2 });
  });
});

describe("de-duplication", () => {
  const twice = (secondLogTimeMs: number, second: Partial<EventRow> = {}): LogEntry[] => [
    block(T0, event(0, 0, { eventId: 1 })),
    block(secondLogTimeMs, event(1, 0, { eventId: 1, ...second })),
  ];

  test("counts the same event within the horizon of log time as a duplicate", () => {
    expect(runFold(twice(T0 + 600_000)).progress.counts).toMatchObject({ clean: 1, duplicate: 1 });
    expect(runFold(twice(T0 + 600_001)).progress.counts).toMatchObject({ clean: 2, duplicate: 0 });
  });

  test("does not prolong the horizon when a duplicate comes", () => {
    const log = [...twice(T0 + 400_000), block(T0 + 700_000, event(2, 0, { eventId: 1 }))];
    expect(runFold(log).progress.counts).toMatchObject({ clean: 2, duplicate: 1 });
  });

  test("never lets log time go back", () => {
    const log = [...twice(T0 + 700_000, { eventId: 2 }), block(T0 + 100, event(2, 0, { eventId: 1 }))];
    expect(runFold(log).progress).toMatchObject({ counts: { clean: 3, duplicate: 0 }, logTimeMs: T0 + 700_000 });
  });

  test("makes another event under the same id a dead letter, written anew from its columns", () => {
    const { records, output } = runFold(
      twice(T0, { userId: 2n ** 64n - 1n, sessionId: 'say "x"', deviceInfo: '{"os":"x"}', source: "web", value: 3 }),
    );
    expect(output.counts).toMatchObject({ clean: 1, duplicate: 0, deadLettered: 1 });
    const letter = records.find((record) => record.role === "dlq")!;
    expect(new TextDecoder().decode(letter.key)).toBe("18446744073709551615");
    expect(new TextDecoder().decode(letter.value)).toBe(
      `{"event_id":"00000000-0000-0000-0000-000000000001","event_time":${T0},"user_id":"18446744073709551615","event_type":"click","source":"web",` +
        `"session_id":"say \\"x\\"","device_info":{"os":"x"},"properties":{}}`,
    );
    expect(headerText(letter, HEADERS.reason)).toBe("id.conflict");
    expect(headerText(letter, "weir-reencoded")).toBe("1");
  });
});

describe("dead letters", () => {
  const encoder = new TextEncoder();

  test("carry key, value and headers as they came, and say what, where and from where", () => {
    const raw = Uint8Array.of(0xff, 0x7b, 0x00);
    const traceparent = encoder.encode("00-abc-def-01");
    const headers = [["traceparent", traceparent], ["x", Uint8Array.of()], ["x", Uint8Array.of(1)]] as const; // prettier-ignore
    const reject: EventRow = { sourceOffset: 41, verdict: "reject", reason: "encoding", pointer: "@0", rawKey: "7", raw, headers };
    const { records, progress } = runFold([block(T0, reject)]);
    expect(records).toHaveLength(1);
    const [letter] = records;
    expect(letter!.key).toEqual(encoder.encode("7"));
    expect(letter!.value).toEqual(raw);
    expect(letter!.headers.slice(0, 3)).toEqual(headers);
    const told = [
      HEADERS.reason,
      HEADERS.pointer,
      HEADERS.source,
      HEADERS.letterRulesVersion,
      HEADERS.replays,
      HEADERS.oseq,
      HEADERS.count,
    ];
    expect(told.map((key) => headerText(letter!, key))).toEqual(["encoding", "@0", "events.raw/3/41", "7", "0", "1", "1"]);
    expect(progress.counts).toMatchObject({ raw: 1, deadLettered: 1 });
    expect(progress.watermarkMs).toBeNull();
  });

  test("keep a null key and a null value null", () => {
    const { records } = runFold([block(T0, { sourceOffset: 0, verdict: "reject", reason: "value.null" })]);
    expect(records[0]).toMatchObject({ key: null, value: null });
  });

  test("do not let a producer's header pass for ours, and carry the count of replays on", () => {
    const headers = [["oseq", encoder.encode("999")], [HEADERS.replays, encoder.encode("2")], [HEADERS.reason, encoder.encode("forged")]] as const; // prettier-ignore
    const { records } = runFold([block(T0, { sourceOffset: 0, verdict: "reject", reason: "json.syntax", raw: "{", headers })]);
    const letter = records[0]!;
    expect([HEADERS.oseq, HEADERS.replays, HEADERS.reason].map((key) => letter.headers.filter(([name]) => name === key).length)).toEqual([
      1, 1, 1,
    ]);
    expect([headerText(letter, "oseq"), headerText(letter, HEADERS.replays), headerText(letter, HEADERS.reason)]).toEqual([
      "1",
      "2",
      "json.syntax",
    ]);
    expect(headerText(letter, "weir-original-oseq")).toBe("999");
    expect(headerText(letter, "weir-original-weir-reason")).toBe("forged");
  });
});

describe("cuts", () => {
  const options = { ...FOLD_OPTIONS, cutRows: 3 };
  const row = (n: number): EventRow => event(n, n);

  test("end after cutRows rows, wherever blocks and epochs end", () => {
    const { output, progress } = runFold([block(T0, row(0), row(1)), block(T0, row(2), row(3), row(4), row(5), row(6))], options, {
      endsEpoch: () => true,
    });
    expect(output.clean.map(({ cut }) => cut)).toEqual([1, 1, 1, 2, 2, 2, 3]);
    expect(output.endedCuts).toEqual([[1, 3], [2, 3]]); // prettier-ignore
    expect(progress.cut).toBe(3);
  });

  test("end before the rows of the first record that comes cutMs of log time later, and say so in an empty record when their rows are gone", () => {
    const { records, output } = runFold([block(T0, row(0)), block(T0 + 999, row(1)), block(T0 + 1_000, row(2))], options, {
      endsEpoch: (i) => i === 1,
    });
    expect(output.clean.map(({ cut }) => cut)).toEqual([1, 1, 2]);
    expect(
      records.map((record) => [
        headerText(record, HEADERS.cut),
        headerText(record, HEADERS.cutEnd),
        headerText(record, HEADERS.oseq),
        headerText(record, HEADERS.count),
      ]),
    ).toEqual([
      ["1", null, "1", "2"],
      ["1", "1", "3", "0"],
      ["2", null, "3", "1"],
    ]);
    expect(records[1]!.value).toBeNull();
  });

  test("end with a tick, too, and that counts as waiting output", () => {
    const fold = createFold(options);
    fold.apply(inputRecord(block(T0, row(0)), 0));
    fold.takeOutputs();
    expect(fold.hasOpenWork).toBe(true);
    fold.apply(inputRecord({ kind: "tick", logTimeMs: T0 + 1_000, now: T0 }, 1));
    expect(fold.pendingRows).toBe(1);
    expect(fold.takeOutputs()).toHaveLength(1);
    expect(fold.pendingRows).toBe(0);
  });

  test("are split into records of at most maxRecordBytes, only the last of which ends the cut", () => {
    const rows = Array.from({ length: 60 }, (_, i) => event(i, i, { properties: JSON.stringify("x".repeat(1_000)) }));
    const { records } = runFold([block(T0, ...rows), block(T0 + 1_000, event(60, 60))], { ...FOLD_OPTIONS, maxRecordBytes: 20_000 });
    const first = records.filter((record) => headerText(record, HEADERS.cut) === "1");
    expect(first.length).toBeGreaterThan(3);
    expect(first.every((record) => record.value!.length <= 20_000)).toBe(true);
    expect(first.map((record) => headerText(record, HEADERS.cutEnd))).toEqual([...first.slice(1).map(() => null), "1"]);
  });
});

describe("progress", () => {
  const log: LogEntry[] = [
    { kind: "rules", logTimeMs: T0, version: 12 },
    block(T0 + 5, event(0, 0, { value: 1 }), event(1, 400_000), event(2, 10), {
      sourceOffset: 3,
      verdict: "reject",
      reason: "json.syntax",
      raw: "{",
    }),
    block(T0 + 9, { ...event(1, 400_000), sourceOffset: 3 }, { ...event(1, 400_000), eventId: 1_001, sourceOffset: 4 }),
  ];

  test("is complete, and the same log always has the same hash", () => {
    expect(runFold(log).progress).toEqual({
      v: 1,
      hw: 4,
      oseq: { clean: 2, windows: 2, dlq: 1, late: 1, partials: 0, alerts: 0 },
      watermarkMs: T0 + 395_000,
      logTimeMs: T0 + 9,
      hash: runFold(log, FOLD_OPTIONS, { endsEpoch: () => true }).progress.hash,
      foldVersion: 3,
      rulesVersion: 12,
      cut: 1,
      counts: { raw: 5, clean: 2, deadLettered: 1, duplicate: 1, late: 1, redelivered: 1 },
    });
  });

  test("has the hash that fold version 3 has always had: if this fails on purpose, FOLD_VERSION must grow", () => {
    expect(runFold(log).progress.hash).toBe("8899d7ade1f19531");
  });

  test("stays well below the broker's limit for offset metadata", () => {
    expect(JSON.stringify(runFold(log).progress).length).toBeLessThan(1_000);
  });

  test("is the same whether outputs are taken or discarded", () => {
    const fold = createFold(FOLD_OPTIONS);
    for (const [i, entry] of log.entries()) {
      fold.apply(inputRecord(entry, i));
      fold.discardOutputs();
    }
    expect(fold.progress()).toEqual(runFold(log).progress);
    expect(fold.pendingRows).toBe(0);
  });

  test("skips a block that is wholly redelivered by its headers alone", () => {
    const fold = createFold(FOLD_OPTIONS);
    const record = inputRecord(block(T0, event(0, 0), event(1, 1)), 0);
    fold.apply(record);
    fold.apply({ ...record, value: Uint8Array.of(1, 2, 3) });
    expect(fold.progress().counts).toMatchObject({ raw: 2, redelivered: 2 });
  });
});
