import fc from "fast-check";
import { expect, test } from "vitest";
import { maySee, rightsOf } from "#shared/read/access.ts";
import { eventId, userId } from "#shared/read/keys.ts";
import { newestSession, sessionFrom } from "#shared/read/visible-session.ts";

const at = (timeMs: number, value: number | null = null): { timeMs: number; value: number | null } => ({ timeMs, value });

test("events 30 s apart are of two sessions, a millisecond less of one", () => {
  expect(newestSession([at(0), at(29_999), at(59_999)])).toEqual({ startMs: 59_999, events: 1, valueSum: null });
  expect(newestSession([at(0), at(29_999), at(59_998, 2), at(59_998, 3)])).toEqual({ startMs: 0, events: 4, valueSum: 5 });
  expect(newestSession([])).toBeNull();
});

test("a session is found by the time of its first event, and only by that", () => {
  const events = [at(10_000), at(20_000), at(60_000)];
  expect(sessionFrom(events, 10_000)).toMatchObject({ startMs: 10_000, events: 2 });
  expect(sessionFrom(events, 9_000)).toBeNull();
  expect(sessionFrom([], 0)).toBeNull();
});

test("the newest session is the one that begins where it says", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(200_000), { minLength: 1, maxLength: 30 }), (times) => {
      const events = times.toSorted((a, b) => a - b).map((timeMs) => at(timeMs));
      const newest = newestSession(events)!;
      const from = events.findIndex(({ timeMs }) => timeMs === newest.startMs);
      expect(sessionFrom(events.slice(from), newest.startMs)).toEqual(newest);
      expect(from + newest.events).toBe(events.length);
    }),
  );
});

test("a row without a source is for callers who may see all", () => {
  const web = { sources: new Set(["web", ""]) };
  expect([maySee(web, "web"), maySee(web, "mobile"), maySee(web, ""), maySee(web, null)]).toEqual([true, false, false, false]);
  expect(maySee({ sources: "all" }, null)).toBe(true);
  expect(maySee({ sources: new Set() }, "web")).toBe(false);
});

test("equal rights share answers, different ones never do", () => {
  expect(rightsOf({ sources: new Set(["a", "b"]) })).toBe(rightsOf({ sources: new Set(["b", "a"]) }));
  const rights = [["a,b"], ["a", "b"], ["all"], []].map((sources) => rightsOf({ sources: new Set(sources) }));
  expect(new Set([...rights, rightsOf({ sources: "all" })]).size).toBe(5);
});

test("names become the one form in which they are keys", () => {
  expect(userId("0042")).toBe("42");
  expect(userId("18446744073709551615")).toBe("18446744073709551615");
  expect(eventId("0192F3A1-7B6E-7C1D-9A51-0F2D6C3B8E4F")).toBe("0192f3a1-7b6e-7c1d-9a51-0f2d6c3b8e4f");
});

test.each(["", "-1", "1.5", "1e3", "18446744073709551616", " 1", "x"])("%j is no user", (text) => {
  expect(() => userId(text)).toThrow(expect.objectContaining({ code: "READ_KEY" }));
});

test.each(["", "x", "0192f3a1-7b6e-7c1d-9a51-0f2d6c3b8e4", "0192f3a17b6e7c1d9a510f2d6c3b8e4f"])("%j is no event", (text) => {
  expect(() => eventId(text)).toThrow(expect.objectContaining({ code: "READ_KEY" }));
});
