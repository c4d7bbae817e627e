import { describe, expect, test } from "vitest";
import { parseTarget } from "../../../cli/inspect-find.ts";
import { sinceOption } from "../../../cli/ledger-since.ts";

const NOW_MS = Date.UTC(2026, 10, 24, 12);

describe("--since", () => {
  test.for([
    [undefined, undefined],
    ["30m", { timeMs: NOW_MS - 1_800_000 }],
    ["1.5h", { timeMs: NOW_MS - 5_400_000 }],
    ["2026-11-24T10:00:00Z", { timeMs: Date.UTC(2026, 10, 24, 10) }],
    ["2026-11-24", { timeMs: Date.UTC(2026, 10, 24) }],
    ["0", { offset: 0 }],
    // A bare year is an offset.
    ["2026", { offset: 2_026 }],
    ["123456", { offset: 123_456 }],
  ] as const)("%s", ([text, since]) => {
    expect(sinceOption(text, NOW_MS)).toEqual(since);
  });

  test.for(["yesterday", "-5", "5x", "2026-13-01T00:00:00Z", ""])("%j is refused, with what is right", (text) => {
    expect(() => sinceOption(text, NOW_MS)).toThrow(/a time such as .*, a duration such as 30m, or an offset/);
  });
});

describe("what a person may name an event by", () => {
  const ID = "0190f6a2-7e4b-7cc1-9a53-2f6f0a3d8f11";

  test.for([
    [ID, { id: ID }],
    [ID.toUpperCase(), { id: ID }],
    [ID.replaceAll("-", ""), { id: ID }],
    ["2/17", { role: "raw", partition: 2, offset: 17, row: null }],
    ["events.raw/2/17", { role: "raw", partition: 2, offset: 17, row: null }],
    ["dlq/0/3", { role: "dlq", partition: 0, offset: 3, row: null }],
    ["blue.events.clean/1/9#4", { role: "clean", partition: 1, offset: 9, row: 4 }],
  ] as const)("%s", ([text, target]) => {
    expect(parseTarget(text, "blue")).toEqual(target);
  });

  test.for(["", "events.raw", "events.raw/x/1", "windows.results/0/1", "green.events.raw/0/1", "0190f6a2", "1/2/3/4"])("not %j", (text) => {
    expect(() => parseTarget(text, "blue")).toThrow(/must be/);
  });
});
